/* The job behind `tlt score`: log-probabilities of given answers by the training forward. */
#ifndef TLT_APP_SCORE_H
#define TLT_APP_SCORE_H

#include "tlt/model.h"

/* Reads {"prompt": [ids], "tokens": [ids]} lines from `in`, writes {"logprobs": [...]} lines to
 * `out`, which appears only when all lines are done. Errors: TLT_EDATA file:line. */
tlt_status tlt_score_file(tlt_model *m, const char *in, const char *out, float temperature,
                          void (*progress)(int64_t lines, double seconds), tlt_err *err);

#endif
