#include "rl/idle.h"

#include "base/clock.h"

bool tlt_idle_rests(const tlt_idle *i) {
  return i->toggle_s > 0 && (int64_t)(tlt_now() / i->toggle_s) % 2 == 1;
}

bool tlt_idle_draft(const tlt_idle *i, bool (*look)(void *context), void *context) {
  if (!i->micro_step) return false;
  tlt_work before = tlt_account_enter(i->account, TLT_WORK_DRAFTER);
  tlt_pool_set_pause(i->pool, look, context);
  bool did = i->micro_step(i->context);
  tlt_pool_set_pause(i->pool, NULL, NULL);
  if (!did) tlt_account_unenter(i->account, before);
  return did;
}

tlt_work tlt_idle_wait(const tlt_idle *i, tlt_work why) {
  if (!i->lend) return why;
  if (tlt_idle_rests(i)) tlt_pool_keep(i->pool);
  else tlt_pool_lend(i->pool);
  return tlt_pool_is_lent(i->pool) ? TLT_WORK_LENDING : why;
}
