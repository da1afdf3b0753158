#include "rl/drafting_share.h"

enum { RESTS_MOST = 6 };
#define RESPONSE 0.005
#define RESPONSE_UNUSED 0.05
#define FALL 0.02

bool tlt_share_rests(const tlt_drafting_share *s) {
  return s->left > 0;
}

static void rest(tlt_drafting_share *s, double level) {
  if (s->rests < RESTS_MOST) s->rests++;
  s->left = 1 << s->rests;
  s->level = level;
  s->n = 0;
}

void tlt_share_published(tlt_drafting_share *s, double before, double after, bool used) {
  double gain = after > before ? (after - before) / before : 0, sum = 0;
  if (s->left) return;
  s->gain[s->n++ % TLT_SHARE_WINDOW] = gain;
  if (s->n < TLT_SHARE_WINDOW) return;
  for (int i = 0; i < TLT_SHARE_WINDOW; i++) sum += s->gain[i];
  if (sum < (used ? RESPONSE : RESPONSE_UNUSED)) rest(s, after > before ? after : before);
  else s->rests = 0;
}

void tlt_share_step(tlt_drafting_share *s) {
  if (s->left) s->left--;
}

bool tlt_share_looks(const tlt_drafting_share *s) {
  return s->left > 0 && s->left % TLT_SHARE_LOOK == 0;
}

void tlt_share_seen(tlt_drafting_share *s, double length) {
  if (!s->left || length >= s->level * (1 - FALL)) return;
  s->left = s->rests = s->n = 0;
}
