#include "spec/suffix.h"

tlt_status tlt_suffix_create(const tlt_suffix_options *o, tlt_source *out, tlt_err *err) {
  (void)o;
  (void)out;
  return tlt_fail(err, TLT_EINTERNAL, "suffix source: not here yet");
}
