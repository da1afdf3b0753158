/* Datasets in memory, their generation, and the order in which they are handed out. */
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "io/text.h"
#include "tasks/dataset_internal.h"
#include "tasks/task.h"

tlt_status tlt__dataset_new(tlt_verifier verifier, tlt_dataset **out, tlt_err *err) {
  *out = tlt_calloc(1, sizeof **out);
  if (!*out) return tlt_fail_nomem(err, "dataset", sizeof **out);
  (*out)->verifier = verifier;
  return TLT_OK;
}

tlt_status tlt__dataset_grow(tlt_dataset *d, tlt_err *err) {
  enum { FIRST_ROOM = 64 };
  if (d->n < d->room) return TLT_OK;
  size_t room = d->room ? 2 * d->room : FIRST_ROOM;
  tlt_problem *grown = tlt_realloc(d->problems, room * sizeof *grown);
  if (!grown) return tlt_fail_nomem(err, "dataset", room * sizeof *grown);
  d->problems = grown;
  d->room = room;
  return TLT_OK;
}

char *tlt__dataset_keep(tlt_dataset *d, const char *s, size_t n) {
  char *copy = tlt_arena_alloc(&d->texts, n + 1);
  if (copy && n) memcpy(copy, s, n);
  return copy;
}

void tlt_dataset_close(tlt_dataset *d) {
  if (!d) return;
  tlt_arena_free(&d->texts);
  tlt_free(d->problems);
  tlt_free(d);
}

size_t tlt_dataset_count(const tlt_dataset *d) {
  return d->n;
}
const tlt_problem *tlt_dataset_at(const tlt_dataset *d, size_t i) {
  return &d->problems[i];
}
tlt_verifier tlt_dataset_verifier(const tlt_dataset *d) {
  return d->verifier;
}
const char *tlt_dataset_hash(const tlt_dataset *d) {
  return d->hash;
}

static void put_messages(tlt_json_writer *w, const tlt_problem *p) {
  tlt_json_begin(w, "prompt", '[');
  for (size_t i = 0; i < p->n_messages; i++) {
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_string(w, "role", p->messages[i].role);
    tlt_json_put_string(w, "content", p->messages[i].content);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
}

void tlt__problem_put_prompt(tlt_json_writer *w, const tlt_problem *p) {
  if (p->prompt) tlt_json_put_string_n(w, "prompt", p->prompt, p->prompt_bytes);
  else put_messages(w, p);
}

char *tlt_problem_json(const tlt_problem *p, size_t *n) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "id", p->id);
  tlt__problem_put_prompt(&w, p);
  if (p->answer) tlt_json_put_string_n(&w, "answer", p->answer, p->answer_bytes);
  if (p->completion) tlt_json_put_string_n(&w, "completion", p->completion, p->completion_bytes);
  if (p->meta) tlt_json_put_raw(&w, "meta", p->meta);
  tlt_json_end(&w, '}');
  if (w.text.failed) {
    tlt_text_free(&w.text);
    return NULL;
  }
  *n = w.text.n;
  return w.text.data;
}

/* ---- generation ---- */

/* 64-bit FNV-1a hashes of the problems seen, open addressing, at most half full; 0 marks a free
 * place. Two problems with one hash would count as equal, which costs one problem, not a
 * repetition. */
typedef struct seen_set {
  uint64_t *places;
  size_t room, n;
} seen_set;

static uint64_t hash_text(const char *s) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (; *s; s++) h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
  return h ? h : 1;
}

/* Where hash stands or would stand. */
static uint64_t *find_place(const seen_set *set, uint64_t hash) {
  size_t i = (hash ^ hash >> 32) & (set->room - 1);
  while (set->places[i] && set->places[i] != hash) i = (i + 1) & (set->room - 1);
  return &set->places[i];
}

static tlt_status grow_set(seen_set *set, tlt_err *err) {
  enum { FIRST_ROOM = 1024 };
  seen_set grown = {.room = set->room ? 2 * set->room : FIRST_ROOM, .n = set->n};
  grown.places = tlt_calloc(grown.room, sizeof *grown.places);
  if (!grown.places) return tlt_fail_nomem(err, "problems seen", grown.room * sizeof(uint64_t));
  for (size_t i = 0; i < set->room; i++)
    if (set->places[i]) *find_place(&grown, set->places[i]) = set->places[i];
  tlt_free(set->places);
  *set = grown;
  return TLT_OK;
}

/* *fresh: whether the text was not in the set; it is afterwards. */
static tlt_status add_to_set(seen_set *set, const char *text, bool *fresh, tlt_err *err) {
  if (2 * (set->n + 1) > set->room) {
    tlt_status status = grow_set(set, err);
    if (status != TLT_OK) return status;
  }
  uint64_t hash = hash_text(text), *place = find_place(set, hash);
  *fresh = !*place;
  set->n += *fresh;
  *place = hash;
  return TLT_OK;
}

struct tlt_task_lines {
  const tlt_task *task;
  size_t count, given;
  uint32_t next_index;
  seen_set seen;
  tlt_task_room room;
};

tlt_status tlt_task_lines_open(const tlt_task *t, size_t count, tlt_task_lines **out,
                               tlt_err *err) {
  *out = NULL;
  if (count < 1 || count > TLT_DATASET_MAX_PROBLEMS)
    return tlt_fail(err, TLT_EUSAGE, "count: got %zu, expected 1 to %d", count,
                    (int)TLT_DATASET_MAX_PROBLEMS);
  tlt_task_lines *l = tlt_calloc(1, sizeof *l);
  if (!l) return tlt_fail_nomem(err, "problem lines", sizeof *l);
  l->task = t;
  l->count = count;
  *out = l;
  return TLT_OK;
}

void tlt_task_lines_close(tlt_task_lines *l) {
  if (!l) return;
  tlt_free(l->seen.places);
  tlt_free(l);
}

/* The next problem, its texts in l->room. So many repetitions in a row mean that practically every
 * problem was given: with 1 % of them left, 20,000 misses have a chance of 1e-87. */
static tlt_status next_problem(tlt_task_lines *l, tlt_problem *p, tlt_err *err) {
  enum { MAX_REPETITIONS = 20000 };
  for (int i = 0; i < MAX_REPETITIONS; i++) {
    bool fresh = true;
    tlt_status status = tlt_task_make(l->task, l->next_index++, &l->room, p, err);
    if (status == TLT_OK && !tlt_task_traces(l->task))
      status = add_to_set(&l->seen, l->room.canonical, &fresh, err);
    if (status != TLT_OK) return status;
    if (fresh) {
      l->given++;
      return TLT_OK;
    }
  }
  return tlt_fail(err, TLT_EUSAGE, "count: got %zu, expected at most about %zu distinct problems",
                  l->count, l->given);
}

tlt_status tlt_task_lines_next(tlt_task_lines *l, char **line, size_t *n, tlt_err *err) {
  *line = NULL;
  *n = 0;
  if (l->given == l->count) return TLT_OK;
  tlt_problem p;
  tlt_status status = next_problem(l, &p, err);
  if (status != TLT_OK) return status;
  *line = tlt_problem_json(&p, n);
  return *line ? TLT_OK : tlt_fail_nomem(err, "problem line", sizeof l->room);
}

/* Copies p with its texts behind the problems of d. */
static tlt_status keep_problem(tlt_dataset *d, const tlt_problem *p, tlt_err *err) {
  tlt_status status = tlt__dataset_grow(d, err);
  if (status != TLT_OK) return status;
  tlt_problem *to = &d->problems[d->n];
  *to = *p;
  to->id = tlt__dataset_keep(d, p->id, strlen(p->id));
  to->prompt = tlt__dataset_keep(d, p->prompt, p->prompt_bytes);
  to->answer = tlt__dataset_keep(d, p->answer, p->answer_bytes);
  to->meta = tlt__dataset_keep(d, p->meta, strlen(p->meta));
  if (p->completion) to->completion = tlt__dataset_keep(d, p->completion, p->completion_bytes);
  if (!to->id || !to->prompt || !to->answer || !to->meta || (p->completion && !to->completion))
    return tlt_fail_nomem(err, "problem", sizeof(tlt_task_room));
  d->n++;
  return TLT_OK;
}

static tlt_status hash_line(tlt_sha256 *h, const tlt_problem *p, tlt_err *err) {
  size_t n;
  char *line = tlt_problem_json(p, &n);
  if (!line) return tlt_fail_nomem(err, "problem line", sizeof(tlt_task_room));
  tlt_sha256_add(h, line, n);
  tlt_sha256_add(h, "\n", 1);
  tlt_free(line);
  return TLT_OK;
}

tlt_status tlt_dataset_generate(const tlt_task *t, size_t count, tlt_dataset **out, tlt_err *err) {
  tlt_task_lines *l;
  tlt_dataset *d = NULL;
  *out = NULL;
  tlt_status status = tlt_task_lines_open(t, count, &l, err);
  if (status != TLT_OK) return status;
  status = tlt__dataset_new(tlt_task_verifier(t), &d, err);
  tlt_sha256 hash;
  tlt_sha256_begin(&hash);
  while (status == TLT_OK && l->given < count) {
    tlt_problem p;
    status = next_problem(l, &p, err);
    if (status == TLT_OK) status = keep_problem(d, &p, err);
    if (status == TLT_OK) status = hash_line(&hash, &p, err);
  }
  char hex[TLT_SHA256_HEX];
  tlt_sha256_end(&hash, hex);
  tlt_task_lines_close(l);
  if (status != TLT_OK) {
    tlt_dataset_close(d);
    return status;
  }
  memcpy(d->hash, hex, sizeof hex);
  *out = d;
  return TLT_OK;
}

/* ---- order ---- */

struct tlt_shuffle {
  size_t n;
  uint32_t seed, epoch; /* the epoch that `order` holds */
  bool ready;
  uint32_t order[];
};

tlt_status tlt_shuffle_open(size_t n, uint32_t seed, tlt_shuffle **out, tlt_err *err) {
  *out = NULL;
  if (n < 1 || n > TLT_DATASET_MAX_PROBLEMS)
    return tlt_fail(err, TLT_EUSAGE, "shuffle: got %zu problems, expected 1 to %d", n,
                    (int)TLT_DATASET_MAX_PROBLEMS);
  size_t bytes = sizeof(tlt_shuffle) + n * sizeof(uint32_t);
  tlt_shuffle *s = tlt_malloc(bytes);
  if (!s) return tlt_fail_nomem(err, "shuffle", bytes);
  s->n = n;
  s->seed = seed;
  s->ready = false;
  *out = s;
  return TLT_OK;
}

/* The bias of the multiplication is below n / 2^64. */
static void shuffle_epoch(tlt_shuffle *s, uint32_t epoch) {
  for (size_t i = 0; i < s->n; i++) s->order[i] = (uint32_t)i;
  for (size_t i = s->n - 1; i > 0; i--) {
    tlt_random4 r = tlt_philox(s->seed, TLT_PURPOSE_SHUFFLE, epoch, (uint32_t)i, 0, 0);
    uint64_t u = (uint64_t)r.v[1] << 32 | r.v[0];
    size_t j = (size_t)((unsigned __int128)u * (i + 1) >> 64);
    uint32_t swap = s->order[i];
    s->order[i] = s->order[j];
    s->order[j] = swap;
  }
  s->epoch = epoch;
  s->ready = true;
}

size_t tlt_shuffle_at(tlt_shuffle *s, uint64_t rollout) {
  uint32_t epoch = (uint32_t)(rollout / s->n);
  if (!s->ready || s->epoch != epoch) shuffle_epoch(s, epoch);
  return s->order[rollout % s->n];
}

void tlt_shuffle_close(tlt_shuffle *s) {
  tlt_free(s);
}
