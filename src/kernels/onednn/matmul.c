#include "kernels/onednn/matmul.h"

#include <omp.h>
#include <pthread.h>

#include "base/mem.h"
#include "kernels/onednn/versions.h"

/* Compiled primitives by shape, the least recently used one replaced. Row counts differ between
 * micro-batches, so old shapes do not come back; compiling takes about 0.1 ms.
 * Lock rules: everything here is touched under `lock` only, except the primitive of an entry with
 * users > 0, which nobody replaces. */
enum { ENTRIES = 64 };

typedef struct entry {
  tlt_matmul shape;
  dnnl_primitive_t primitive; /* NULL: empty */
  dnnl_memory_desc_t a, b, c, scratch;
  int users;
  unsigned long used;
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static entry entries[ENTRIES];
static unsigned long uses;

static void start(void) {
  dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
  if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
}

static bool describe(dnnl_memory_desc_t *d, int rows, int columns, size_t row, size_t column,
                     dnnl_data_type_t type) {
  dnnl_dims_t dims = {rows, columns}, strides = {(dnnl_dim_t)row, (dnnl_dim_t)column};
  return tlt__layout_create(d, dims, strides, type);
}

static void clear(entry *e) {
  if (e->primitive) dnnl_primitive_destroy(e->primitive);
  e->primitive = NULL;
  tlt__layout_destroy(&e->a);
  tlt__layout_destroy(&e->b);
  tlt__layout_destroy(&e->c);
  tlt__layout_destroy(&e->scratch);
}

static bool compile(entry *e, const tlt_matmul *s) {
  dnnl_primitive_attr_t attr = NULL;
  dnnl_primitive_desc_t desc = NULL;
  bool ok =
      describe(&e->a, s->m, s->k, s->a_row, s->a_col, dnnl_bf16) &&
      describe(&e->b, s->k, s->n, s->b_row, 1, dnnl_bf16) &&
      describe(&e->c, s->m, s->n, s->c_row, 1, dnnl_f32) &&
      dnnl_primitive_attr_create(&attr) == dnnl_success &&
      dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
      tlt__matmul_describe(&desc, engine, tlt__layout_of(&e->a), tlt__layout_of(&e->b),
                           tlt__layout_of(&e->c), attr) &&
      tlt__layout_scratch(&e->scratch, desc) &&
      dnnl_primitive_create(&e->primitive, desc) == dnnl_success;
  if (!ok) {
    e->primitive = NULL;
    clear(e);
  }
  e->shape = *s;
  dnnl_primitive_desc_destroy(desc);
  dnnl_primitive_attr_destroy(attr);
  return ok;
}

static bool same_shape(const tlt_matmul *x, const tlt_matmul *y) {
  return x->m == y->m && x->n == y->n && x->k == y->k && x->a_row == y->a_row &&
         x->a_col == y->a_col && x->b_row == y->b_row && x->c_row == y->c_row;
}

/* An entry for the shape that stays until release; NULL on failure. */
static entry *acquire(const tlt_matmul *shape) {
  pthread_once(&once, start);
  if (!engine) return NULL;
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  entry *found = NULL, *oldest = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < ENTRIES && !found; i++) {
    entry *e = &entries[i];
    if (e->primitive && same_shape(&e->shape, shape)) found = e;
    else if (!e->users && (!oldest || e->used < oldest->used)) oldest = e;
  }
  if (!found && oldest) {
    clear(oldest);
    found = compile(oldest, shape) ? oldest : NULL;
  }
  if (found) {
    found->users++;
    found->used = ++uses;
  }
  pthread_mutex_unlock(&lock);
  return found;
}

static void release(entry *e) {
  pthread_mutex_lock(&lock);
  e->users--;
  pthread_mutex_unlock(&lock);
}

static bool attach(dnnl_exec_arg_t *arg, const dnnl_memory_desc_t *layout, void *data) {
  return dnnl_memory_create(&arg->memory, tlt__layout_of(layout), engine, data) == dnnl_success;
}

bool tlt_matmul_run(const tlt_matmul *shape, const tlt_bf16 *a, const tlt_bf16 *b, float *c,
                    void *scratch) {
  entry *e = acquire(shape);
  if (!e) return false;
  size_t need = dnnl_memory_desc_get_size(tlt__layout_of(&e->scratch));
  void *more = need > TLT_MATMUL_SCRATCH ? tlt_calloc_aligned(need, 1) : NULL;
  if (more) scratch = more;
  dnnl_stream_t stream = NULL;
  dnnl_exec_arg_t arg[4] = {{DNNL_ARG_SRC, NULL},
                            {DNNL_ARG_WEIGHTS, NULL},
                            {DNNL_ARG_DST, NULL},
                            {DNNL_ARG_SCRATCHPAD, NULL}};
  union {
    const tlt_bf16 *in;
    void *out;
  } pa = {a}, pb = {b}; /* the C API takes no const */
  bool ok = (more || need <= TLT_MATMUL_SCRATCH) &&
            dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success &&
            attach(&arg[0], &e->a, pa.out) && attach(&arg[1], &e->b, pb.out) &&
            attach(&arg[2], &e->c, c) && attach(&arg[3], &e->scratch, scratch) &&
            dnnl_primitive_execute(e->primitive, stream, 4, arg) == dnnl_success &&
            dnnl_stream_wait(stream) == dnnl_success;
  for (int i = 0; i < 4; i++) dnnl_memory_destroy(arg[i].memory);
  dnnl_stream_destroy(stream);
  tlt_free(more);
  release(e);
  return ok;
}
