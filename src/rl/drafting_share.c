#include "rl/drafting_share.h"

#include <math.h>

enum { REST_FIRST = 8, REST_MOST = 64 };
#define RESPONSE 0.005
#define RESPONSE_UNUSED 0.05
#define FALL 0.02
#define ERRORS 2.0 /* standard errors that make a fall believed */

bool tlt_share_rests(const tlt_drafting_share *s) {
  return s->left > 0;
}

static void rest(tlt_drafting_share *s) {
  double mean = 0, square = 0;
  for (int i = 0; i < TLT_SHARE_WINDOW; i++) mean += s->length[i] / TLT_SHARE_WINDOW;
  for (int i = 0; i < TLT_SHARE_WINDOW; i++)
    square += (s->length[i] - mean) * (s->length[i] - mean) / (TLT_SHARE_WINDOW - 1);
  s->level = mean;
  s->spread = sqrt(square);
  s->left = REST_FIRST << s->rests;
  if (s->left < REST_MOST) s->rests++;
  s->n = s->n_seen = 0;
  s->seen = 0;
}

void tlt_share_published(tlt_drafting_share *s, double before, double after, bool used) {
  double gain = after > before ? (after - before) / before : 0, sum = 0;
  if (s->left) return;
  s->length[s->n % TLT_SHARE_WINDOW] = after > before ? after : before;
  s->gain[s->n++ % TLT_SHARE_WINDOW] = gain;
  if (s->n < TLT_SHARE_WINDOW) return;
  for (int i = 0; i < TLT_SHARE_WINDOW; i++) sum += s->gain[i];
  if (sum < (used ? RESPONSE : RESPONSE_UNUSED)) rest(s);
  else s->rests = 0;
}

void tlt_share_step(tlt_drafting_share *s) {
  if (s->left) s->left--;
}

bool tlt_share_looks(const tlt_drafting_share *s) {
  return s->left > 0 && s->left % TLT_SHARE_LOOK == 0;
}

void tlt_share_seen(tlt_drafting_share *s, double length) {
  if (!s->left) return;
  s->seen += length;
  s->n_seen++;
  double fall = s->level - s->seen / s->n_seen;
  double error = s->spread * sqrt(1.0 / TLT_SHARE_WINDOW + 1.0 / s->n_seen);
  if (fall > FALL * s->level && fall > ERRORS * error) s->left = s->rests = s->n = 0;
}
