/* A queued prompt with its samples, and the stop strings of a request. */
#ifndef TLT_ENGINE_REQUEST_H
#define TLT_ENGINE_REQUEST_H

#include "engine/speculate.h"
#include "kernels/kernels.h"

enum { TLT__MAX_STOPS = 16, TLT__MAX_STOP_BYTES = 256 };

/* One stop string as a Knuth-Morris-Pratt automaton: bytes are fed one by one, so a match is found
 * in whatever way the bytes are cut into tokens. */
typedef struct tlt_stop {
  unsigned char text[TLT__MAX_STOP_BYTES];
  int16_t fall[TLT__MAX_STOP_BYTES]; /* longest proper border of text[0..i] */
  int n;
} tlt_stop;

void tlt__stop_init(tlt_stop *s, const char *text, size_t n); /* 1 <= n <= TLT__MAX_STOP_BYTES */

/* Feed bytes from *state (0 at first: bytes matched so far); true when the string was completed. */
bool tlt__stop_feed(const tlt_stop *s, int16_t *state, const char *bytes, size_t n);

typedef struct tlt_queued {
  struct tlt_queued *next;
  int32_t *prompt;
  int n_prompt;
  uint32_t rollout, sample0;
  int n_samples, max_tokens;
  tlt_sampling how;
  bool ignore_eos;
  tlt_stop *stop; /* [n_stop] */
  int n_stop;
  void *user;

  int own_blocks; /* most blocks that one sample takes beside the shared full prompt blocks */
  int admitted;   /* samples in a slot or finished */
  int forked;     /* samples that have their own tail block, or finished without */
  int finished;
  int done;       /* prompt positions computed; the prompt's logits exist at n_prompt */
  int32_t *block; /* [n_blocks] of the prompt, taken as the prefill goes on */
  int n_blocks;
  void *hidden; /* act [stride H]: last prompt position after the final norm */

  tlt_spec_group group; /* what a speculator is told */
  bool group_open;
} tlt_queued;

/* Copy of r. Errors: TLT_EUSAGE for settings, TLT_ENOMEM. Token range is the engine's to check. */
tlt_status tlt__queued_create(const tlt_request *r, size_t hidden_bytes, tlt_queued **out,
                              tlt_err *err);
void tlt__queued_free(tlt_queued *q); /* NULL is harmless; blocks are the caller's */

#endif
