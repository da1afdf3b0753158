/* Growable byte and id arrays with a cap, used by the tokenizer and the template interpreter.
 * A zeroed struct is an empty array. After a failed append the array is unchanged. */
#ifndef TLT_TOKENIZER_BUFFER_H
#define TLT_TOKENIZER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tlt_bytes {
  char *data; /* not NUL-terminated */
  size_t n, cap;
} tlt_bytes;

typedef struct tlt_ids {
  int32_t *data;
  size_t n, cap;
} tlt_ids;

/* Room for `more` further elements; false when out of memory. */
bool tlt_bytes_reserve(tlt_bytes *b, size_t more);
bool tlt_ids_reserve(tlt_ids *v, size_t more);

bool tlt_bytes_add(tlt_bytes *b, const void *data, size_t n);
bool tlt_ids_add(tlt_ids *v, int32_t id);

void tlt_bytes_free(tlt_bytes *b);
void tlt_ids_free(tlt_ids *v);

/* Grow any array of `size`-byte elements to hold at least `need`: capacity doubles. The new
 * pointer, or NULL with *cap unchanged and the old array intact. */
void *tlt_array_grow(void *array, size_t *cap, size_t need, size_t size);

#endif
