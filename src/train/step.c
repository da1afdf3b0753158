/* The optimizer step: judge the gradient, its norm, AdamW, new compute weights. */
#include <math.h>
#include <string.h>

#include "base/fmath.h"
#include "train/elementwise.h"
#include "train/trainer_internal.h"

/* Elements of one task, about: its masters are still in cache when they are packed. */
enum { TASK_ELEMENTS = 65536 };

static int task_rows(const tlt_param *p) {
  int rows = TASK_ELEMENTS / p->k / TLT_PANEL * TLT_PANEL;
  return rows < TLT_PANEL ? TLT_PANEL : rows;
}

void tlt_step_list_tasks(tlt_trainer *t) {
  int64_t tasks = 0;
  for (int p = 0; p < t->w->n_params; p++) {
    int rows = task_rows(&t->w->param[p]);
    t->param_task[p] = tasks;
    tasks += (t->w->param[p].n + rows - 1) / rows;
  }
  t->param_task[t->w->n_params] = tasks;
}

/* Rows row .. row+rows-1 of a parameter. */
typedef struct task_range {
  int param, row, rows;
} task_range;

static task_range range_of_task(const tlt_trainer *t, int64_t task) {
  int low = 0, high = t->w->n_params - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (t->param_task[middle] <= task) low = middle;
    else high = middle - 1;
  }
  const tlt_param *p = &t->w->param[low];
  int step = task_rows(p), row = (int)(task - t->param_task[low]) * step;
  return (task_range){low, row, p->n - row < step ? p->n - row : step};
}

/* ---- overflow -------------------------------------------------------------------------------- */

static bool site_is_bad(const tlt_site *s) {
  return s->bad || !(s->total < (double)TLT_FIX_LIMIT);
}

/* First parameter in tensor order whose gradient cannot be trusted, or NULL. */
static const tlt_param *first_bad(const tlt_trainer *t) {
  for (int p = 0; p < t->w->n_params; p++)
    if (site_is_bad(&t->site[t->param_site[p]])) return &t->w->param[p];
  return NULL;
}

/* ---- norm ------------------------------------------------------------------------------------ */

typedef struct step_job {
  tlt_trainer *t;
  tlt_adamw_constants constants;
  float keep_matrix, keep_vector;
} step_job;

static int param_of_element(const tlt_trainer *t, uint64_t element) {
  int low = 0, high = t->w->n_params - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (t->w->param[middle].offset <= element) low = middle;
    else high = middle - 1;
  }
  return low;
}

/* Sum of squares of one block of the flat order, gathered from the parameters that it crosses. */
static void norm_block(void *context, int64_t block, int thread) {
  step_job *j = context;
  tlt_trainer *t = j->t;
  float *g = tlt_scratch_at(t, thread);
  uint64_t first = (uint64_t)block * TLT_NORM_BLOCK, end = first + TLT_NORM_BLOCK;
  if (end > t->w->elements) end = t->w->elements;
  size_t n = 0;
  for (int p = param_of_element(t, first); first < end; p++) {
    const tlt_param *param = &t->w->param[p];
    uint64_t stop = param->offset + (uint64_t)param->n * (uint64_t)param->k;
    if (stop > end) stop = end;
    tlt_grad_scale(t->param_acc[p] + (first - param->offset), stop - first, j->constants.factor,
                   g + n);
    n += stop - first;
    first = stop;
  }
  t->norm_sum[block] = tlt_sum_squares(g, n);
}

static double gradient_norm(step_job *j) {
  tlt_trainer *t = j->t;
  int64_t blocks = (int64_t)((t->w->elements + TLT_NORM_BLOCK - 1) / TLT_NORM_BLOCK);
  tlt_pool_run(t->pool, norm_block, j, blocks);
  double sum = 0;
  for (int64_t b = 0; b < blocks; b++) sum += t->norm_sum[b];
  return sqrt(sum);
}

/* ---- update ---------------------------------------------------------------------------------- */

static void update_rows(void *context, int64_t task, int thread) {
  (void)thread;
  step_job *j = context;
  tlt_trainer *t = j->t;
  task_range r = range_of_task(t, task);
  tlt_param *p = &t->w->param[r.param];
  size_t at = (size_t)r.row * (size_t)p->k, flat = p->offset + at,
         n = (size_t)r.rows * (size_t)p->k;
  tlt_adamw_constants c = j->constants;
  c.keep = p->matrix ? j->keep_matrix : j->keep_vector;
  tlt_adamw_elements(&c, n, t->param_acc[r.param] + at, t->master + flat, t->moment1 + flat,
                     t->moment2 + flat);
  tlt_param_set_rows(p, r.row, r.rows, t->master + flat);
}

static void pack_rows(void *context, int64_t task, int thread) {
  (void)thread;
  tlt_trainer *t = context;
  task_range r = range_of_task(t, task);
  tlt_param *p = &t->w->param[r.param];
  tlt_param_set_rows(p, r.row, r.rows, t->master + p->offset + (size_t)r.row * (size_t)p->k);
}

void tlt_trainer_restored(tlt_trainer *t, int64_t steps) {
  t->steps = steps;
  tlt_pool_run(t->pool, pack_rows, t, t->param_task[t->w->n_params]);
}

/* torch.optim.AdamW computes its scalars in double and rounds each once. */
static void set_constants(step_job *j, const tlt_adamw *how, int64_t step) {
  double b1 = (double)how->beta1, b2 = (double)how->beta2, n = (double)step;
  double correction1 = 1.0 - (b1 > 0 ? tlt_pow(b1, n) : 0.0);
  double correction2 = 1.0 - (b2 > 0 ? tlt_pow(b2, n) : 0.0);
  j->constants.beta2 = how->beta2;
  j->constants.one_beta1 = (float)(1.0 - b1);
  j->constants.one_beta2 = (float)(1.0 - b2);
  j->constants.step_size = (float)((double)how->lr / correction1);
  j->constants.root_correction = (float)sqrt(correction2);
  j->constants.eps = how->eps;
  j->keep_matrix = (float)(1.0 - (double)how->lr * (double)how->weight_decay);
  j->keep_vector = 1.0f;
}

/* ---- accumulators ---------------------------------------------------------------------------- */

static void clear_rows(void *context, int64_t task, int thread) {
  (void)thread;
  tlt_trainer *t = context;
  task_range r = range_of_task(t, task);
  size_t k = (size_t)t->w->param[r.param].k;
  memset(t->param_acc[r.param] + (size_t)r.row * k, 0, (size_t)r.rows * k * sizeof(int64_t));
}

static void clear_sites(tlt_trainer *t) {
  for (int s = 0; s < t->n_sites; s++) {
    t->site[s].total = 0;
    t->site[s].bad = false;
  }
  t->dirty = false;
}

void tlt_trainer_clear(tlt_trainer *t) {
  if (!t->dirty) return;
  tlt_pool_run(t->pool, clear_rows, t, t->param_task[t->w->n_params]);
  clear_sites(t);
}

tlt_status tlt_trainer_step(tlt_trainer *t, float scale, const tlt_adamw *how,
                            tlt_step_result *result, tlt_err *err) {
  *result = (tlt_step_result){0};
  if (t->forward_only) return tlt_fail(err, TLT_EINTERNAL, "this trainer has no optimizer");
  step_job job = {.t = t, .constants = {.factor = scale / TLT_FIX_SCALE, .clip = 1.0f}};
  const tlt_param *bad = first_bad(t);
  double norm = bad ? NAN : gradient_norm(&job);
  result->grad_norm = (float)norm;
  if (!isfinite(result->grad_norm)) {
    result->skipped = true;
    memcpy(result->bad_param, bad ? bad->name : "gradient norm", bad ? sizeof bad->name : 14);
    tlt_trainer_clear(t);
    return TLT_OK;
  }
  if (how->clip_norm > 0 && norm > (double)how->clip_norm)
    job.constants.clip = (float)((double)how->clip_norm / (norm + 1e-6));
  set_constants(&job, how, ++t->steps);
  tlt_pool_run(t->pool, update_rows, &job, t->param_task[t->w->n_params]);
  clear_sites(t);
  return TLT_OK;
}
