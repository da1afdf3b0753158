#define _GNU_SOURCE
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"

static _Thread_local int guard_depth;

static bool refused(size_t size) {
  if (guard_depth > 0) {
    fprintf(stderr, "tlt: internal bug: %zu bytes allocated inside an allocation guard\n", size);
    abort();
  }
  return size == 0 || tlt_fault_hit(TLT_FAULT_ALLOC, NULL);
}

void *tlt_malloc(size_t size) { return refused(size) ? NULL : malloc(size); }

void *tlt_calloc(size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  return refused(count * size) ? NULL : calloc(count, size);
}

void *tlt_realloc(void *p, size_t size) { return refused(size) ? NULL : realloc(p, size); }

char *tlt_strdup(const char *s) { return tlt_strndup(s, strlen(s)); }

char *tlt_strndup(const char *s, size_t n) {
  char *copy = tlt_malloc(n + 1);
  if (!copy) return NULL;
  memcpy(copy, s, n);
  copy[n] = 0;
  return copy;
}

void tlt_free(void *p) { free(p); }

void *tlt_calloc_aligned(size_t count, size_t size) {
  if (size && count > (SIZE_MAX - 64) / size) return NULL;
  size_t bytes = (count * size + 63) & ~(size_t)63;
  if (refused(bytes)) return NULL;
  void *p = aligned_alloc(64, bytes);
  if (p) memset(p, 0, bytes);
  return p;
}

void *tlt_pages_alloc(size_t bytes) {
  if (refused(bytes)) return NULL;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  madvise(p, bytes, MADV_HUGEPAGE); /* advice only: works without */
  return p;
}

void tlt_pages_free(void *p, size_t bytes) {
  if (p) munmap(p, bytes);
}

tlt_status tlt_fail_nomem(tlt_err *err, const char *what, size_t bytes) {
  return tlt_fail(err, TLT_ENOMEM, "out of memory: %s needs %zu bytes", what, bytes);
}

void tlt_alloc_guard_begin(void) { guard_depth++; }
void tlt_alloc_guard_end(void) { guard_depth--; }

int tlt_alloc_guard_suspend(void) {
  int depth = guard_depth;
  guard_depth = 0;
  return depth;
}

void tlt_alloc_guard_resume(int depth) { guard_depth = depth; }

struct tlt_arena_chunk {
  struct tlt_arena_chunk *next;
  size_t used, size;
  _Alignas(16) unsigned char data[];
};

void *tlt_arena_alloc(tlt_arena *arena, size_t bytes) {
  if (bytes > SIZE_MAX / 2) return NULL;
  bytes = (bytes + 15) & ~(size_t)15;
  struct tlt_arena_chunk *c = arena->head;
  if (!c || c->size - c->used < bytes) {
    size_t size = bytes > 65536 ? bytes : 65536;
    c = tlt_calloc(1, sizeof *c + size);
    if (!c) return NULL;
    c->size = size;
    c->next = arena->head;
    arena->head = c;
  }
  void *p = c->data + c->used;
  c->used += bytes;
  return p;
}

char *tlt_arena_strndup(tlt_arena *arena, const char *s, size_t n) {
  char *copy = tlt_arena_alloc(arena, n + 1);
  if (copy) memcpy(copy, s, n);
  return copy;
}

void tlt_arena_free(tlt_arena *arena) {
  while (arena->head) {
    struct tlt_arena_chunk *next = arena->head->next;
    tlt_free(arena->head);
    arena->head = next;
  }
}
