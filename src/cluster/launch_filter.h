/* mpirun writes its own complaints, lines and blocks between lines of dashes, into the output of
 * the workers. This takes them out of the stream and keeps what they say; everything else passes
 * unchanged. */
#ifndef TLT_CLUSTER_LAUNCH_FILTER_H
#define TLT_CLUSTER_LAUNCH_FILTER_H

#include <stdbool.h>
#include <stddef.h>

/* What mpirun said about the worker that ended first; rank -1: nothing. */
typedef struct tlt__fate {
  int rank;
  int signal;    /* 0: none */
  int exit_code; /* -1: not said */
  char signal_name[64];
} tlt__fate;

typedef struct tlt__filter {
  void (*pass)(void *context, const char *text, size_t n);
  void *context;
  enum { TLT__TEXT, TLT__DASHES, TLT__OPENING, TLT__BLOCK, TLT__PHRASE, TLT__LINE } state;
  bool inside_line;
  bool interrupted; /* a line was taken out from behind the rule that is held */
  size_t held;
  char hold[8192]; /* what may turn out to be mpirun's */
  tlt__fate fate;
} tlt__filter;

void tlt__filter_init(tlt__filter *f, void (*pass)(void *, const char *, size_t), void *context);
void tlt__filter_feed(tlt__filter *f, const char *text, size_t n);

/* Nothing has come for a while: a beginning that may be mpirun's is not (it writes in one piece).
 * end: the stream is over, nothing is held any longer. */
void tlt__filter_quiet(tlt__filter *f, bool end);

#endif
