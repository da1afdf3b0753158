#include "spec/eagle.h"

tlt_status tlt_eagle_create(tlt_model *m, tlt_drafter *d, const tlt_eagle_options *o,
                            tlt_source *out, tlt_err *err) {
  (void)m;
  (void)d;
  (void)o;
  (void)out;
  return tlt_fail(err, TLT_EINTERNAL, "eagle source: not here yet");
}
