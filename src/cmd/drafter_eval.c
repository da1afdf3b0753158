/* tlt drafter eval: acceptance of a learned drafter. */
#include "app/drafter_eval.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/commands.h"
#include "cmd/progress.h"
#include "io/text.h"

static void show_progress(void *context, int64_t done, int64_t total, int64_t tokens,
                          double seconds) {
  (void)context;
  tlt_progress_show("answers %lld/%lld  %.0f tokens/s", (long long)done, (long long)total,
                    (double)tokens / seconds);
}

static double share(double a, double b) {
  return b > 0 ? a / b : 0;
}

/* Of drafted nodes behind an accepted parent, by depth, all sources. */
static double accepted_at(const tlt_spec_stats *s, int depth, int64_t *tried) {
  int64_t hit = 0;
  *tried = 0;
  for (int i = 0; i < TLT_EDGE_SOURCES; i++) {
    *tried += s->tried[i][depth];
    hit += s->accepted[i][depth];
  }
  return share((double)hit, (double)*tried);
}

static double drafted_length(const tlt_spec_stats *s) {
  return share((double)s->drafted_step_tokens, (double)s->drafted_steps);
}

static void print_depths(const tlt_drafter_eval_report *r) {
  printf(
      "\nby depth               1      2      3      4      5      6      7      8\n  accepted     "
      " ");
  for (int d = 0; d < 8; d++) {
    int64_t tried;
    double rate = accepted_at(&r->spec, d, &tried);
    if (tried) printf("  %.3f", rate);
  }
  printf("\n  sum min(p, q) ");
  for (int d = 0; d < r->unroll; d++)
    printf("  %.3f", share(r->match.overlap[d], (double)r->match.rows[d]));
  printf("\n  p of argmax q ");
  for (int d = 0; d < r->unroll; d++)
    printf("  %.3f", share(r->match.top_p[d], (double)r->match.rows[d]));
  printf("\n");
}

static void print_text(const tlt_drafter_eval_report *r) {
  const tlt_spec_stats *s = &r->spec;
  printf("%lld answers, %lld tokens, %.2f nats per token; %d hot tokens, %.2f %% of those drawn\n",
         (long long)r->answers, (long long)r->tokens, r->nll, r->n_hot, 100 * r->hot_share);
  printf("accepted length %.3f (where drafted: %.3f)\n", tlt_spec_accept_length(s),
         drafted_length(s));
  for (int i = 0; i < TLT_EDGE_SOURCES; i++) {
    double drafted = 0, tried = 0, hit = 0;
    for (int d = 0; d < TLT_SPEC_DEPTHS; d++) {
      drafted += (double)s->drafted[i][d];
      tried += (double)s->tried[i][d];
      hit += (double)s->accepted[i][d];
    }
    if (drafted > 0)
      printf("  %-8s %8.0f drafted, %8.0f accepted; %.3f of those reached\n",
             tlt_edge_source_name((tlt_edge_source)i), drafted, hit, share(hit, tried));
  }
  print_depths(r);
  printf("\nplanner's probabilities\n  expected   found    edges\n");
  for (int b = 0; b < 10; b++)
    if (s->bin_tried[b])
      printf("     %.3f   %.3f  %7lld\n", share(s->bin_expected[b], (double)s->bin_tried[b]),
             share((double)s->bin_accepted[b], (double)s->bin_tried[b]),
             (long long)s->bin_tried[b]);
  printf("\nspeed %.1f tokens/s without, %.1f with speculation: %.2f x\n",
         (double)r->tokens / r->seconds_plain, (double)r->tokens / r->seconds_spec,
         r->seconds_plain / r->seconds_spec);
}

static void put_means(tlt_json_writer *w, const char *name, const double *sum,
                      const tlt_drafter_eval_report *r) {
  tlt_json_begin(w, name, '[');
  for (int d = 0; d < r->unroll; d++)
    tlt_json_put_f64(w, NULL, share(sum[d], (double)r->match.rows[d]));
  tlt_json_end(w, ']');
}

static void put_calibration(tlt_json_writer *w, const tlt_spec_stats *s) {
  tlt_json_begin(w, "calibration", '[');
  for (int b = 0; b < 10; b++) {
    if (!s->bin_tried[b]) continue;
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_f64(w, "expected", share(s->bin_expected[b], (double)s->bin_tried[b]));
    tlt_json_put_f64(w, "found", share((double)s->bin_accepted[b], (double)s->bin_tried[b]));
    tlt_json_put_int(w, "edges", s->bin_tried[b]);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
}

static void put_sources(tlt_json_writer *w, const tlt_spec_stats *s) {
  tlt_json_begin(w, "sources", '{');
  for (int i = 0; i < TLT_EDGE_SOURCES; i++) {
    int64_t drafted = 0, tried = 0, hit = 0;
    for (int d = 0; d < TLT_SPEC_DEPTHS; d++) {
      drafted += s->drafted[i][d];
      tried += s->tried[i][d];
      hit += s->accepted[i][d];
    }
    tlt_json_begin(w, tlt_edge_source_name((tlt_edge_source)i), '{');
    tlt_json_put_int(w, "drafted", drafted);
    tlt_json_put_int(w, "reached", tried);
    tlt_json_put_int(w, "accepted", hit);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, '}');
}

static void print_json(const tlt_drafter_eval_report *r) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_int(&w, "answers", r->answers);
  tlt_json_put_int(&w, "tokens", r->tokens);
  tlt_json_put_f64(&w, "nll", r->nll);
  tlt_json_put_int(&w, "hot_tokens", r->n_hot);
  tlt_json_put_f64(&w, "hot_share", r->hot_share);
  tlt_json_put_f64(&w, "accept_length", tlt_spec_accept_length(&r->spec));
  tlt_json_put_f64(&w, "accept_length_drafted", drafted_length(&r->spec));
  tlt_json_begin(&w, "accepted_by_depth", '[');
  for (int d = 0; d < TLT_SPEC_DEPTHS; d++) {
    int64_t tried;
    double rate = accepted_at(&r->spec, d, &tried);
    if (tried) tlt_json_put_f64(&w, NULL, rate);
  }
  tlt_json_end(&w, ']');
  put_sources(&w, &r->spec);
  put_means(&w, "sum_min_pq", r->match.overlap, r);
  put_means(&w, "p_of_argmax_q", r->match.top_p, r);
  put_means(&w, "same_argmax", r->match.agree, r);
  put_calibration(&w, &r->spec);
  tlt_json_put_f64(&w, "seconds_plain", r->seconds_plain);
  tlt_json_put_f64(&w, "seconds_spec", r->seconds_spec);
  tlt_json_end(&w, '}');
  if (w.text.data) puts(w.text.data);
  tlt_text_free(&w.text);
}

static tlt_status check(tlt_drafter_eval_options *o, const char *draft, int n_rest, tlt_err *err) {
  if (n_rest || !o->model || !o->drafter || !o->task == !o->prompts)
    return tlt_fail(err, TLT_EUSAGE,
                    "expected --model DIR --drafter DIR and either --task NAME or --prompts FILE");
  tlt_status s = tlt_draft_kind_find(draft, &o->draft, err);
  if (s != TLT_OK) return tlt_fail_prefix(err, "--draft");
  tlt_spec_options so = {.draft = o->draft, .policy = o->policy, .drafter = o->drafter};
  return tlt_spec_check(&so, err);
}

int tlt_drafter_eval_main(int argc, char **argv) {
  tlt_drafter_eval_options o = tlt_drafter_eval_default();
  tlt_drafter_eval_report report;
  const char *draft = "eagle";
  bool json = false, help;
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &o.model, 0, 0, "DIR", "Hugging Face directory of the target"},
      {"drafter", TLT_ARG_TEXT, &o.drafter, 0, 0, "DIR", "drafter directory"},
      {"task", TLT_ARG_TEXT, &o.task, 0, 0, "NAME", "problems of a task's split 'eval' as prompts"},
      {"count", TLT_ARG_INT, &o.count, 1, 10000000, "N", "problems of the task (64)"},
      {"options", TLT_ARG_TEXT, &o.task_options, 0, 0, "A=B,...", "options of the task"},
      {"prompts", TLT_ARG_TEXT, &o.prompts, 0, 0, "FILE",
       "JSONL lines {\"prompt\": text, messages or ids} instead of a task"},
      {"chat", TLT_ARG_FLAG, &o.chat, 0, 0, NULL, "put text prompts through the chat template"},
      {"samples", TLT_ARG_INT, &o.record.samples, 1, 65536, "K", "answers per prompt (2)"},
      {"max-tokens", TLT_ARG_INT, &o.record.max_tokens, 2, 1 << 20, "N", "of an answer (512)"},
      {"temperature", TLT_ARG_NUMBER, &o.record.temperature, 0, 100, "T", "of sampling (1)"},
      {"batch", TLT_ARG_INT, &o.record.batch, 1, 65536, "N", "sequences decoded at once (1)"},
      {"unroll", TLT_ARG_INT, &o.unroll, 1, TLT_UNROLL_MAX, "J",
       "steps at which the distributions are compared (4)"},
      {"draft", TLT_ARG_TEXT, &draft, 0, 0, "HOW", "suffix, eagle or auto (eagle)"},
      {"policy", TLT_ARG_TEXT, &o.policy, 0, 0, "NAME",
       "planner, beg-mab, eg, ucb1 or fixed:DEPTH_TOPK_VERIFY (planner)"},
      {"buffer-mb", TLT_ARG_INT, &o.buffer_mb, 1, 1 << 20, "N", "hidden states kept (1024)"},
      {"seed", TLT_ARG_SEED, &o.seed, 0, 0, "S", "of problems and noise (0)"},
      {"threads", TLT_ARG_INT, &o.threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &o.numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"json", TLT_ARG_FLAG, &json, 0, 0, NULL, "print JSON"},
  };
  static const tlt_command command = {
      "drafter eval", "--model DIR --drafter DIR (--task NAME | --prompts FILE.jsonl) [options]",
      "acceptance of a learned drafter", NULL};
  tlt_err err = {0};
  char **rest;
  int n_rest;
  tlt_status s = tlt_args_parse(&command, table, sizeof table / sizeof *table, argc, argv, &rest,
                                &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK) s = check(&o, draft, n_rest, &err);
  if (s == TLT_OK && tlt_stop_install() != 0)
    s = tlt_fail(&err, TLT_EIO, "cannot install signal handlers: %s", strerror(errno));
  if (s == TLT_OK) s = tlt_drafter_eval(&o, show_progress, NULL, &tlt_stop_flags, &report, &err);
  tlt_progress_clear();
  if (s != TLT_OK) return tlt_report_error(&err);
  (json ? print_json : print_text)(&report);
  return 0;
}
