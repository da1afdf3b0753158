/* Reading a Hugging Face directory into packed weights. Names and shapes are checked before memory
 * is taken; then the pool reads row chunks of all tensors in turn. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/safetensors.h"
#include "model/weights_internal.h"

/* ---- Names and shapes ---- */

static void print_shape(const int64_t *shape, int n, char out[128]) {
  size_t used = (size_t)snprintf(out, 128, "[");
  for (int i = 0; i < n && used < 100; i++)
    used += (size_t)snprintf(out + used, 128 - used, i ? ", %lld" : "%lld", (long long)shape[i]);
  snprintf(out + used, 128 - used, "]");
}

static tlt_status check_tensor(const tlt_st_set *set, const tlt_st_tensor *t, const tlt_param *p,
                               tlt_err *err) {
  int64_t want[2] = {p->n, p->k};
  int dims = p->matrix ? 2 : 1;
  bool same = t->n_dims == dims;
  for (int i = 0; same && i < dims; i++) same = t->shape[i] == want[i];
  if (!same) {
    char got_text[128], want_text[128];
    print_shape(t->shape, t->n_dims, got_text);
    print_shape(want, dims, want_text);
    return tlt_fail(err, TLT_EDATA, "%s: %s: got shape %s, expected %s",
                    tlt_st_file_name(set, t->file), t->name, got_text, want_text);
  }
  if (t->dtype != TLT_BF16 && t->dtype != TLT_F16 && t->dtype != TLT_F32)
    return tlt_fail(err, TLT_EDATA, "%s: %s: got another dtype, expected BF16, F16 or F32",
                    tlt_st_file_name(set, t->file), t->name);
  return TLT_OK;
}

static bool ends_with(const char *s, const char *tail) {
  size_t n = strlen(s), m = strlen(tail);
  return n >= m && !strcmp(s + n - m, tail);
}

static const tlt_param *find_optional(const tlt_param *optional, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (!strcmp(optional[i].name, name)) return &optional[i];
  return NULL;
}

tlt_status tlt__weights_check(const char *dir, const tlt_weights *w, const tlt_st_set *set,
                              const tlt_param *optional, int n_optional, const char *what,
                              tlt_err *err) {
  for (int i = 0; i < w->n_params; i++) {
    const tlt_param *p = &w->param[i];
    const tlt_st_tensor *t = tlt_st_find(set, p->name);
    if (!t)
      return tlt_fail(err, TLT_EDATA, "%s: %s: missing tensor of shape [%d%s%.0d]", dir, p->name,
                      p->n, p->matrix ? ", " : "", p->matrix ? p->k : 0);
    tlt_status s = check_tensor(set, t, p, err);
    if (s != TLT_OK) return s;
  }
  for (size_t i = 0; i < tlt_st_count(set); i++) {
    const tlt_st_tensor *t = tlt_st_at(set, i);
    if (tlt_weights_find(w, t->name) || ends_with(t->name, ".rotary_emb.inv_freq")) continue;
    const tlt_param *p = find_optional(optional, n_optional, t->name);
    if (!p)
      return tlt_fail(err, TLT_EDATA, "%s: %s: unexpected tensor for a %s",
                      tlt_st_file_name(set, t->file), t->name, what);
    tlt_status s = check_tensor(set, t, p, err);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}

/* ---- Reading by the pool ---- */

typedef struct load {
  tlt_weights *w;
  const tlt_st_set *set;
  const tlt_st_tensor *twin; /* a tied head that must equal the embedding, or NULL */
  int64_t *first;            /* [n_params + 1] first item of each parameter */
  float *buffer;             /* [threads][2][floats] */
  size_t floats;
  _Atomic int64_t failed; /* lowest failing item so far */
  struct load_failure {
    int64_t item;
    tlt_err err;
  } * failure; /* [threads] */
} load;

static int param_of_item(const load *l, int64_t item) {
  int low = 0, high = l->w->n_params - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (l->first[middle] <= item) low = middle;
    else high = middle - 1;
  }
  return low;
}

/* bf16 has the range of fp32 except the last half step, which would round to infinity. */
static tlt_status check_range(const tlt_st_set *set, const tlt_st_tensor *t, const float *x,
                              size_t n, tlt_err *err) {
  if (t->dtype != TLT_F32) return TLT_OK;
  for (size_t i = 0; i < n; i++)
    if (fabsf(x[i]) >= 0x1.ffp127f)
      return tlt_fail(err, TLT_EDATA, "%s: %s: got %g, expected values that fit in bf16",
                      tlt_st_file_name(set, t->file), t->name, (double)x[i]);
  return TLT_OK;
}

static tlt_status read_chunk(load *l, tlt_param *p, int row, int rows, float *buffer,
                             tlt_err *err) {
  const tlt_st_tensor *t = tlt_st_find(l->set, p->name);
  size_t count = (size_t)rows * (size_t)p->k;
  uint64_t at = (uint64_t)row * (uint64_t)p->k;
  tlt_status s = tlt_st_read_f32(l->set, t, at, count, buffer, err);
  if (s == TLT_OK) s = check_range(l->set, t, buffer, count, err);
  if (s != TLT_OK) return s;
  tlt_param_set_rows(p, row, rows, buffer);
  if (!l->twin || p->matrix != &l->w->embed) return TLT_OK;
  float *other = buffer + l->floats;
  if ((s = tlt_st_read_f32(l->set, l->twin, at, count, other, err))) return s;
  for (size_t i = 0; i < count; i++)
    if (buffer[i] != other[i])
      return tlt_fail(
          err, TLT_EDATA,
          "%s: lm_head.weight: differs from the embedding at element %llu, expected the "
          "same values (tie_word_embeddings is true)",
          tlt_st_file_name(l->set, l->twin->file), (unsigned long long)(at + i));
  return TLT_OK;
}

static void load_item(void *context, int64_t item, int thread) {
  load *l = context;
  if (item > atomic_load(&l->failed)) return;
  tlt_err err = {0};
  tlt_param *p = &l->w->param[param_of_item(l, item)];
  int step = tlt__param_chunk_rows(p);
  int row = (int)(item - l->first[p - l->w->param]) * step;
  int rows = p->n - row < step ? p->n - row : step;
  float *buffer = l->buffer + (size_t)thread * 2 * l->floats;
  if (read_chunk(l, p, row, rows, buffer, &err) == TLT_OK) return;
  if (l->failure[thread].err.status == TLT_OK || item < l->failure[thread].item) {
    l->failure[thread].item = item;
    l->failure[thread].err = err;
  }
  int64_t seen = atomic_load(&l->failed);
  while (item < seen && !atomic_compare_exchange_weak(&l->failed, &seen, item)) {
  }
}

/* The error of the lowest item, so that the message does not depend on threads. */
static tlt_status first_failure(const load *l, int threads, tlt_err *err) {
  for (int i = 0; i < threads; i++) {
    const tlt_err *e = &l->failure[i].err;
    if (e->status != TLT_OK && l->failure[i].item == l->failed)
      return tlt_fail(err, e->status, "%s", e->text);
  }
  return TLT_OK;
}

tlt_status tlt__weights_read(tlt_weights *w, const tlt_st_set *set, const tlt_st_tensor *twin,
                             tlt_pool *pool, tlt_err *err) {
  int threads = tlt_pool_threads(pool);
  load l = {.w = w, .set = set, .twin = twin, .failed = INT64_MAX};
  l.floats = tlt__weights_chunk_floats(w);
  size_t bytes = (size_t)threads * 2 * l.floats * sizeof *l.buffer;
  tlt_status s = TLT_OK;
  l.first = tlt_calloc((size_t)w->n_params + 1, sizeof *l.first);
  l.failure = tlt_calloc((size_t)threads, sizeof *l.failure);
  l.buffer = tlt_malloc(bytes);
  if (!l.first || !l.failure || !l.buffer) {
    s = tlt_fail_nomem(err, "loading weights", bytes);
    goto out;
  }
  for (int i = 0; i < w->n_params; i++) {
    int step = tlt__param_chunk_rows(&w->param[i]);
    l.first[i + 1] = l.first[i] + (w->param[i].n + step - 1) / step;
  }
  tlt_pool_run(pool, load_item, &l, l.first[w->n_params]);
  s = first_failure(&l, threads, err);
out:
  tlt_free(l.buffer);
  tlt_free(l.failure);
  tlt_free(l.first);
  return s;
}

/* ---- A directory ---- */

/* A tied head may be in the file all the same. */
static tlt_param head_of(const tlt_weights *w) {
  tlt_param head = {.n = w->config.vocab, .k = w->config.hidden};
  snprintf(head.name, sizeof head.name, "lm_head.weight");
  head.matrix = (tlt_packed *)&w->embed; /* says that it is a matrix; not written */
  return head;
}

/* The model's shell, and on the process that reads its file, checked against the shell. */
static tlt_status open_files(const char *dir, bool reads, tlt_weights **w, tlt_st_set **set,
                             tlt_err *err) {
  tlt_config c;
  char what[32];
  tlt_status s = tlt_config_load(dir, &c, err);
  if (s == TLT_OK) s = tlt__weights_shell(&c, w, err);
  if (s != TLT_OK || !reads) return s;
  if ((s = tlt_st_open(dir, set, err))) return s;
  tlt_param head = head_of(*w);
  snprintf(what, sizeof what, "%s model", tlt_arch_name(c.arch));
  return tlt__weights_check(dir, *w, *set, &head, c.tied, what, err);
}

tlt_status tlt_weights_load_shared(const char *dir, tlt_pool *pool, const tlt_team *team,
                                   tlt_weights **out, tlt_err *err) {
  tlt_weights *w = NULL;
  tlt_st_set *set = NULL;
  bool reads = !team || team->rank == 0;
  *out = NULL;
  tlt_status s = tlt_team_agree(team, open_files(dir, reads, &w, &set, err), err);
  if (s != TLT_OK) goto out;
  w->team = team;
  if ((s = tlt__weights_memory(w, err))) goto out;
  if (reads)
    s = tlt__weights_read(w, set, w->config.tied ? tlt_st_find(set, head_of(w).name) : NULL, pool,
                          err);
  s = tlt_team_agree(team, s, err);
out:
  tlt_st_close(set);
  if (s != TLT_OK) tlt_weights_free(w);
  else *out = w;
  return s;
}

tlt_status tlt_weights_load(const char *dir, tlt_pool *pool, tlt_weights **out, tlt_err *err) {
  return tlt_weights_load_shared(dir, pool, NULL, out, err);
}
