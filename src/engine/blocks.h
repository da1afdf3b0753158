/* Reference-counted KV blocks of TLT_KV_BLOCK positions, with reservations.
 *
 * Whoever is admitted reserves every block it may come to need, so taking a reserved block cannot
 * fail and no running sequence ever waits for memory: there is no preemption and no deadlock. The
 * price is that a sequence that ends early has held blocks it never used. */
#ifndef TLT_ENGINE_BLOCKS_H
#define TLT_ENGINE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_blocks {
  unsigned char *base; /* block i at base + i * block_bytes; zeroed at first */
  size_t block_bytes;
  int count;
  int32_t *free_list; /* [n_free] the next one to take is last */
  int32_t *refs;      /* [count] */
  int n_free, reserved, peak;
} tlt_blocks;

size_t tlt__blocks_bytes(size_t block_bytes, int count);
tlt_status tlt__blocks_init(tlt_blocks *b, size_t block_bytes, int count, tlt_err *err);
void tlt__blocks_deinit(tlt_blocks *b); /* a zeroed one is fine */

int tlt__blocks_available(const tlt_blocks *b); /* neither taken nor reserved */
void tlt__blocks_reserve(tlt_blocks *b, int n); /* n <= available */
void tlt__blocks_unreserve(tlt_blocks *b, int n);
int32_t tlt__blocks_take(tlt_blocks *b); /* out of a reservation; one reference */
void tlt__blocks_share(tlt_blocks *b, int32_t block);
void tlt__blocks_drop(tlt_blocks *b, int32_t block);
void tlt__blocks_copy(tlt_blocks *b, int32_t to, int32_t from);

#endif
