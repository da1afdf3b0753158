/* Checkpoints of an SFT run: masters, moments, step; what they belong to. */
#ifndef TLT_APP_SFT_CHECKPOINT_H
#define TLT_APP_SFT_CHECKPOINT_H

#include "app/sft_model.h"
#include "rl/rundir.h"

tlt_status tlt_sft_checkpoint_save(const tlt_rundir *dir, tlt_sft_model *m, const tlt_sft_config *c,
                                   int64_t step, tlt_err *err);

/* Restore the newest checkpoint into m; *step is its step, 0 when the run had saved none yet.
 * TLT_ECHECKPOINT: damaged (unless last-good finds an older one), or the configuration, data or
 * numerics differ where they must not (the list of differences; changed accepts the last two). */
tlt_status tlt_sft_checkpoint_resume(const tlt_rundir *dir, tlt_sft_model *m,
                                     const tlt_sft_config *c, tlt_resume how, int64_t *step,
                                     tlt_err *err);

#endif
