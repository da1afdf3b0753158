#include "engine/blocks.h"

#include <string.h>

#include "base/mem.h"

size_t tlt__blocks_bytes(size_t block_bytes, int count) {
  return (size_t)count * (block_bytes + 2 * sizeof(int32_t));
}

tlt_status tlt__blocks_init(tlt_blocks *b, size_t block_bytes, int count, tlt_err *err) {
  *b = (tlt_blocks){.block_bytes = block_bytes, .count = count, .n_free = count};
  b->base = tlt_pages_alloc((size_t)count * block_bytes);
  b->free_list = tlt_calloc((size_t)count, sizeof *b->free_list);
  b->refs = tlt_calloc((size_t)count, sizeof *b->refs);
  if (!b->base || !b->free_list || !b->refs)
    return tlt_fail_nomem(err, "KV blocks", tlt__blocks_bytes(block_bytes, count));
  for (int i = 0; i < count; i++) b->free_list[i] = count - 1 - i;
  return TLT_OK;
}

void tlt__blocks_deinit(tlt_blocks *b) {
  tlt_pages_free(b->base, (size_t)b->count * b->block_bytes);
  tlt_free(b->free_list);
  tlt_free(b->refs);
  *b = (tlt_blocks){0};
}

int tlt__blocks_available(const tlt_blocks *b) {
  return b->n_free - b->reserved;
}

void tlt__blocks_reserve(tlt_blocks *b, int n) {
  b->reserved += n;
}

void tlt__blocks_unreserve(tlt_blocks *b, int n) {
  b->reserved -= n;
}

int32_t tlt__blocks_take(tlt_blocks *b) {
  int32_t block = b->free_list[--b->n_free];
  b->reserved--;
  b->refs[block] = 1;
  if (b->count - b->n_free > b->peak) b->peak = b->count - b->n_free;
  return block;
}

void tlt__blocks_share(tlt_blocks *b, int32_t block) {
  b->refs[block]++;
}

void tlt__blocks_drop(tlt_blocks *b, int32_t block) {
  if (--b->refs[block] == 0) b->free_list[b->n_free++] = block;
}

void tlt__blocks_copy(tlt_blocks *b, int32_t to, int32_t from) {
  memcpy(b->base + (size_t)to * b->block_bytes, b->base + (size_t)from * b->block_bytes,
         b->block_bytes);
}
