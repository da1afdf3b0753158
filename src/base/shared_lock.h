/* A lock in memory that several processes map, held for microseconds: a waiter spins about as long
 * and then sleeps. Zeroed memory is an unlocked lock. Not recursive. A process that dies holding one
 * blocks the others for good: whoever starts them must end them then. */
#ifndef TLT_BASE_SHARED_LOCK_H
#define TLT_BASE_SHARED_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct tlt_shared_lock {
  _Alignas(64) _Atomic uint32_t word; /* 0 free, 1 taken, 2 taken and somebody may sleep */
} tlt_shared_lock;

/* NULL: nothing to lock, at no cost. */
void tlt_shared_lock_take(tlt_shared_lock *lock);
void tlt_shared_lock_drop(tlt_shared_lock *lock);

#endif
