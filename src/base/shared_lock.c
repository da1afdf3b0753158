#define _GNU_SOURCE
#include "base/shared_lock.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>

/* About 20 microseconds: adding a tile takes as long. */
enum { SPINS = 512 };

/* The mutex of three states (Drepper 2011, "Futexes are tricky"), between processes. */
void tlt_shared_lock_take(tlt_shared_lock *lock) {
  if (!lock) return;
  for (int spin = 0; spin < SPINS; spin++) {
    uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
    if (word == 0 && atomic_compare_exchange_weak_explicit(
                         &lock->word, &word, 1, memory_order_acquire, memory_order_relaxed))
      return;
    _mm_pause();
  }
  while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
    syscall(SYS_futex, &lock->word, FUTEX_WAIT, 2, NULL, NULL, 0);
}

void tlt_shared_lock_drop(tlt_shared_lock *lock) {
  if (!lock) return;
  if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
    syscall(SYS_futex, &lock->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
