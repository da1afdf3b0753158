/* oneDNN's bf16 matrix product behind one function with fixed bits. */
#ifndef TLT_KERNELS_ONEDNN_MATMUL_H
#define TLT_KERNELS_ONEDNN_MATMUL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bf16.h"

/* C[m][n] = A B over k, strides in elements: A(i, j) = a[i a_row + j a_col] with one of the two
 * strides 1, B row stride b_row, C row stride c_row. */
typedef struct tlt_matmul {
  int m, n, k;
  size_t a_row, a_col, b_row, c_row;
} tlt_matmul;

/* Runs on the calling thread only; from any number of threads at once. The bits depend on the shape
 * alone: oneDNN is capped at AVX-512-BF16 before its first primitive and never sees a second
 * thread. scratch: TLT_MATMUL_SCRATCH bytes, 64-aligned; the rare shape that needs more takes it
 * from the heap. False when oneDNN fails (out of memory); C is then undefined. */
enum { TLT_MATMUL_SCRATCH = 256 * 1024 };

bool tlt_matmul_run(const tlt_matmul *shape, const tlt_bf16 *a, const tlt_bf16 *b, float *c,
                    void *scratch);

#endif
