/* tlt eval: accuracy of a model on a file of problems. */
#include "app/eval.h"

#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/progress.h"
#include "io/text.h"

static void show_progress(void *context, int64_t done, int64_t total, int64_t tokens) {
  (void)context;
  tlt_progress_show("%lld/%lld answers, %lld tokens", (long long)done, (long long)total,
                    (long long)tokens);
}

static void print_text(const char *model, const tlt_eval_report *r) {
  const tlt_eval_result *e = &r->result;
  printf("%s: %zu problems x %d samples\n", model, e->problems, e->samples);
  for (int i = 0; i < r->n_k; i++)
    printf("  pass@%-4d %5.1f %%   (95 %%: %.1f to %.1f)\n", r->k[i], 100 * r->pass[i].value,
           100 * r->pass[i].low, 100 * r->pass[i].high);
  printf("  answers    %.1f tokens on average, %.1f %% cut off, %.1f %% parse\n", e->mean_length,
         100 * e->cut_share, 100 * e->parsed_share);
  printf("  speed      %.0f tokens/s\n", (double)e->tokens / e->seconds);
}

static void put_share(tlt_json_writer *w, const char *name, const tlt_share *s) {
  tlt_json_begin(w, name, '{');
  tlt_json_put_f64(w, "value", s->value);
  tlt_json_put_f64(w, "low", s->low);
  tlt_json_put_f64(w, "high", s->high);
  tlt_json_end(w, '}');
}

static void print_json(const char *model, const tlt_eval_report *r, const tlt_share *gain) {
  const tlt_eval_result *e = &r->result;
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "model", model);
  tlt_json_put_int(&w, "problems", (int64_t)e->problems);
  tlt_json_put_int(&w, "samples", e->samples);
  for (int i = 0; i < r->n_k; i++) {
    char name[24];
    snprintf(name, sizeof name, "pass@%d", r->k[i]);
    put_share(&w, name, &r->pass[i]);
  }
  if (gain) put_share(&w, "gain", gain);
  tlt_json_put_f64(&w, "mean_length", e->mean_length);
  tlt_json_put_f64(&w, "cut_share", e->cut_share);
  tlt_json_put_f64(&w, "parsed_share", e->parsed_share);
  tlt_json_put_f64(&w, "tokens_per_s", (double)e->tokens / e->seconds);
  tlt_json_end(&w, '}');
  if (w.text.data) puts(w.text.data);
  tlt_text_free(&w.text);
}

static void print_report(bool json, const char *model, const tlt_eval_report *r,
                         const tlt_share *gain) {
  tlt_progress_clear();
  if (json) {
    print_json(model, r, gain);
    return;
  }
  print_text(model, r);
  if (gain)
    printf("gain         %+5.1f points  (95 %%: %+.1f to %+.1f, paired by problem)\n",
           100 * gain->value, 100 * gain->low, 100 * gain->high);
}

static tlt_status run(const tlt_eval_options *o, const char *compare, bool json, tlt_err *err) {
  tlt_eval_report first, second = {0};
  tlt_status s = tlt_eval_model(o, show_progress, &first, err);
  if (s == TLT_OK) print_report(json, o->model, &first, NULL);
  if (s == TLT_OK && compare) {
    tlt_eval_options other = *o;
    other.model = compare;
    s = tlt_eval_model(&other, show_progress, &second, err);
    if (s == TLT_OK) {
      tlt_share gain = tlt_eval_gain(first.result.right, second.result.right, first.result.problems,
                                     first.result.samples);
      print_report(json, compare, &second, &gain);
    }
    tlt_eval_report_free(&second);
  }
  tlt_eval_report_free(&first);
  return s;
}

static int eval_main(int argc, char **argv) {
  tlt_eval_options o = {.verifier = "numeric",
                        .samples = 1,
                        .max_tokens = 1024,
                        .batch = 128,
                        .temperature = 1,
                        .top_p = 1};
  const char *compare = NULL;
  bool json = false, help;
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &o.model, 0, 0, "DIR", "Hugging Face model directory"},
      {"data", TLT_ARG_TEXT, &o.data, 0, 0, "FILE", "JSONL lines with prompt and answer"},
      {"verifier", TLT_ARG_TEXT, &o.verifier, 0, 0, "NAME",
       "numeric, exact, countdown or math (numeric)"},
      {"compare", TLT_ARG_TEXT, &compare, 0, 0, "DIR", "a second model, paired problem by problem"},
      {"samples", TLT_ARG_INT, &o.samples, 1, 1024, "K", "answers per problem (1)"},
      {"limit", TLT_ARG_INT, &o.limit, 0, 0, "N", "first N problems only (all)"},
      {"max-tokens", TLT_ARG_INT, &o.max_tokens, 1, 1 << 20, "N", "of an answer (1024)"},
      {"temperature", TLT_ARG_NUMBER, &o.temperature, 0, 100, "T", "below 0.001: greedy (1)"},
      {"top-p", TLT_ARG_NUMBER, &o.top_p, 1e-6, 1, "P", "nucleus filter (1: off)"},
      {"top-k", TLT_ARG_INT, &o.top_k, 0, 1 << 24, "K", "top-k filter (0: off)"},
      {"min-p", TLT_ARG_NUMBER, &o.min_p, 0, 1, "P", "min-p filter (0: off)"},
      {"seed", TLT_ARG_SEED, &o.seed, 0, 0, "S", "noise seed (0)"},
      {"chat", TLT_ARG_FLAG, &o.chat, 0, 0, NULL, "put text prompts through the chat template"},
      {"batch", TLT_ARG_INT, &o.batch, 1, 65536, "N", "sequences decoded at once (128)"},
      {"threads", TLT_ARG_INT, &o.threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &o.numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"json", TLT_ARG_FLAG, &json, 0, 0, NULL, "print JSON, one object per model"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  tlt_status s = tlt_args_parse(&tlt_cmd_eval, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && (n_rest || !o.model || !o.data))
    s = tlt_fail(&err, TLT_EUSAGE, "expected --model DIR --data FILE.jsonl");
  if (s == TLT_OK) s = run(&o, compare, json, &err);
  tlt_progress_clear();
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_eval = {"eval", "--model DIR --data FILE.jsonl [options]",
                                  "accuracy of a model on held-back problems: pass@1, pass@k",
                                  eval_main};
