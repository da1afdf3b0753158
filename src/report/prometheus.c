#include "report/prometheus.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/json.h"

enum { NAME_MAX_BYTES = 96, LABELS_MAX = 160, VALUES_MAX = 1024 };

/* ---- names --------------------------------------------------------------------------------------
 */

typedef struct sample {
  char name[NAME_MAX_BYTES], labels[LABELS_MAX]; /* labels: "" or "{...}" */
  const char *key;
  double value;
  bool told;
} sample;

static bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Keys whose one or two parts behind `prefix` are labels. */
static const struct {
  const char *prefix, *name, *first, *second; /* second NULL: one part */
} labelled[] = {
    {"workers/", "tlt_worker_seconds", "worker", "state"},
    {"spec/drafted/", "tlt_spec_drafted_by", "source", "depth"},
    {"spec/accepted/", "tlt_spec_accepted_by", "source", "depth"},
    {"completions/length_le/", "tlt_completions_length_le", "tokens", NULL},
};

static bool is_value(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!is_plain(s[i]) && s[i] != '+' && s[i] != '-' && s[i] != '.') return false;
  return n > 0 && n < 40;
}

static bool with_labels(sample *x) {
  for (size_t i = 0; i < sizeof labelled / sizeof *labelled; i++) {
    size_t n = strlen(labelled[i].prefix);
    if (strncmp(x->key, labelled[i].prefix, n) != 0) continue;
    const char *a = x->key + n, *slash = strchr(a, '/'), *b = slash ? slash + 1 : NULL;
    size_t a_n = slash ? (size_t)(slash - a) : strlen(a);
    if (!b != !labelled[i].second || !is_value(a, a_n) || (b && !is_value(b, strlen(b)))) continue;
    snprintf(x->name, sizeof x->name, "%s", labelled[i].name);
    int at = snprintf(x->labels, sizeof x->labels, "{%s=\"%.*s\"", labelled[i].first, (int)a_n, a);
    if (b)
      at += snprintf(x->labels + at, sizeof x->labels - (size_t)at, ",%s=\"%s\"",
                     labelled[i].second, b);
    snprintf(x->labels + at, sizeof x->labels - (size_t)at, "}");
    return true;
  }
  return false;
}

static void name_sample(sample *x) {
  if (with_labels(x)) return;
  size_t n = (size_t)snprintf(x->name, sizeof x->name, "tlt_%s", x->key);
  for (size_t i = 0; i < n && i < sizeof x->name; i++)
    if (x->name[i] && !is_plain(x->name[i])) x->name[i] = '_';
}

/* ---- text ---------------------------------------------------------------------------------------
 */

static void begin_family(tlt_text *to, const char *name, const char *help) {
  tlt_text_printf(to, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void put_value(tlt_text *to, const char *name, const char *labels, double value) {
  tlt_text_printf(to, "%s%s ", name, labels);
  tlt_text_f64(to, value);
  tlt_text_add(to, "\n");
}

static void put_one(tlt_text *to, const char *name, const char *help, double value) {
  begin_family(to, name, help);
  put_value(to, name, "", value);
}

/* A label's value: what the format escapes is escaped. */
static void put_label(tlt_text *to, const char *value) {
  for (; *value; value++) {
    if (*value == '\n') tlt_text_add(to, "\\n");
    else if (*value == '"' || *value == '\\') tlt_text_printf(to, "\\%c", *value);
    else tlt_text_add_n(to, value, 1);
  }
}

static void put_info(tlt_text *to, const tlt_prometheus *p) {
  begin_family(to, "tlt_run_info", "Always 1; what runs is in the labels.");
  tlt_text_add(to, "tlt_run_info{run=\"");
  put_label(to, p->run);
  tlt_text_add(to, "\",program=\"");
  put_label(to, p->program);
  tlt_text_add(to, "\"} 1\n");
}

static void put_progress(tlt_text *to, const tlt_feed_progress *p) {
  char labels[LABELS_MAX];
  put_one(to, "tlt_run_step", "Step at work.", (double)p->step);
  put_one(to, "tlt_run_steps", "Steps of the whole run.", (double)p->steps);
  begin_family(to, "tlt_run_phase", "1 for the phase that the step is in.");
  snprintf(labels, sizeof labels, "{phase=\"%s\"}", p->phase);
  put_value(to, "tlt_run_phase", labels, 1);
  put_one(to, "tlt_phase_done", "Answers or groups done in the phase.", (double)p->done);
  put_one(to, "tlt_phase_total", "Answers or groups of the phase.", (double)p->total);
  put_one(to, "tlt_phase_tokens_per_second", "Speed of the phase.", p->rate);
  if (p->left >= 0) put_one(to, "tlt_run_seconds_left", "Estimate to the end of the run.", p->left);
}

/* ---- the step -----------------------------------------------------------------------------------
 */

static int collect(json_t *step, sample *x) {
  const char *key;
  json_t *value;
  int n = 0;
  json_object_foreach(step, key, value) {
    if (!json_is_number(value) || n == VALUES_MAX) continue;
    x[n] = (sample){.key = key, .value = json_number_value(value)};
    name_sample(&x[n++]);
  }
  return n;
}

/* Samples of one name stand together, and each name with its labels once. */
static void put_family(tlt_text *to, sample *x, int n, int first) {
  const char *name = x[first].name;
  tlt_text_printf(to, "# HELP %s ", name);
  if (x[first].labels[0]) tlt_text_add(to, "Keys of metrics.jsonl like ");
  else tlt_text_add(to, "Key of metrics.jsonl: ");
  for (const char *c = x[first].key; *c; c++)
    if (*c >= ' ' && *c != '\\') tlt_text_add_n(to, c, 1);
  tlt_text_printf(to, "\n# TYPE %s gauge\n", name);
  for (int i = first; i < n; i++) {
    if (strcmp(x[i].name, name) != 0) continue;
    x[i].told = true;
    bool twice = false;
    for (int k = first; k < i && !twice; k++)
      twice = !strcmp(x[k].name, name) && !strcmp(x[k].labels, x[i].labels);
    if (!twice) put_value(to, name, x[i].labels, x[i].value);
  }
}

static tlt_status put_step(const tlt_prometheus *p, tlt_text *to, tlt_err *err) {
  json_t *step = NULL;
  sample *x = tlt_malloc(VALUES_MAX * sizeof *x);
  if (!x) return tlt_fail_nomem(err, "metrics", VALUES_MAX * sizeof *x);
  tlt_status s = tlt_json_parse(p->step, p->n, "metrics.jsonl", 0, &step, err);
  if (s == TLT_OK && !json_is_object(step))
    s = tlt_fail(err, TLT_EDATA, "metrics.jsonl: got no JSON object, expected a line of it");
  int n = s == TLT_OK ? collect(step, x) : 0;
  for (int i = 0; i < n; i++)
    if (!x[i].told) put_family(to, x, n, i);
  json_decref(step);
  tlt_free(x);
  return s;
}

tlt_status tlt_prometheus_write(const tlt_prometheus *p, tlt_text *to, tlt_err *err) {
  put_info(to, p);
  if (p->progress) put_progress(to, p->progress);
  tlt_status s = p->n ? put_step(p, to, err) : TLT_OK;
  return s == TLT_OK ? tlt_text_check(to, err) : s;
}
