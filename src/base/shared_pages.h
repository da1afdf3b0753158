/* Memory that processes of one host share: an anonymous file in memory that one process makes and
 * the others open by process id and descriptor. It needs no directory and no size limit but that
 * of the machine, and huge pages are asked for. It ends with its last mapping.
 *
 * Threads: every function may be called from any thread. */
#ifndef TLT_BASE_SHARED_PAGES_H
#define TLT_BASE_SHARED_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

/* How another process of this host finds the memory while the maker keeps `fd` open. Plain data. */
typedef struct tlt_shared_pages {
  int64_t pid, fd, device, inode;
  uint64_t bytes;
} tlt_shared_pages;

/* Make zeroed shared memory and map it at *out, aligned to 2 MiB. The maker closes it
 * (tlt_shared_pages_close) once all others have opened it; mappings stay.
 * TLT_ENOMEM; TLT_EIO where the system offers none. */
tlt_status tlt_shared_pages_make(size_t bytes, tlt_shared_pages *made, void **out, tlt_err *err);
void tlt_shared_pages_close(tlt_shared_pages *made); /* zeroed (fd 0) is harmless */

/* Map at *out, aligned to 2 MiB, what another process made.
 * TLT_EIO: the process cannot be reached (another container, another user) or has something else
 * open there. TLT_ENOMEM: no room for the mapping. */
tlt_status tlt_shared_pages_open(const tlt_shared_pages *made, void **out, tlt_err *err);

void tlt_shared_pages_unmap(void *p, size_t bytes); /* NULL is harmless */

#endif
