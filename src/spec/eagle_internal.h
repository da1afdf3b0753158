/* State of the learned draft source.
 *
 * Letters: L = tokens of a sequence, prompt included. Its last token has not been through the
 * target yet, so h_0 .. h_{L-2} are known and pairs t = 0 .. L-2, (h_t, token_{t+1}), are
 * committed. The output at pair L-2 predicts h_{L-1}: its logits draft the token at position L, the
 * children of the root. Node i at depth d (0: child of the root) is row t = L-1+d of a tree behind
 * the committed pairs: (own output at its parent, the node's token). */
#ifndef TLT_SPEC_EAGLE_INTERNAL_H
#define TLT_SPEC_EAGLE_INTERNAL_H

#include "spec/eagle.h"

/* The hidden states of one prompt. */
typedef struct tlt_eagle_group {
  const void *id;
  int n_prompt, known; /* rows that are there, from position 0 on */
  void *hidden;        /* act [n_prompt][stride H] */
  struct tlt_eagle_group *next;
} tlt_eagle_group;

typedef struct tlt_eagle_slot {
  tlt_eagle_group *group; /* NULL: nothing is known about the sequence */
  uint32_t sample;
  int done;  /* committed pairs whose KV is there, all from true hidden states */
  int known; /* hidden states of answer positions, from the first one on */
  int fresh; /* tokens of the latest verified step */

  /* the current step */
  bool ready; /* root output is there; else nothing can be drafted */
  int n_rows; /* drafted rows, as a tree: */
  int16_t parent[TLT_DRAFT_MAX], depth[TLT_DRAFT_MAX];
  int16_t row_of[TLT_DRAFT_MAX]; /* of a node of the draft: row, or one of the two below */
  int16_t pending[TLT_DRAFT_MAX];
  int n_pending;
  unsigned pass; /* the latest that it took part in */
  tlt_tree_rows tree;
} tlt_eagle_slot;

enum { TLT__ROW_NONE = -1, TLT__ROW_PENDING = -2 };

/* A node whose candidates are drawn in the current batch of the head. */
typedef struct tlt_eagle_want {
  tlt_grow *node;
  const tlt_spec_group *group;
  uint32_t sample;
} tlt_eagle_want;

enum { TLT__EAGLE_LOGIT_ROWS = 64 }; /* rows of the head at once: bounds the logits buffer */

typedef struct tlt_eagle {
  tlt_model *m;
  tlt_drafter *d;
  tlt_eagle_options o;
  tlt_draft_forward forward;
  size_t row_bytes; /* of an act row of H */
  const char *failed;

  tlt_eagle_group *groups;
  tlt_eagle_slot *slot; /* [batch] */
  unsigned char *memory;
  size_t bytes;
  /* inside memory: */
  unsigned char *kv;     /* [batch][blocks] */
  unsigned char *answer; /* act [batch][max_positions][stride H] hidden states */
  unsigned char *kept;   /* act [batch][1 + TLT_DRAFT_MAX][stride H] outputs: root, rows */
  unsigned char *out;    /* act [max_rows][stride H] of a pass */
  float *logits;         /* [logit_rows][n_hot] */
  int32_t *blocks;       /* [blocks] 0, 1, 2, ...: KV is contiguous per slot */
  int n_blocks;

  /* the pass being put together */
  int32_t *token;       /* [max_rows] */
  const void **hidden;  /* [max_rows] */
  unsigned char **keep; /* [max_rows] where the output goes, or NULL */
  tlt_seq_rows *seq;    /* [batch] */
  int n_rows, n_seqs;
  unsigned pass;

  tlt_eagle_want want[TLT__EAGLE_LOGIT_ROWS]; /* outputs stand in `out` */
  int n_wants, logit_rows;
  int k; /* candidates of a node */
} tlt_eagle;

static inline unsigned char *tlt__eagle_kept(const tlt_eagle *e, int slot, int row) {
  size_t at = (size_t)slot * (1 + TLT_DRAFT_MAX) + (size_t)(row + 1);
  return e->kept + at * e->row_bytes;
}

static inline unsigned char *tlt__eagle_answer(const tlt_eagle *e, int slot, int i) {
  return e->answer + ((size_t)slot * (size_t)e->o.max_positions + (size_t)i) * e->row_bytes;
}

/* The slot's state if it is that of this sequence, else NULL. */
tlt_eagle_slot *tlt__eagle_find(tlt_eagle *e, const tlt_spec_seq *s);

/* eagle_draft.c: tlt_source.begin and grow. */
void tlt__eagle_begin(void *context, int n, const tlt_spec_seq *seq);
void tlt__eagle_grow(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k);

#endif
