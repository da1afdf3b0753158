/* What oneDNN's C API calls differently in versions 2 and 3, where descriptors are pointers that
 * somebody owns. Functions that return bool: false when oneDNN refuses or memory is short. */
#ifndef TLT_KERNELS_ONEDNN_VERSIONS_H
#define TLT_KERNELS_ONEDNN_VERSIONS_H

#include <dnnl.h>
#include <stdbool.h>

/* How a descriptor of a matrix is passed on. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t tlt__layout;
#else
typedef const dnnl_memory_desc_t *tlt__layout;
#endif

static inline tlt__layout tlt__layout_of(const dnnl_memory_desc_t *d) {
#if DNNL_VERSION_MAJOR >= 3
  return *d;
#else
  return d;
#endif
}

/* A matrix of dims {rows, columns}, strides in elements; to be destroyed. */
static inline bool tlt__layout_create(dnnl_memory_desc_t *d, const dnnl_dims_t dims,
                                      const dnnl_dims_t strides, dnnl_data_type_t type) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides) == dnnl_success;
#else
  return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides) == dnnl_success;
#endif
}

/* The scratch memory that a primitive asks for; to be destroyed. */
static inline bool tlt__layout_scratch(dnnl_memory_desc_t *d, dnnl_primitive_desc_t of) {
  tlt__layout scratch = dnnl_primitive_desc_query_md(of, dnnl_query_scratchpad_md, 0);
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_memory_desc_clone(d, scratch) == dnnl_success;
#else
  *d = *scratch;
  return true;
#endif
}

/* Leaves it empty, as zeroed memory is. */
static inline void tlt__layout_destroy(dnnl_memory_desc_t *d) {
#if DNNL_VERSION_MAJOR >= 3
  dnnl_memory_desc_destroy(*d);
  *d = NULL;
#else
  (void)d;
#endif
}

/* The product c = a b; to be destroyed with dnnl_primitive_desc_destroy. */
static inline bool tlt__matmul_describe(dnnl_primitive_desc_t *d, dnnl_engine_t engine,
                                        tlt__layout a, tlt__layout b, tlt__layout c,
                                        const_dnnl_primitive_attr_t attr) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_matmul_primitive_desc_create(d, engine, a, b, NULL, c, attr) == dnnl_success;
#else
  dnnl_matmul_desc_t op;
  return dnnl_matmul_desc_init(&op, a, b, NULL, c) == dnnl_success &&
         dnnl_primitive_desc_create(d, &op, attr, engine, NULL) == dnnl_success;
#endif
}

#endif
