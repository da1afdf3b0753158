/* tlt score: log-probabilities of given answers by the training forward. */
#include "app/score.h"

#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/progress.h"

static void show_progress(int64_t lines, double seconds) {
  tlt_progress_show("%lld lines, %.1f lines/s", (long long)lines, (double)lines / seconds);
}

static int score_main(int argc, char **argv) {
  const char *model = NULL, *in = NULL, *out = NULL, *numerics = NULL;
  float temperature = 1;
  int threads = 0;
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &model, 0, 0, "DIR", "Hugging Face model directory"},
      {"in", TLT_ARG_TEXT, &in, 0, 0, "FILE", "JSONL lines {\"prompt\": [ids], \"tokens\": [ids]}"},
      {"out", TLT_ARG_TEXT, &out, 0, 0, "FILE", "JSONL lines {\"logprobs\": [...]}"},
      {"temperature", TLT_ARG_NUMBER, &temperature, 0, 100, "T", "of the softmax (1)"},
      {"threads", TLT_ARG_INT, &threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_model *m = NULL;
  tlt_status s = tlt_args_parse(&tlt_cmd_score, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && (n_rest || !model || !in || !out))
    s = tlt_fail(&err, TLT_EUSAGE, "expected --model DIR --in FILE --out FILE");
  tlt_model_options mo = {.numerics = numerics, .threads = threads};
  if (s == TLT_OK) s = tlt_model_open(model, &mo, &m, &err);
  if (s == TLT_OK) s = tlt_score_file(m, in, out, temperature, show_progress, &err);
  tlt_progress_clear();
  tlt_model_close(m);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_score = {"score",
                                   "--model DIR --in FILE.jsonl --out FILE.jsonl [options]",
                                   "log-probabilities of given answers", score_main};
