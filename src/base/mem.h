/* The one place where memory is taken, so that a failing allocation can be injected and an
 * allocation in a place that must not allocate is caught.
 *
 * TLT_FAULT=alloc:N (test builds, -Dfaults=true) makes the Nth allocation of the process fail.
 * Threads: every function may be called from any thread. */
#ifndef TLT_BASE_MEM_H
#define TLT_BASE_MEM_H

#include <stddef.h>

#include "tlt/status.h"

/* malloc family. NULL on failure or when size is 0 or count * size overflows. Free with tlt_free. */
void *tlt_malloc(size_t size);
void *tlt_calloc(size_t count, size_t size);
void *tlt_realloc(void *p, size_t size);
char *tlt_strdup(const char *s);
char *tlt_strndup(const char *s, size_t n);
void tlt_free(void *p);

/* 64-byte aligned, zeroed; free with tlt_free. */
void *tlt_calloc_aligned(size_t count, size_t size);

/* Large page-aligned zeroed region, huge pages advised: weights, KV, gradient accumulators.
 * tlt_pages_free(NULL, 0) is harmless. */
void *tlt_pages_alloc(size_t bytes);
void tlt_pages_free(void *p, size_t bytes);

/* Standard failure: "out of memory: <what> needs <bytes> bytes". */
tlt_status tlt_fail_nomem(tlt_err *err, const char *what, size_t bytes);

/* Between begin and end any allocation of this thread through this file aborts the process: decode
 * and train steps run inside such a guard. Pairs nest. */
void tlt_alloc_guard_begin(void);
void tlt_alloc_guard_end(void);

/* Foreign work in the middle of a guarded step (the pause of a pool) allocates as it likes: set
 * this thread's guard aside, and put back what suspend returned. */
int tlt_alloc_guard_suspend(void);
void tlt_alloc_guard_resume(int depth);

/* Bump arena: many small objects that die together. Memory is zeroed and 16-byte aligned. */
typedef struct tlt_arena {
  struct tlt_arena_chunk *head;
} tlt_arena;
void *tlt_arena_alloc(tlt_arena *arena, size_t bytes); /* NULL when out of memory */
char *tlt_arena_strndup(tlt_arena *arena, const char *s, size_t n);
void tlt_arena_free(tlt_arena *arena);

#endif
