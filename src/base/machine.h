/* What machine this is, for people who look at a run later. */
#ifndef TLT_BASE_MACHINE_H
#define TLT_BASE_MACHINE_H

#include <stdint.h>

typedef struct tlt_machine {
  char processor[128]; /* as the kernel names it; "" when it does not */
  int cores;           /* logical ones that are online */
  int64_t memory_bytes;
} tlt_machine;

void tlt_machine_read(tlt_machine *m);

#endif
