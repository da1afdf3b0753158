/* The optimizer step: judge the gradient, its norm, AdamW, new compute weights.
 *
 * With a team every process judges and adds up the norm for itself, from the same integers and block
 * sums, and works on its share of blocks and tasks. Barriers stand between what one writes and
 * another reads. */
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

/* ---- shares ---------------------------------------------------------------------------------- */

typedef struct step_job {
  tlt_trainer *t;
  int64_t first; /* task or block of item 0 */
  tlt_adamw_constants constants;
  float keep_matrix, keep_vector;
} step_job;

static int64_t norm_blocks(const tlt_trainer *t) {
  return (int64_t)((t->w->elements + TLT_NORM_BLOCK - 1) / TLT_NORM_BLOCK);
}

/* First block of a process's share; for `rank` one beyond the last, their number. */
static int64_t first_block(const tlt_trainer *t, int rank) {
  return tlt_team_first(t->team, rank, norm_blocks(t));
}

/* First task of a process's share: the first that starts in one of its blocks or later. */
static int64_t first_task(const tlt_trainer *t, int rank) {
  uint64_t from = (uint64_t)first_block(t, rank) * TLT_NORM_BLOCK;
  int64_t low = 0, high = t->param_task[t->w->n_params];
  while (low < high) {
    int64_t middle = (low + high) / 2;
    task_range r = range_of_task(t, middle);
    const tlt_param *p = &t->w->param[r.param];
    if (p->offset + (uint64_t)r.row * (uint64_t)p->k < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

static int team_rank(const tlt_trainer *t) {
  return t->team ? t->team->rank : 0;
}

static void run_tasks(step_job *j, tlt_pool_task work) {
  int rank = team_rank(j->t);
  j->first = first_task(j->t, rank);
  tlt_pool_run(j->t->pool, work, j, first_task(j->t, rank + 1) - j->first);
}

tlt_status tlt_step_barrier(tlt_trainer *t, tlt_err *err) {
  return tlt_team_shares(t->team) ? t->team->barrier(t->team->context, err) : TLT_OK;
}

/* All gradients of all hosts are in the accumulators, and everybody sees them. */
static tlt_status collect_gradients(tlt_trainer *t, tlt_err *err) {
  tlt_status status = tlt_step_barrier(t, err);
  if (status || !t->team) return status;
  return t->team->sum_hosts(t->team->context, t->acc, t->sum_count, err);
}

/* ---- overflow -------------------------------------------------------------------------------- */

static bool site_is_bad(const tlt_site *s) {
  return *s->bad || *s->total >= (int64_t)TLT_FIX_LIMIT;
}

/* First parameter in tensor order whose gradient cannot be trusted, or NULL. */
static const tlt_param *first_bad(const tlt_trainer *t) {
  for (int p = 0; p < t->w->n_params; p++)
    if (site_is_bad(&t->site[t->param_site[p]])) return &t->w->param[p];
  return NULL;
}

/* ---- norm ------------------------------------------------------------------------------------ */

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
static void norm_block(void *context, int64_t item, int thread) {
  step_job *j = context;
  tlt_trainer *t = j->t;
  int64_t block = j->first + item;
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

static void run_norm(step_job *j) {
  int rank = team_rank(j->t);
  j->first = first_block(j->t, rank);
  tlt_pool_run(j->t->pool, norm_block, j, first_block(j->t, rank + 1) - j->first);
}

static double gradient_norm(const tlt_trainer *t) {
  double sum = 0;
  for (int64_t b = 0; b < norm_blocks(t); b++) sum += t->norm_sum[b];
  return sqrt(sum);
}

/* ---- update ---------------------------------------------------------------------------------- */

static void update_rows(void *context, int64_t item, int thread) {
  (void)thread;
  step_job *j = context;
  tlt_trainer *t = j->t;
  task_range r = range_of_task(t, j->first + item);
  tlt_param *p = &t->w->param[r.param];
  size_t at = (size_t)r.row * (size_t)p->k, flat = p->offset + at,
         n = (size_t)r.rows * (size_t)p->k;
  tlt_adamw_constants c = j->constants;
  c.keep = p->matrix ? j->keep_matrix : j->keep_vector;
  tlt_adamw_elements(&c, n, t->param_acc[r.param] + at, t->master + flat, t->moment1 + flat,
                     t->moment2 + flat);
  tlt_param_set_rows(p, r.row, r.rows, t->master + flat);
}

/* Masters of a task's first row. */
static float *masters_at(const tlt_trainer *t, task_range r) {
  const tlt_param *p = &t->w->param[r.param];
  return t->master + p->offset + (size_t)r.row * (size_t)p->k;
}

static void pack_rows(void *context, int64_t item, int thread) {
  (void)thread;
  step_job *j = context;
  task_range r = range_of_task(j->t, j->first + item);
  tlt_param_set_rows(&j->t->w->param[r.param], r.row, r.rows, masters_at(j->t, r));
}

static void take_rows(void *context, int64_t item, int thread) {
  (void)thread;
  step_job *j = context;
  task_range r = range_of_task(j->t, j->first + item);
  tlt_param_get_rows(&j->t->w->param[r.param], r.row, r.rows, masters_at(j->t, r));
}

void tlt_step_take_masters(tlt_trainer *t) {
  step_job job = {.t = t};
  run_tasks(&job, take_rows);
}

tlt_status tlt_trainer_restored(tlt_trainer *t, int64_t steps, tlt_err *err) {
  step_job job = {.t = t};
  tlt_status status = tlt_step_barrier(t, err);
  if (status) return status;
  t->steps = steps;
  run_tasks(&job, pack_rows);
  return tlt_step_barrier(t, err);
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

static void clear_rows(void *context, int64_t item, int thread) {
  (void)thread;
  step_job *j = context;
  tlt_trainer *t = j->t;
  task_range r = range_of_task(t, j->first + item);
  size_t k = (size_t)t->w->param[r.param].k;
  memset(t->param_acc[r.param] + (size_t)r.row * k, 0, (size_t)r.rows * k * sizeof(int64_t));
}

/* By one process, when all have read what they need. */
static void clear_sites(tlt_trainer *t) {
  if (team_rank(t)) return;
  for (int s = 0; s < t->n_sites; s++) t->total[s] = t->bad[s] = 0;
  *t->touched = 0;
}

tlt_status tlt_trainer_clear(tlt_trainer *t, tlt_err *err) {
  step_job job = {.t = t};
  tlt_status status = tlt_step_barrier(t, err);
  if (status) return status;
  bool touched = *t->touched != 0;
  if (touched) run_tasks(&job, clear_rows);
  status = tlt_step_barrier(t, err);
  if (status || !touched) return status;
  clear_sites(t);
  return tlt_step_barrier(t, err);
}

/* From the norm on: update, or skip and clear. */
static void finish_step(step_job *j, const tlt_param *bad, double norm, const tlt_adamw *how,
                        tlt_step_result *result) {
  tlt_trainer *t = j->t;
  result->grad_norm = (float)norm;
  if (!isfinite(result->grad_norm)) {
    result->skipped = true;
    memcpy(result->bad_param, bad ? bad->name : "gradient norm", bad ? sizeof bad->name : 14);
    run_tasks(j, clear_rows);
    return;
  }
  if (how->clip_norm > 0 && norm > (double)how->clip_norm)
    j->constants.clip = (float)((double)how->clip_norm / (norm + 1e-6));
  set_constants(j, how, ++t->steps);
  run_tasks(j, update_rows);
}

tlt_status tlt_trainer_step(tlt_trainer *t, float scale, const tlt_adamw *how,
                            tlt_step_result *result, tlt_err *err) {
  *result = (tlt_step_result){0};
  if (t->forward_only) return tlt_fail(err, TLT_EINTERNAL, "this trainer has no optimizer");
  step_job job = {.t = t, .constants = {.factor = scale / TLT_FIX_SCALE, .clip = 1.0f}};
  tlt_status status = collect_gradients(t, err);
  if (status) return status;
  const tlt_param *bad = first_bad(t);
  if (!bad) run_norm(&job);
  if ((status = tlt_step_barrier(t, err))) return status;
  clear_sites(t);
  finish_step(&job, bad, bad ? NAN : gradient_norm(t), how, result);
  return tlt_step_barrier(t, err);
}
