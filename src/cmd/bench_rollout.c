/* tlt bench rollout: the rollout phase with and without speculation. */
#include "app/bench_rollout.h"

#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/progress.h"
#include "io/text.h"

static void show_progress(void *context, int pair) {
  tlt_progress_show("pair %d of %d", pair, *(const int *)context);
}

static void print_text(const tlt_bench_rollout_options *o, const tlt_bench_rollout_result *r) {
  printf(
      "%d prompts x %d samples, batch %d; lengths: median %.0f, p99 %.0f (%.1f x), %.1f %% cut\n",
      o->prompts, o->samples, o->batch, r->median_length, r->p99_length,
      r->p99_length / r->median_length, 100 * r->cut_share);
  printf("%-6s %7s  %-16s %10s %14s %12s\n", "pass", "speed", "95 %", "accepted", "where drafted",
         "off, s");
  for (int i = 0; i < o->passes; i++) {
    const tlt_bench_rollout_pass *p = &r->pass[i];
    printf("%-6d %7.3f  %6.3f .. %-6.3f %10.2f %14.2f %12.2f\n", i + 1, p->ratio, p->low, p->high,
           p->accept_length, p->accept_length_drafted, p->off_seconds);
  }
}

static void print_json(const tlt_bench_rollout_options *o, const tlt_bench_rollout_result *r) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_f64(&w, "median_length", r->median_length);
  tlt_json_put_f64(&w, "p99_length", r->p99_length);
  tlt_json_put_f64(&w, "cut_share", r->cut_share);
  tlt_json_put_int(&w, "tokens", r->tokens);
  tlt_json_begin(&w, "passes", '[');
  for (int i = 0; i < o->passes; i++) {
    const tlt_bench_rollout_pass *p = &r->pass[i];
    tlt_json_begin(&w, NULL, '{');
    tlt_json_put_f64(&w, "ratio", p->ratio);
    tlt_json_put_f64(&w, "low", p->low);
    tlt_json_put_f64(&w, "high", p->high);
    tlt_json_put_f64(&w, "accept_length", p->accept_length);
    tlt_json_put_f64(&w, "accept_length_drafted", p->accept_length_drafted);
    tlt_json_put_f64(&w, "off_seconds", p->off_seconds);
    tlt_json_end(&w, '}');
  }
  tlt_json_end(&w, ']');
  tlt_json_end(&w, '}');
  if (w.text.data) puts(w.text.data);
  tlt_text_free(&w.text);
}

typedef struct rollout_args {
  const char *model, *numerics, *draft;
  int threads;
  bool json;
  tlt_bench_rollout_options o;
} rollout_args;

static tlt_status run(rollout_args *a, tlt_err *err) {
  tlt_model *m = NULL;
  tlt_tokenizer *t = NULL;
  tlt_bench_rollout_result result;
  tlt_model_options mo = {.numerics = a->numerics, .threads = a->threads};
  tlt_status s = tlt_draft_kind_find(a->draft, &a->o.draft, err);
  if (s != TLT_OK) return tlt_fail_prefix(err, "--draft");
  tlt_spec_options so = {.draft = a->o.draft, .policy = a->o.policy, .drafter = a->o.drafter};
  s = tlt_spec_check(&so, err);
  if (s == TLT_OK) s = tlt_tokenizer_open(a->model, &t, err);
  if (s == TLT_OK) s = tlt_model_open(a->model, &mo, &m, err);
  if (s == TLT_OK) s = tlt_bench_rollout(m, t, &a->o, show_progress, &a->o.pairs, &result, err);
  tlt_progress_clear();
  if (s == TLT_OK) (a->json ? print_json : print_text)(&a->o, &result);
  tlt_model_close(m);
  tlt_tokenizer_close(t);
  return s;
}

int tlt_bench_rollout_main(int argc, char **argv) {
  rollout_args a = {.model = "models/tiny-countdown",
                    .draft = "auto",
                    .o = {.task = "countdown",
                          .prompts = 4,
                          .samples = 4,
                          .batch = 16,
                          .max_tokens = 768,
                          .passes = 1,
                          .pairs = 9,
                          .temperature = 1}};
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &a.model, 0, 0, "DIR", "model directory (models/tiny-countdown)"},
      {"draft", TLT_ARG_TEXT, &a.draft, 0, 0, "HOW", "off, suffix, eagle or auto (auto)"},
      {"drafter", TLT_ARG_TEXT, &a.o.drafter, 0, 0, "DIR", "learned drafter"},
      {"policy", TLT_ARG_TEXT, &a.o.policy, 0, 0, "NAME",
       "planner, beg-mab, eg, ucb1 or fixed:DEPTH_TOPK_VERIFY (planner)"},
      {"task", TLT_ARG_TEXT, &a.o.task, 0, 0, "NAME", "generator of the problems (countdown)"},
      {"prompts", TLT_ARG_INT, &a.o.prompts, 1, 4096, "N", "problems of a rollout (4)"},
      {"samples", TLT_ARG_INT, &a.o.samples, 1, 1024, "N", "answers per problem (4)"},
      {"batch", TLT_ARG_INT, &a.o.batch, 1, 4096, "N", "sequences decoded at once (16)"},
      {"max-tokens", TLT_ARG_INT, &a.o.max_tokens, 1, 8192, "N", "per answer (768)"},
      {"passes", TLT_ARG_INT, &a.o.passes, 1, TLT_BENCH_PASSES_MAX, "N",
       "over the same problems, with new noise (1)"},
      {"pairs", TLT_ARG_INT, &a.o.pairs, 2, TLT_BENCH_PAIRS_MAX, "N", "interleaved pairs (9)"},
      {"temperature", TLT_ARG_NUMBER, &a.o.temperature, 0, 100, "T", "of sampling (1)"},
      {"seed", TLT_ARG_SEED, &a.o.seed, 0, 0, "S", "of problems and noise (0)"},
      {"threads", TLT_ARG_INT, &a.threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &a.numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"json", TLT_ARG_FLAG, &a.json, 0, 0, NULL, "print JSON"},
  };
  static const tlt_command command = {"bench rollout", "[options]",
                                      "the rollout phase with and without speculation", NULL};
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&command, table, sizeof table / sizeof *table, argc, argv, &rest,
                                &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && n_rest) s = tlt_fail(&err, TLT_EUSAGE, "%s: unexpected argument", rest[0]);
  if (s == TLT_OK) s = run(&a, &err);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}
