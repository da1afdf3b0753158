#include "train/replay.h"

#include <string.h>

#include "base/mem.h"
#include "base/philox.h"

/* Memory of an entry. That of entries which are gone is used again: pages that go back to the
 * system cost more to get again than to fill. */
typedef struct piece {
  unsigned char *memory; /* 64-aligned */
  size_t room;
} piece;

enum { ROOM_UNIT = 4096 };

typedef struct entry {
  piece piece;
  int32_t *tokens;       /* [n], then padding to 64 bytes, then hidden */
  unsigned char *hidden; /* [n][row_bytes] */
  int n, prompt;
  int64_t version, serial;
  bool held;
  int64_t drawn; /* epochs in which it was drawn */
  size_t bytes;
} entry;

struct tlt_replay {
  tlt_replay_options o;
  entry *entry; /* [count], in the order they were added */
  int count, capacity;
  int64_t serial, refused, evicted, epoch;
  size_t bytes; /* of all entries */
  piece *spare; /* [n_spare], room for `capacity` */
  int n_spare;
  size_t spare_bytes; /* with `bytes` at most o.bytes, as far as there are any */
  /* of the last micro-batch */
  int32_t *tokens, *cu, *prompt;
  const void **hidden;
  int most_samples, most_tokens;
};

tlt_status tlt_replay_create(const tlt_replay_options *o, tlt_replay **out, tlt_err *err) {
  tlt_replay *r = *out = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, "replay buffer", sizeof *r);
  r->o = *o;
  return TLT_OK;
}

static void drop_spare(tlt_replay *r, int i) {
  tlt_free(r->spare[i].memory);
  r->spare_bytes -= r->spare[i].room;
  r->spare[i] = r->spare[--r->n_spare];
}

/* The spare piece that fits best, at most half of it in vain; else a new one. */
static piece take_piece(tlt_replay *r, size_t bytes) {
  int best = -1;
  for (int i = 0; i < r->n_spare; i++) {
    size_t room = r->spare[i].room;
    if (room >= bytes && room <= 2 * bytes && (best < 0 || room < r->spare[best].room)) best = i;
  }
  if (best >= 0) {
    piece p = r->spare[best];
    r->spare_bytes -= p.room;
    r->spare[best] = r->spare[--r->n_spare];
    return p;
  }
  size_t room = (bytes + ROOM_UNIT - 1) / ROOM_UNIT * ROOM_UNIT;
  return (piece){tlt_calloc_aligned(1, room), room};
}

static void give_piece(tlt_replay *r, piece p) {
  if (r->n_spare == r->capacity) drop_spare(r, 0);
  r->spare[r->n_spare++] = p;
  r->spare_bytes += p.room;
}

static void remove_entry(tlt_replay *r, int i) {
  r->bytes -= r->entry[i].bytes;
  give_piece(r, r->entry[i].piece);
  memmove(&r->entry[i], &r->entry[i + 1], (size_t)(r->count - i - 1) * sizeof *r->entry);
  r->count--;
}

void tlt_replay_free(tlt_replay *r) {
  if (!r) return;
  while (r->count) remove_entry(r, r->count - 1);
  while (r->n_spare) drop_spare(r, 0);
  tlt_free(r->spare);
  tlt_free(r->entry);
  tlt_free(r->tokens);
  tlt_free(r->cu);
  tlt_free(r->prompt);
  tlt_free(r->hidden);
  tlt_free(r);
}

/* ---- adding ---------------------------------------------------------------------------------- */

static size_t token_bytes(int n) {
  return ((size_t)n * sizeof(int32_t) + 63) & ~(size_t)63;
}

/* The first of the shortest answers: what goes first. */
static int shortest(const tlt_replay *r) {
  int best = -1;
  for (int i = 0; i < r->count; i++)
    if (best < 0 || r->entry[i].n - r->entry[i].prompt < r->entry[best].n - r->entry[best].prompt)
      best = i;
  return best;
}

/* False when the new sample would be the first to go, or can never fit. */
static bool make_room(tlt_replay *r, const entry *e) {
  if (e->bytes > r->o.bytes) return false;
  while (r->bytes + e->bytes > r->o.bytes) {
    int i = shortest(r);
    if (r->entry[i].n - r->entry[i].prompt > e->n - e->prompt) return false;
    remove_entry(r, i);
    r->evicted++;
  }
  return true;
}

static tlt_status grow(tlt_replay *r, tlt_err *err) {
  if (r->count < r->capacity) return TLT_OK;
  int capacity = r->capacity ? 2 * r->capacity : 64;
  entry *more = tlt_realloc(r->entry, (size_t)capacity * sizeof *more);
  if (!more) return tlt_fail_nomem(err, "replay buffer", (size_t)capacity * sizeof *more);
  r->entry = more;
  piece *spare = tlt_realloc(r->spare, (size_t)capacity * sizeof *spare);
  if (!spare) return tlt_fail_nomem(err, "replay buffer", (size_t)capacity * sizeof *spare);
  r->spare = spare;
  r->capacity = capacity;
  return TLT_OK;
}

tlt_status tlt_replay_add(tlt_replay *r, int n, int prompt, int64_t version, bool held,
                          int32_t **tokens, void **hidden, tlt_err *err) {
  *tokens = NULL;
  *hidden = NULL;
  entry e = {.n = n, .prompt = prompt, .version = version, .serial = r->serial++, .held = held};
  e.bytes = token_bytes(n) + (size_t)n * r->o.row_bytes;
  if (n <= prompt || prompt < 1 || !make_room(r, &e)) {
    r->refused++;
    return TLT_OK;
  }
  tlt_status status = grow(r, err);
  if (status) return status;
  e.piece = take_piece(r, e.bytes);
  while (r->n_spare && r->bytes + e.bytes + r->spare_bytes > r->o.bytes) drop_spare(r, 0);
  if (!e.piece.memory) return tlt_fail_nomem(err, "replay buffer", e.bytes);
  e.tokens = (int32_t *)(void *)e.piece.memory;
  e.hidden = (unsigned char *)e.tokens + token_bytes(n);
  e.drawn = r->epoch;
  r->entry[r->count++] = e;
  r->bytes += e.bytes;
  *tokens = e.tokens;
  *hidden = e.hidden;
  return TLT_OK;
}

void tlt_replay_drop(tlt_replay *r, int64_t version) {
  for (int i = r->count - 1; i >= 0; i--)
    if (r->entry[i].version < version) remove_entry(r, i);
}

tlt_replay_count tlt_replay_counts(const tlt_replay *r) {
  tlt_replay_count c = {.added = r->serial - r->refused,
                        .refused = r->refused,
                        .evicted = r->evicted,
                        .bytes = r->bytes};
  for (int i = 0; i < r->count; i++) {
    if (r->entry[i].held) c.held++;
    else c.samples++, c.tokens += r->entry[i].n;
    c.versions += i == 0 || r->entry[i].version != r->entry[i - 1].version;
  }
  return c;
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* Place of a sample in the order of this epoch. */
static uint64_t rank_of(const tlt_replay *r, const entry *e) {
  tlt_random4 x =
      tlt_philox(r->o.seed, TLT_PURPOSE_SHUFFLE, (uint32_t)r->epoch, (uint32_t)e->serial, 0, 0);
  return (uint64_t)x.v[0] << 32 | x.v[1];
}

/* The next sample of this epoch, or NULL. */
static entry *next_entry(tlt_replay *r) {
  entry *best = NULL;
  uint64_t best_rank = 0;
  for (int i = 0; i < r->count; i++) {
    entry *e = &r->entry[i];
    if (e->held || e->drawn > r->epoch) continue;
    uint64_t rank = rank_of(r, e);
    if (!best || rank < best_rank) best = e, best_rank = rank;
  }
  return best;
}

static bool has_samples(const tlt_replay *r) {
  for (int i = 0; i < r->count; i++)
    if (!r->entry[i].held) return true;
  return false;
}

/* Room for one more sample of n tokens behind the first `tokens`. */
static bool reserve(tlt_replay *r, int samples, int tokens) {
  if (samples > r->most_samples) {
    int most = 2 * samples + 14;
    int32_t *cu = tlt_realloc(r->cu, ((size_t)most + 1) * sizeof *cu);
    if (cu) r->cu = cu;
    int32_t *prompt = tlt_realloc(r->prompt, (size_t)most * sizeof *prompt);
    if (prompt) r->prompt = prompt;
    const void **hidden = tlt_realloc(r->hidden, (size_t)most * sizeof *hidden);
    if (hidden) r->hidden = hidden;
    if (!cu || !prompt || !hidden) return false;
    r->most_samples = most;
  }
  if (tokens > r->most_tokens) {
    int32_t *more = tlt_realloc(r->tokens, 2 * (size_t)tokens * sizeof *more);
    if (!more) return false;
    r->tokens = more;
    r->most_tokens = 2 * tokens;
  }
  return true;
}

/* Append a sample; false when out of memory: the micro-batch then stays as it is. */
static bool put(tlt_replay *r, const entry *e, tlt_draft_micro *m) {
  int at = m->n_samples ? r->cu[m->n_samples] : 0;
  if (!reserve(r, m->n_samples + 1, at + e->n)) return false;
  memcpy(r->tokens + at, e->tokens, (size_t)e->n * sizeof *r->tokens);
  r->cu[0] = 0;
  r->prompt[m->n_samples] = e->prompt;
  r->hidden[m->n_samples] = e->hidden;
  r->cu[++m->n_samples] = at + e->n;
  m->tokens = r->tokens;
  m->cu = r->cu;
  m->prompt = r->prompt;
  m->hidden = r->hidden;
  return true;
}

static bool fits(const tlt_draft_micro *m, const entry *e, int micro_tokens) {
  return m->n_samples == 0 || m->cu[m->n_samples] + e->n <= micro_tokens;
}

bool tlt_replay_draw(tlt_replay *r, int micro_tokens, float temperature, tlt_draft_micro *m) {
  *m = (tlt_draft_micro){.temperature = temperature};
  if (!has_samples(r)) return false;
  entry *e = next_entry(r);
  if (!e) {
    r->epoch++;
    e = next_entry(r);
  }
  for (; e && fits(m, e, micro_tokens) && put(r, e, m); e = next_entry(r)) e->drawn = r->epoch + 1;
  return m->n_samples > 0;
}

int64_t tlt_replay_epoch(const tlt_replay *r) {
  return r->epoch;
}

tlt_replay_position tlt_replay_where(const tlt_replay *r) {
  return (tlt_replay_position){r->serial, r->epoch};
}

void tlt_replay_go_on(tlt_replay *r, tlt_replay_position p) {
  r->serial = p.serial;
  r->epoch = p.epoch;
}

bool tlt_replay_held(tlt_replay *r, int64_t version, int *cursor, int micro_tokens,
                     float temperature, tlt_draft_micro *m) {
  *m = (tlt_draft_micro){.temperature = temperature};
  for (; *cursor < r->count; ++*cursor) {
    const entry *e = &r->entry[*cursor];
    if (!e->held || e->version < version) continue;
    if (!fits(m, e, micro_tokens) || !put(r, e, m)) break;
  }
  return m->n_samples > 0;
}
