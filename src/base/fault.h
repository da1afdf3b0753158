/* Fault injection: TLT_FAULT=io:N:ENOSPC,alloc:N,short:N makes the Nth call of that kind fail
 * (with a trailing '+', as in io:N:EIO+, that call and all later ones; io:N:KILL ends the process
 * by SIGKILL instead). Compiled in only with -Dfaults=true; otherwise tlt_fault_hit is constant
 * false. */
#ifndef TLT_BASE_FAULT_H
#define TLT_BASE_FAULT_H

#include <stdbool.h>

typedef enum tlt_fault_kind { TLT_FAULT_ALLOC, TLT_FAULT_IO, TLT_FAULT_SHORT } tlt_fault_kind;

#ifdef TLT_FAULTS
/* Counts one call of this kind; true when it must fail. *error_number (may be NULL) gets the errno
 * to report. */
bool tlt_fault_hit(tlt_fault_kind kind, int *error_number);
#else
static inline bool tlt_fault_hit(tlt_fault_kind kind, int *error_number) {
  (void)kind, (void)error_number;
  return false;
}
#endif
#endif
