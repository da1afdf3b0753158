#include "report/tensorboard_values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/run_answers.h"

enum { TYPE_TEXT = 7 };

/* ---- lengths ------------------------------------------------------------------------------------
 */

static double number_of(const tlt_metric *x) {
  return x->kind == TLT_METRIC_COUNT ? (double)x->count : x->real;
}

static double find(const tlt_metrics *m, const char *key) {
  for (int i = 0; i < m->n; i++)
    if (!strcmp(m->item[i].key, key)) return number_of(&m->item[i]);
  return NAN;
}

static void add_bucket(tlt_tb_histogram *h, double limit, double up_to_here, double *before) {
  size_t i = h->histogram.n_bucket;
  if (i == TLT_TB_BUCKETS) return;
  h->limit[i] = limit;
  h->count[i] = up_to_here - *before;
  *before = up_to_here;
  h->histogram.n_bucket = h->histogram.n_bucket_limit = i + 1;
}

bool tlt_tb_lengths(const tlt_metrics *m, tlt_tb_histogram *h, Tlt__Summary__Value *value) {
  double before = 0;
  int limit;
  tlt__histogram__init(&h->histogram);
  h->histogram.min = find(m, "completions/min_length");
  h->histogram.max = find(m, "completions/max_length");
  h->histogram.count = find(m, "completions/count");
  h->histogram.sum = find(m, "completions/tokens");
  h->histogram.bucket_limit = h->limit;
  h->histogram.bucket = h->count;
  for (int i = 0; i < m->n; i++)
    if (sscanf(m->item[i].key, "completions/length_le/%d", &limit) == 1)
      add_bucket(h, limit, number_of(&m->item[i]), &before);
  if (!(h->histogram.n_bucket && h->histogram.count > 0)) return false;
  if (before < h->histogram.count) add_bucket(h, h->histogram.max, h->histogram.count, &before);
  tlt__summary__value__init(value);
  value->tag = (char *)"completions/length";
  value->value_case = TLT__SUMMARY__VALUE__VALUE_HISTOGRAM;
  value->histogram = &h->histogram;
  return true;
}

/* ---- answers ------------------------------------------------------------------------------------
 */

/* Lines of a Markdown block that is shown as it stands: each begins with four spaces. */
static void put_literally(tlt_text *t, const char *text) {
  tlt_text_add(t, "    ");
  for (const char *at = text; *at; at++) {
    bool ends = *at == '\n' || *at == '\r';
    if (ends) tlt_text_add(t, "\n    ");
    else tlt_text_add_n(t, at, 1);
  }
  tlt_text_add(t, "\n\n");
}

static void put_answer(tlt_text *t, const tlt_run_answer *a) {
  tlt_text_printf(t, "rollout %lld, sample %lld: reward %g, %lld tokens\n\n", (long long)a->rollout,
                  (long long)a->sample, a->reward, (long long)a->tokens);
  if (a->prompt[0]) put_literally(t, a->prompt);
  tlt_text_add(t, "gives\n\n");
  put_literally(t, a->text);
}

static void fill(tlt_tb_text *t, Tlt__Summary__Value *value) {
  tlt__tensor__init(&t->tensor);
  tlt__tensor__shape__init(&t->shape);
  tlt__metadata__init(&t->metadata);
  tlt__metadata__plugin__init(&t->plugin);
  tlt__summary__value__init(value);
  t->bytes = (ProtobufCBinaryData){t->text.n, (uint8_t *)t->text.data};
  t->tensor.type = TYPE_TEXT;
  t->tensor.shape = &t->shape;
  t->tensor.n_text = 1;
  t->tensor.text = &t->bytes;
  t->plugin.name = (char *)"text";
  t->metadata.plugin = &t->plugin;
  value->tag = (char *)"answers";
  value->metadata = &t->metadata;
  value->value_case = TLT__SUMMARY__VALUE__VALUE_TENSOR;
  value->tensor = &t->tensor;
}

bool tlt_tb_answers(const char *run, int64_t step, tlt_tb_text *t, Tlt__Summary__Value *value) {
  tlt_run_answers answers = {0};
  tlt_notices notices = {0};
  bool good = step > 0 && (step & (step - 1)) == 0 &&
              tlt_run_answers_add(&answers, run, step, TLT_TB_ANSWERS, &notices, NULL) == TLT_OK &&
              answers.n > 0;
  for (int i = 0; good && i < answers.n; i++) put_answer(&t->text, &answers.answer[i]);
  tlt_run_answers_free(&answers);
  tlt_notices_free(&notices);
  if (good && !t->text.failed) fill(t, value);
  return good && !t->text.failed;
}
