#include "tokenizer/buffer.h"

#include <string.h>

#include "base/mem.h"

void *tlt_array_grow(void *array, size_t *cap, size_t need, size_t size) {
  if (need <= *cap) return array;
  size_t next = *cap ? *cap : 16;
  while (next < need) {
    if (next > SIZE_MAX / 2) return NULL;
    next *= 2;
  }
  if (next > SIZE_MAX / size) return NULL;
  void *grown = tlt_realloc(array, next * size);
  if (grown) *cap = next;
  return grown;
}

bool tlt_bytes_reserve(tlt_bytes *b, size_t more) {
  if (more > SIZE_MAX - b->n) return false;
  if (b->n + more <= b->cap) return true;
  char *grown = tlt_array_grow(b->data, &b->cap, b->n + more, 1);
  if (grown) b->data = grown;
  return grown != NULL;
}

bool tlt_ids_reserve(tlt_ids *v, size_t more) {
  if (more > SIZE_MAX - v->n) return false;
  if (v->n + more <= v->cap) return true;
  int32_t *grown = tlt_array_grow(v->data, &v->cap, v->n + more, sizeof *grown);
  if (grown) v->data = grown;
  return grown != NULL;
}

bool tlt_bytes_add(tlt_bytes *b, const void *data, size_t n) {
  if (!tlt_bytes_reserve(b, n)) return false;
  if (n) memcpy(b->data + b->n, data, n);
  b->n += n;
  return true;
}

bool tlt_ids_add(tlt_ids *v, int32_t id) {
  if (!tlt_ids_reserve(v, 1)) return false;
  v->data[v->n++] = id;
  return true;
}

void tlt_bytes_free(tlt_bytes *b) {
  tlt_free(b->data);
  *b = (tlt_bytes){0};
}

void tlt_ids_free(tlt_ids *v) {
  tlt_free(v->data);
  *v = (tlt_ids){0};
}
