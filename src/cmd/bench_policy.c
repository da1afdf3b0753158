/* tlt bench policy: what speculation is worth, here and now. */
#include "app/bench_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/commands.h"
#include "io/text.h"

typedef struct policy_args {
  const char *model, *numerics, *draft, *batches, *texts, *fixed;
  int threads;
  bool json;
  tlt_bench_policy_options o;
} policy_args;

static void put_json(const tlt_bench_cell *c) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "text", c->text);
  tlt_json_put_int(&w, "batch", c->batch);
  tlt_json_put_string(&w, "against", c->against);
  tlt_json_put_f64(&w, "ratio", c->ratio);
  tlt_json_put_f64(&w, "low", c->low);
  tlt_json_put_f64(&w, "high", c->high);
  tlt_json_put_f64(&w, "accept_length", c->accept_length);
  tlt_json_put_f64(&w, "overhead", c->overhead);
  tlt_json_put_int(&w, "tokens", c->tokens);
  tlt_json_put_f64(&w, "against_tokens_per_s", c->off_rate);
  tlt_json_end(&w, '}');
  if (w.text.data) puts(w.text.data);
  tlt_text_free(&w.text);
}

static void put_cell(void *context, const tlt_bench_cell *c) {
  const policy_args *a = context;
  if (a->json) put_json(c);
  else
    printf("%-11s %5d  %-16s %7.3f  %6.3f .. %-6.3f %8.2f %7.1f %% %12.1f\n", c->text, c->batch,
           c->against, c->ratio, c->low, c->high, c->accept_length, 100 * c->overhead, c->off_rate);
  fflush(stdout);
}

static tlt_status parse_batches(policy_args *a, tlt_err *err) {
  const char *at = a->batches;
  while (*at) {
    char *end;
    long v = strtol(at, &end, 10);
    if (end == at || v < 1 || v > 4096 || (*end && *end != ',') ||
        a->o.n_batches == TLT_BENCH_BATCHES_MAX)
      return tlt_fail(err, TLT_EUSAGE,
                      "--batches: got \"%s\", expected up to %d numbers 1 .. 4096 with commas",
                      a->batches, TLT_BENCH_BATCHES_MAX);
    a->o.batch[a->o.n_batches++] = (int)v;
    at = *end ? end + 1 : end;
  }
  return TLT_OK;
}

static tlt_status parse_texts(policy_args *a, tlt_err *err) {
  const char *at = a->texts;
  while (*at) {
    size_t n = strcspn(at, ",");
    int found = -1;
    for (int t = 0; t < TLT_BENCH_TEXTS; t++) {
      const char *name = tlt_bench_text_name((tlt_bench_text)t);
      if (strlen(name) == n && !strncmp(at, name, n)) found = t;
    }
    if (found < 0)
      return tlt_fail(err, TLT_EUSAGE,
                      "--texts: got \"%.*s\", expected task, chat, random, repetitive or hostile",
                      (int)n, at);
    a->o.text[found] = true;
    at += n + (at[n] == ',');
  }
  return TLT_OK;
}

static tlt_status parse_fixed(policy_args *a, tlt_err *err) {
  tlt_draft_kind kind = TLT_DRAFT_OFF;
  if (!a->fixed) return TLT_OK;
  a->o.against_fixed = true;
  bool all = strcmp(a->fixed, "all") == 0;
  if (!all && (tlt_draft_kind_find(a->fixed, &kind, err) != TLT_OK || kind == TLT_DRAFT_OFF))
    return tlt_fail(err, TLT_EUSAGE, "--fixed: got \"%s\", expected suffix, eagle, auto or all",
                    a->fixed);
  for (int i = TLT_DRAFT_SUFFIX; i <= TLT_DRAFT_AUTO; i++) a->o.fixed[i] = all || i == (int)kind;
  return TLT_OK;
}

static tlt_status check(policy_args *a, tlt_err *err) {
  tlt_status s = tlt_draft_kind_find(a->draft, &a->o.draft, err);
  if (s != TLT_OK) return tlt_fail_prefix(err, "--draft");
  tlt_spec_options so = {.draft = a->o.draft, .policy = a->o.policy, .drafter = a->o.drafter};
  s = tlt_spec_check(&so, err);
  if (s == TLT_OK) s = parse_batches(a, err);
  if (s == TLT_OK) s = parse_texts(a, err);
  return s == TLT_OK ? parse_fixed(a, err) : s;
}

static tlt_status run(policy_args *a, tlt_err *err) {
  tlt_model *m = NULL;
  tlt_tokenizer *t = NULL;
  tlt_model_options mo = {.numerics = a->numerics, .threads = a->threads};
  tlt_status s = tlt_tokenizer_open(a->model, &t, err);
  if (s == TLT_OK) s = tlt_model_open(a->model, &mo, &m, err);
  if (s == TLT_OK && !a->json)
    printf("%-11s %5s  %-16s %7s  %-16s %8s %9s %12s\n", "text", "batch", "against", "speed",
           "95 %", "accepted", "overhead", "tokens/s");
  if (s == TLT_OK) s = tlt_bench_policy(m, t, &a->o, put_cell, a, err);
  tlt_model_close(m);
  tlt_tokenizer_close(t);
  return s;
}

int tlt_bench_policy_main(int argc, char **argv) {
  policy_args a = {.model = "models/tiny-countdown",
                   .draft = "auto",
                   .batches = "1,2,4,8,16,32,64",
                   .texts = "task,chat,random,repetitive,hostile",
                   .o = {.task = "countdown", .pairs = 9, .max_tokens = 256, .temperature = 1}};
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &a.model, 0, 0, "DIR", "model directory (models/tiny-countdown)"},
      {"draft", TLT_ARG_TEXT, &a.draft, 0, 0, "HOW", "off, suffix, eagle or auto (auto)"},
      {"drafter", TLT_ARG_TEXT, &a.o.drafter, 0, 0, "DIR", "learned drafter"},
      {"policy", TLT_ARG_TEXT, &a.o.policy, 0, 0, "NAME",
       "planner, beg-mab, eg, ucb1 or fixed:DEPTH_TOPK_VERIFY (planner)"},
      {"fixed", TLT_ARG_TEXT, &a.fixed, 0, 0, "HOW",
       "also compare with the five best fixed settings of draft suffix, eagle, auto, or all"},
      {"batches", TLT_ARG_TEXT, &a.batches, 0, 0, "LIST",
       "sequences decoded at once (1,2,4,8,16,32,64)"},
      {"texts", TLT_ARG_TEXT, &a.texts, 0, 0, "LIST",
       "of task, chat, random, repetitive, hostile (all)"},
      {"task", TLT_ARG_TEXT, &a.o.task, 0, 0, "NAME",
       "generator of the task's prompts (countdown)"},
      {"pairs", TLT_ARG_INT, &a.o.pairs, 2, TLT_BENCH_PAIRS_MAX, "N", "interleaved pairs (9)"},
      {"answers", TLT_ARG_INT, &a.o.answers, 0, 65536, "N",
       "per round (0: as many as the batch, at least 4)"},
      {"max-tokens", TLT_ARG_INT, &a.o.max_tokens, 1, 4096, "N", "per answer (256)"},
      {"temperature", TLT_ARG_NUMBER, &a.o.temperature, 0, 100, "T", "of sampling (1)"},
      {"seed", TLT_ARG_SEED, &a.o.seed, 0, 0, "S", "of prompts and noise (0)"},
      {"threads", TLT_ARG_INT, &a.threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &a.numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"json", TLT_ARG_FLAG, &a.json, 0, 0, NULL, "one JSON object per comparison"},
  };
  static const tlt_command command = {"bench policy", "[options]",
                                      "speed of speculation against none", NULL};
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&command, table, sizeof table / sizeof *table, argc, argv, &rest,
                                &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && n_rest) s = tlt_fail(&err, TLT_EUSAGE, "%s: unexpected argument", rest[0]);
  if (s == TLT_OK) s = check(&a, &err);
  if (s == TLT_OK) s = run(&a, &err);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}
