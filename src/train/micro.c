/* Checking a micro-batch and laying it out for the forward. */
#include "train/trainer_internal.h"

int tlt_micro_targets(const tlt_micro *m) {
  int n = 0;
  for (int s = 0; s < m->n_samples; s++) n += m->cu[s + 1] - m->cu[s] - m->prompt[s];
  return n;
}

static tlt_status check_sample(const tlt_trainer *t, const tlt_micro *m, int s, tlt_err *err) {
  int32_t first = m->cu[s], end = m->cu[s + 1];
  if (end <= first || end > t->rows)
    return tlt_fail(err, TLT_EDATA,
                    "micro-batch sample %d: got tokens %d to %d, expected at least 1 "
                    "and an end of at most %d",
                    s, first, end, t->rows);
  if (m->prompt[s] < 1 || m->prompt[s] > end - first)
    return tlt_fail(err, TLT_EDATA,
                    "micro-batch sample %d: got %d prompt tokens of %d, expected at "
                    "least 1",
                    s, m->prompt[s], end - first);
  for (int32_t i = first; i < end; i++)
    if (m->tokens[i] < 0 || m->tokens[i] >= t->dim.vocab)
      return tlt_fail(err, TLT_EDATA,
                      "micro-batch sample %d: got token %d at position %d, expected "
                      "0 to %d",
                      s, m->tokens[i], i - first, t->dim.vocab - 1);
  return TLT_OK;
}

/* Sequences start at KV block boundaries; blocks are handed out in order. */
static void lay_sample(tlt_trainer *t, const tlt_micro *m, int s, int *block) {
  int first = m->cu[s], rows = m->cu[s + 1] - first;
  t->seq[s] = (tlt_seq_rows){.row0 = first,
                             .n_rows = rows,
                             .pos0 = 0,
                             .kv = {.base = t->kv, .blocks = t->identity + *block}};
  *block += (rows + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
  for (int i = 0; i < rows; i++) t->position[first + i] = i;
}

tlt_status tlt_micro_prepare(tlt_trainer *t, const tlt_micro *m, tlt_batch *batch, int *targets,
                             tlt_err *err) {
  if (m->n_samples < 0 || m->n_samples > t->rows || m->cu[0] != 0)
    return tlt_fail(err, TLT_EDATA,
                    "micro-batch: got %d samples, expected 0 to %d starting at token 0",
                    m->n_samples, t->rows);
  int block = 0, n = 0;
  for (int s = 0; s < m->n_samples; s++) {
    tlt_status status = check_sample(t, m, s, err);
    if (status) return status;
    lay_sample(t, m, s, &block);
    for (int32_t i = m->cu[s] + m->prompt[s]; i < m->cu[s + 1]; i++, n++) {
      t->target_row[n] = i - 1;
      t->target[n] = m->tokens[i];
    }
  }
  *batch = (tlt_batch){
      .n_rows = m->cu[m->n_samples], .token = m->tokens, .n_seqs = m->n_samples, .seq = t->seq};
  *targets = n;
  return TLT_OK;
}
