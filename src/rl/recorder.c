#include "rl/recorder.h"

#include <string.h>

#include "base/mem.h"

enum { BLOCK_ROWS = 32, SLAB_BLOCKS = 64 };

/* Rows of consecutive positions; the hidden states follow, 64-aligned. */
typedef struct block {
  struct block *next;
  int32_t token[BLOCK_ROWS];
} block;

typedef struct slab {
  struct slab *next;
  unsigned char *memory;
} slab;

/* Rows of one sample from position `base` on: 0 for the sample that the prompt was read for, the
 * length of the prompt for the others. */
typedef struct answer {
  block *first, *last;
  int base, n;
  bool broken;            /* a row is missing */
  int n_prompt, n_tokens; /* once finished */
  bool finished;
} answer;

typedef struct group {
  int open, owner; /* answers not stored yet; sample whose rows begin with the prompt */
  answer answer[];
} group;

typedef struct waiting {
  int group;
  uint32_t sample;
} waiting;

struct tlt_recorder {
  tlt_recorder_options o;
  tlt_replay *replay;
  slab *slabs;
  block *spare;
  size_t header, block_bytes;
  int64_t *seen; /* [vocab] */
  int64_t version, lost;
  uint32_t first;
  int groups, room;
  group **group;    /* [room], NULL: nothing of it was seen */
  waiting *waiting; /* [most_waiting] finished while the buffer was in use */
  int n_waiting, most_waiting;
  bool hold;
};

/* ---- life ------------------------------------------------------------------------------------ */

tlt_status tlt_recorder_create(const tlt_recorder_options *o, tlt_replay *replay,
                               tlt_recorder **out, tlt_err *err) {
  tlt_recorder *r = *out = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, "recorder", sizeof *r);
  r->o = *o;
  r->replay = replay;
  r->header = (sizeof(block) + 63) & ~(size_t)63;
  r->block_bytes = (r->header + BLOCK_ROWS * o->row_bytes + 63) & ~(size_t)63;
  r->seen = tlt_calloc((size_t)o->vocab, sizeof *r->seen);
  if (r->seen) return TLT_OK;
  tlt_recorder_free(r);
  *out = NULL;
  return tlt_fail_nomem(err, "recorder", (size_t)o->vocab * sizeof *r->seen);
}

void tlt_recorder_free(tlt_recorder *r) {
  if (!r) return;
  tlt_recorder_end(r);
  for (slab *s = r->slabs, *next; s; s = next) {
    next = s->next;
    tlt_free(s->memory);
    tlt_free(s);
  }
  tlt_free(r->group);
  tlt_free(r->waiting);
  tlt_free(r->seen);
  tlt_free(r);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static bool add_slab(tlt_recorder *r) {
  slab *s = tlt_malloc(sizeof *s);
  unsigned char *memory = s ? tlt_calloc_aligned(SLAB_BLOCKS, r->block_bytes) : NULL;
  if (!memory) {
    tlt_free(s);
    return false;
  }
  *s = (slab){r->slabs, memory};
  r->slabs = s;
  for (int i = 0; i < SLAB_BLOCKS; i++) {
    block *b = (block *)(void *)(memory + (size_t)i * r->block_bytes);
    b->next = r->spare;
    r->spare = b;
  }
  return true;
}

static block *take_block(tlt_recorder *r) {
  if (!r->spare && !add_slab(r)) return NULL;
  block *b = r->spare;
  r->spare = b->next;
  b->next = NULL;
  return b;
}

static void drop_rows(tlt_recorder *r, answer *a) {
  if (a->last) {
    a->last->next = r->spare;
    r->spare = a->first;
  }
  a->first = a->last = NULL;
  a->n = 0;
}

static unsigned char *row_at(const tlt_recorder *r, block *b, int i) {
  return (unsigned char *)b + r->header + (size_t)i * r->o.row_bytes;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void keep_row(tlt_recorder *r, answer *a, const tlt_hidden_row *row, const void *data) {
  if (!a->first) a->base = row->position;
  int at = row->position - a->base;
  if (a->broken || at < a->n) return;
  block *b = at % BLOCK_ROWS ? a->last : at == a->n ? take_block(r) : NULL;
  if (at > a->n || !b) {
    a->broken = true;
    return;
  }
  if (b != a->last) {
    if (a->last) a->last->next = b;
    else a->first = b;
    a->last = b;
  }
  b->token[at % BLOCK_ROWS] = row->token;
  memcpy(row_at(r, b, at % BLOCK_ROWS), data, r->o.row_bytes);
  a->n = at + 1;
}

static group *group_of(tlt_recorder *r, uint32_t rollout) {
  uint32_t i = rollout - r->first;
  if (i >= (uint32_t)r->groups) return NULL;
  if (r->group[i]) return r->group[i];
  group *g = tlt_calloc(1, sizeof *g + (size_t)r->o.samples * sizeof *g->answer);
  if (!g) return NULL;
  g->open = r->o.samples;
  g->owner = -1;
  return r->group[i] = g;
}

/* tlt_hidden_sink.put */
static void put(void *context, int tap, int n, const tlt_hidden_row *rows, const void *data,
                size_t element_size, int width, size_t stride) {
  tlt_recorder *r = context;
  size_t bytes = stride * element_size;
  (void)tap, (void)width;
  for (int i = 0; i < n; i++) {
    group *g = rows[i].sample < (uint32_t)r->o.samples ? group_of(r, rows[i].rollout) : NULL;
    if (!g) continue;
    if (rows[i].position == 0) g->owner = (int)rows[i].sample;
    keep_row(r, &g->answer[rows[i].sample], &rows[i], (const unsigned char *)data + i * bytes);
  }
}

tlt_hidden_sink tlt_recorder_sink(tlt_recorder *r) {
  return (tlt_hidden_sink){.context = r, .n_taps = 1, .taps = {TLT_TAP_FINAL}, .put = put};
}

/* ---- finished answers ------------------------------------------------------------------------ */

/* n rows of a from row `from` on. */
static void copy_rows(const tlt_recorder *r, const answer *a, int from, int n, int32_t *tokens,
                      unsigned char *hidden) {
  block *b = a->first;
  for (int i = from / BLOCK_ROWS; b && i > 0; i--) b = b->next;
  for (int done = 0, at = from; done < n; b = b->next) {
    int first = at % BLOCK_ROWS, left = BLOCK_ROWS - first;
    int count = left < n - done ? left : n - done;
    memcpy(tokens + done, b->token + first, (size_t)count * sizeof *tokens);
    memcpy(hidden + (size_t)done * r->o.row_bytes, row_at(r, b, first),
           (size_t)count * r->o.row_bytes);
    done += count;
    at += count;
  }
}

static bool is_complete(const group *g, const answer *a) {
  if (g->owner < 0) return false;
  const answer *prompt = &g->answer[g->owner];
  if (prompt->n < a->n_prompt || a->broken) return false;
  if (a == prompt) return a->n >= a->n_prompt + a->n_tokens - 1;
  return a->n_tokens == 1 || (a->base == a->n_prompt && a->n >= a->n_tokens - 1);
}

/* Siblings of a trained answer are half known to the drafter: whole groups are held back. */
static bool is_held(const tlt_recorder *r, const waiting *w) {
  uint32_t every = (uint32_t)(r->groups < r->o.hold_every ? r->groups : r->o.hold_every);
  return every > 1 && (r->first + (uint32_t)w->group) % every == every - 1;
}

static bool add_answer(tlt_recorder *r, const group *g, const answer *a, bool held) {
  int own = a->n_tokens - 1;
  int32_t *tokens;
  void *hidden;
  if (!is_complete(g, a) || tlt_replay_add(r->replay, a->n_prompt + own, a->n_prompt, r->version,
                                           held, &tokens, &hidden, NULL) != TLT_OK)
    return false;
  if (!tokens) return true; /* of no use to the buffer */
  copy_rows(r, &g->answer[g->owner], 0, a->n_prompt, tokens, hidden);
  bool owner = a == &g->answer[g->owner];
  copy_rows(r, a, owner ? a->n_prompt : 0, own, tokens + a->n_prompt,
            (unsigned char *)hidden + (size_t)a->n_prompt * r->o.row_bytes);
  return true;
}

/* The owner's rows stay until the last answer that needs the prompt is stored. */
static void store(tlt_recorder *r, const waiting *w) {
  group *g = r->group[w->group];
  answer *a = &g->answer[w->sample];
  if (!add_answer(r, g, a, is_held(r, w))) r->lost++;
  if ((int)w->sample != g->owner) drop_rows(r, a);
  if (--g->open > 0) return;
  for (int i = 0; i < r->o.samples; i++) drop_rows(r, &g->answer[i]);
  tlt_free(g);
  r->group[w->group] = NULL;
}

static void store_later(tlt_recorder *r, const waiting *w) {
  if (r->n_waiting == r->most_waiting) {
    int most = 2 * r->most_waiting + 64;
    waiting *more = tlt_realloc(r->waiting, (size_t)most * sizeof *more);
    if (!more) {
      r->lost++;
      return;
    }
    r->waiting = more;
    r->most_waiting = most;
  }
  r->waiting[r->n_waiting++] = *w;
}

void tlt_recorder_answered(tlt_recorder *r, const tlt_sample *sample) {
  waiting w = {(int)(sample->rollout - r->first), sample->sample};
  if (sample->rollout - r->first >= (uint32_t)r->groups || !r->group[w.group] ||
      w.sample >= (uint32_t)r->o.samples)
    return;
  answer *a = &r->group[w.group]->answer[w.sample];
  if (a->finished) return;
  a->finished = true;
  a->n_prompt = sample->n_prompt;
  a->n_tokens = sample->n_tokens;
  for (int i = 0; i < sample->n_tokens; i++) r->seen[sample->tokens[i]]++;
  if (r->hold) store_later(r, &w);
  else store(r, &w);
}

void tlt_recorder_hold(tlt_recorder *r, bool hold) {
  r->hold = hold;
  if (hold) return;
  for (int i = 0; i < r->n_waiting; i++) store(r, &r->waiting[i]);
  r->n_waiting = 0;
}

/* ---- a rollout ------------------------------------------------------------------------------- */

tlt_status tlt_recorder_begin(tlt_recorder *r, int64_t version, uint32_t first, int groups,
                              tlt_err *err) {
  tlt_recorder_end(r);
  if (groups > r->room) {
    group **more = tlt_realloc(r->group, (size_t)groups * sizeof *more);
    if (!more) return tlt_fail_nomem(err, "recorder", (size_t)groups * sizeof *more);
    r->group = more;
    r->room = groups;
  }
  memset(r->group, 0, (size_t)groups * sizeof *r->group);
  for (int i = 0; i < r->o.vocab; i++) r->seen[i] /= 2;
  r->version = version;
  r->first = first;
  r->groups = groups;
  return TLT_OK;
}

void tlt_recorder_end(tlt_recorder *r) {
  for (int i = 0; i < r->groups; i++) {
    group *g = r->group[i];
    for (int j = 0; g && j < r->o.samples; j++) drop_rows(r, &g->answer[j]);
    tlt_free(g);
    r->group[i] = NULL;
  }
  r->groups = r->n_waiting = 0;
}

const int64_t *tlt_recorder_seen(const tlt_recorder *r) {
  return r->seen;
}

int64_t tlt_recorder_lost(const tlt_recorder *r) {
  return r->lost;
}
