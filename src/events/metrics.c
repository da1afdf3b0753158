#include "events/metrics.h"

static tlt_metric *next(tlt_metrics *m, const char *key, tlt_metric_kind kind) {
  if (m->n == TLT_METRICS_MAX) {
    m->overflow = 1;
    m->n--;
  }
  tlt_metric *item = &m->item[m->n++];
  *item = (tlt_metric){.key = key, .kind = kind};
  return item;
}

void tlt_metrics_real(tlt_metrics *m, const char *key, double value) {
  next(m, key, TLT_METRIC_REAL)->real = value;
}

void tlt_metrics_count(tlt_metrics *m, const char *key, int64_t value) {
  next(m, key, TLT_METRIC_COUNT)->count = value;
}

void tlt_metrics_text(tlt_metrics *m, const char *key, const char *value) {
  next(m, key, TLT_METRIC_TEXT)->text = value;
}
