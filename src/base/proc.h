/* The one place where processes are started.
 *
 * A child gets three pipes, a process group of its own, default signal handling, no new privileges,
 * and dies (SIGKILL) with the thread that started it. No descriptor of the parent but those three
 * is open in it. Threads: a handle belongs to the thread that started it. */
#ifndef TLT_BASE_PROC_H
#define TLT_BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_proc {
  int pid; /* also the process group; 0: none */
  int in;  /* write end of its stdin, -1 when closed; all three are nonblocking, close-on-exec */
  int out, err;
} tlt_proc;

typedef struct tlt_proc_options {
  const char *const *argv; /* ended by NULL; argv[0] is looked up in PATH unless it holds a "/" */

  /* Names of the environment kept, ended by NULL; "LC_*" keeps a prefix. NULL: everything. */
  const char *const *keep_env;

  /* Resource limits; 0: as the parent has them. Core dumps are always off. */
  uint64_t cpu_seconds, address_bytes, open_files, file_bytes;
} tlt_proc_options;

enum { TLT_PROC_PATH_MAX = 4096 };

/* Full path of an executable regular file by name, as the shell would find it.
 * TLT_EIO: "NAME: not found in PATH" or "NAME: not executable". */
tlt_status tlt_proc_find(const char *name, char path[TLT_PROC_PATH_MAX], tlt_err *err);

/* Start a child; returns after its exec succeeded. TLT_EIO with the reason otherwise. */
tlt_status tlt_proc_start(const tlt_proc_options *options, tlt_proc *out, tlt_err *err);

/* Write what the pipe takes now: bytes written, 0 when it is full, -1 when the child no longer
 * reads. Raises no SIGPIPE. */
ptrdiff_t tlt_proc_write(const tlt_proc *p, const void *data, size_t n);

/* Read what is there now from p->out or p->err: bytes read, 0 when there is nothing yet, -1 at the
 * end. */
ptrdiff_t tlt_proc_read(int fd, void *to, size_t n);

/* Signal the child's whole group. */
void tlt_proc_signal(const tlt_proc *p, int signal_number);

/* Whether the child has ended. When it has, the rest of its group is killed, it is reaped, pid
 * becomes 0, and how (may be NULL) gets "exit status 1" or "signal 9". wait: block until then. */
enum { TLT_PROC_HOW_MAX = 48 };
bool tlt_proc_ended(tlt_proc *p, bool wait, char how[TLT_PROC_HOW_MAX]);

void tlt_proc_close_in(tlt_proc *p);
void tlt_proc_close(tlt_proc *p); /* closes the pipes; does not wait */

#endif
