/* How somebody else drafts for the engine.
 *
 * Before a step the speculator is shown every sequence that will decode and may leave a draft tree
 * for each. The engine runs all nodes as rows of the same forward, draws the target's own token at
 * the root, goes on to the child that carries it, and so on: what is accepted is what would have
 * been drawn anyway, so no draft can change a token (design section 2). Nodes that make no sense
 * (token outside the vocabulary, parent not an earlier node, too deep, more than there is room for)
 * are dropped together with what hangs on them, and drafts are never trusted beyond that.
 *
 * All functions are called from the thread that steps the engine; none may call the engine. A step
 * allocates nothing, and neither may `propose` and `verified` (the guard of base/mem.h is on). Each
 * may be NULL. Order in a step: group_open, wake, propose, verified, prompt, open, close, group_close; a
 * speculator that outlives the engine hears nothing of tlt_engine_free. */
#ifndef TLT_ENGINE_SPECULATE_H
#define TLT_ENGINE_SPECULATE_H

#include "kernels/kernels.h"
#include "tlt/engine.h"

enum {
  TLT_DRAFT_MAX = 63,   /* nodes of one tree */
  TLT_DRAFT_DEPTH = 32, /* longest path */
};

/* A tree of guesses behind the last token of a sequence. Parents precede children; best in depth
 * first order, likeliest child first (such rows share attention). */
typedef struct tlt_draft {
  int n;
  int32_t token[TLT_DRAFT_MAX];
  int16_t parent[TLT_DRAFT_MAX]; /* earlier node, or -1: directly behind the last token */
} tlt_draft;

/* One prompt and its samples. Valid from group_open to group_close. */
typedef struct tlt_spec_group {
  const void *id; /* of the request inside the engine: unique while it is open */
  uint32_t rollout;
  const int32_t *prompt;
  int n_prompt, n_samples;
  tlt_sampling how;
  void *user; /* of the request */
} tlt_spec_group;

/* A sequence that decodes. Pointers are valid during the call. */
typedef struct tlt_spec_seq {
  int slot; /* 0 .. batch - 1 */
  const tlt_spec_group *group;
  uint32_t sample;
  const int32_t *tokens; /* [n_tokens] answer so far; the last one is the input of the next row */
  int n_tokens;          /* >= 1 */
  int tokens_left;       /* may still be drawn: drafts deeper than tokens_left - 1 are useless */
  int most_nodes;        /* nodes that its KV blocks have room for; at least tokens_left - 1, and less
                            than TLT_DRAFT_MAX only towards the end of its longest answer */
  tlt_draft *draft;      /* propose: empty, to be filled */
} tlt_spec_seq;

/* What became of one sequence in a step. Row row0 of `hidden` is its last token, row0 + 1 + i node
 * i of its draft (as the engine ran it: useless nodes removed). */
typedef struct tlt_spec_result {
  int slot;
  const tlt_spec_group *group;
  uint32_t sample;
  const int32_t *tokens; /* [n_tokens] answer, the n_new tokens of this step included */
  int n_tokens, n_new;   /* n_new >= 1 */
  const tlt_draft *draft; /* NULL: the step had no drafts */
  int n_path;          /* accepted nodes: n_new - 1, or n_new when the last accepted token ended the
                          answer */
  const int16_t *path; /* [n_path] node indices, root to leaf */
  int row0;
  tlt_finish finish;
} tlt_spec_result;

typedef struct tlt_spec_step {
  int n;
  const tlt_spec_result *result; /* [n]; NULL in a step without drafts, where each drew one token,
                                    unless wants_hidden */
  const void *hidden;   /* act rows after the final norm, stride tlt_act_stride(H) elements; NULL
                           unless wants_hidden */
  int decode_rows;      /* sequences and nodes */
  int prompt_rows;      /* prefill rows in the same forward */
  double context;       /* mean number of keys that the decode rows attended to */
  double seconds;       /* forward and draws of the step, without propose */
} tlt_spec_step;

typedef struct tlt_speculator {
  void *context;
  bool wants_hidden;
  /* The first sample of the request was admitted / the request is gone. May allocate; group_open
   * may fail to, which must only mean that nothing is drafted for the group. */
  void (*group_open)(void *context, const tlt_spec_group *g);
  void (*group_close)(void *context, const tlt_spec_group *g);
  /* Hidden states of prompt positions pos0 .. pos0 + n - 1, act rows as above; only with
   * wants_hidden. Chunks of one prompt arrive in order. */
  void (*prompt)(void *context, const tlt_spec_group *g, int pos0, int n, const void *hidden);
  /* A sample has its first token, which came from the prompt's logits, and goes on / such a sample
   * left its slot (finished, or dropped with finish NONE). May allocate, as prompt may. */
  void (*open)(void *context, const tlt_spec_seq *s);
  void (*close)(void *context, const tlt_spec_seq *s, tlt_finish finish);
  /* Whether to propose in a step in which n >= 1 sequences decode: a speculator that sleeps costs next
   * to nothing. NULL: always. */
  bool (*wake)(void *context, int n);
  /* Fill drafts. room: nodes that this step can take, all sequences together; prompt_rows: prefill
   * rows that will share the forward. */
  void (*propose)(void *context, int n, tlt_spec_seq *seq, int room, int prompt_rows);
  void (*verified)(void *context, const tlt_spec_step *step);
} tlt_speculator;

/* NULL: none. Only while nothing is pending, and only where the engine has draft_rows > 0
 * (TLT_EUSAGE). s is copied. */
tlt_status tlt_engine_set_speculator(tlt_engine *e, const tlt_speculator *s, tlt_err *err);

#endif
