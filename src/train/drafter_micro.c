/* Checking a micro-batch of drafter training and laying out its rows and chains. */
#include "train/drafter_internal.h"

static tlt_status check_sample(const tlt_drafter_trainer *t, const tlt_draft_micro *m, int s,
                               tlt_err *err) {
  int32_t first = m->cu[s], end = m->cu[s + 1];
  if (end <= first || end > t->base.rows)
    return tlt_fail(err, TLT_EDATA,
                    "drafter sample %d: got tokens %d to %d, expected at least 1 and an end of at "
                    "most %d",
                    s, first, end, t->base.rows);
  if (m->prompt[s] < 1)
    return tlt_fail(err, TLT_EDATA, "drafter sample %d: got %d prompt tokens, expected at least 1",
                    s, m->prompt[s]);
  for (int32_t i = first; i < end; i++)
    if (m->tokens[i] < 0 || m->tokens[i] >= t->base.dim.vocab)
      return tlt_fail(err, TLT_EDATA,
                      "drafter sample %d: got token %d at position %d, expected 0 to %d", s,
                      m->tokens[i], i - first, t->base.dim.vocab - 1);
  return TLT_OK;
}

static void lay_sample(tlt_drafter_trainer *t, int s, int *block) {
  const tlt_draft_micro *m = &t->micro;
  int first = m->cu[s], rows = m->cu[s + 1] - first, start = m->prompt[s] - 1;
  int chains = rows - 1 - start > 0 ? rows - 1 - start : 0;
  t->sample[s] = (tlt_draft_sample){first, rows, t->chains, chains, start, *block};
  for (int i = 0; i < rows; i++) t->row_sample[first + i] = s;
  for (int i = 0; i < chains; i++) {
    int left = chains - i;
    t->chain_row[t->chains + i] = first + start + i;
    t->chain_steps[t->chains + i] = left < t->max_steps ? left : t->max_steps;
  }
  t->chains += chains;
  *block += (rows + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
}

tlt_status tlt_draft_prepare(tlt_drafter_trainer *t, const tlt_draft_micro *m, tlt_err *err) {
  if (m->n_samples < 0 || m->n_samples > t->base.rows || m->cu[0] != 0)
    return tlt_fail(err, TLT_EDATA,
                    "drafter micro-batch: got %d samples, expected 0 to %d starting at token 0",
                    m->n_samples, t->base.rows);
  if (t->d->n_hot > t->max_hot)
    return tlt_fail(err, TLT_EDATA, "drafter training: got %d hot tokens, expected at most %d",
                    t->d->n_hot, t->max_hot);
  for (int s = 0; s < m->n_samples; s++) {
    tlt_status status = check_sample(t, m, s, err);
    if (status) return status;
  }
  int block = 0;
  t->micro = *m;
  t->rows = m->cu[m->n_samples];
  t->chains = 0;
  for (int s = 0; s < m->n_samples; s++) lay_sample(t, s, &block);
  return TLT_OK;
}
