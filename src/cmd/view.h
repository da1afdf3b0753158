/* What a person sees of `tlt train` while it goes on: a plain line for every step, and on a
 * terminal below these a view of the step at work that is rewritten in place:
 *
 *   step 12/40  ━━━━━━──────────────  12:34 left
 *   rollout 96/128 answers  ━━━━━━━━━━━━━━━─────  35900 tokens/s
 *   reward 0.412 ▁▂▂▃▅▆▇  length 134  accept 2.31  idle 8 %  held-back 48.4 % (step 10)
 *
 * What does not fit is left out, a narrow or low terminal gets one line, one without UTF-8 gets
 * ASCII. All on the main thread of the leading worker. */
#ifndef TLT_CMD_VIEW_H
#define TLT_CMD_VIEW_H

#include "events/metrics.h"
#include "rl/train.h"

enum { TLT_VIEW_TREND = 24 }; /* rewards that the trend shows */

/* Zeroed at first. Values of the newest step that had them. */
typedef struct tlt_view {
  double reward[TLT_VIEW_TREND]; /* ring, the newest at (rewards - 1) % TLT_VIEW_TREND */
  int64_t rewards;
  double length, accept, idle, accuracy; /* below 0: none yet */
  int64_t accuracy_step;
  bool any; /* the values above are set */
} tlt_view;

/* Takes the values it shows out of each step's metrics. */
tlt_metrics_sink tlt_view_metrics(tlt_view *v);

/* Redraw when that is due. stopping: a signal has asked for the end of the run. */
void tlt_view_show(const tlt_view *v, const tlt_train_progress *p, bool stopping);

/* The line of a step that is done: on a terminal only what fits into one. */
void tlt_view_step(const tlt_view *v, const tlt_train_progress *p);

#endif
