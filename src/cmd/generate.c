/* tlt generate: sample answers. */
#include "app/generate.h"

#include <stdio.h>
#include <string.h>

#include "app/output.h"
#include "base/mem.h"
#include "cmd/commands.h"
#include "cmd/progress.h"
#include "io/text.h"

typedef struct generate_args {
  const char *model, *prompt, *prompts, *numerics, *out, *template_file, *draft;
  bool chat, json;
  int threads;
  tlt_arg_list stop;
  tlt_generate_options o;
  tlt_output output;
} generate_args;

static tlt_status write_sample(void *context, const tlt_generated *g, tlt_err *err) {
  generate_args *a = context;
  if (a->output.file) {
    size_t n;
    char *line = tlt_generated_json(g, &n);
    if (!line) return tlt_fail_nomem(err, "output line", 0);
    tlt_status s = tlt_file_write(a->output.file, line, n, err);
    tlt_free(line);
    return s;
  }
  if (a->json) return TLT_OK;
  tlt_progress_clear();
  fwrite(g->text, 1, g->n_text, stdout);
  fputs(g->n_text && g->text[g->n_text - 1] == '\n' ? "" : "\n", stdout);
  return fflush(stdout) ? tlt_fail(err, TLT_EIO, "standard output: cannot write") : TLT_OK;
}

static void show_progress(void *context, int64_t done, int64_t total, int64_t tokens,
                          double seconds) {
  (void)context;
  char left[32];
  double rate = done ? seconds / (double)done : 0;
  tlt_progress_show("%lld/%lld samples, %.0f tokens/s, %s left", (long long)done, (long long)total,
                    (double)tokens / seconds,
                    done ? tlt_progress_time(rate * (double)(total - done), left) : "?");
}

static void show_memory(void *context, size_t kv_bytes) {
  (void)context;
  fprintf(stderr, "memory: engine %.0f MB\n", (double)kv_bytes / 1e6);
}

static void put_sources(tlt_json_writer *w, const char *name,
                        const int64_t by[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS]) {
  tlt_json_begin(w, name, '{');
  for (int i = 0; i < TLT_EDGE_SOURCES; i++) {
    int last = TLT_SPEC_DEPTHS;
    while (last > 0 && !by[i][last - 1]) last--;
    tlt_json_begin(w, tlt_edge_source_name((tlt_edge_source)i), '[');
    for (int d = 0; d < last; d++) tlt_json_put_int(w, NULL, by[i][d]);
    tlt_json_end(w, ']');
  }
  tlt_json_end(w, '}');
}

static void put_spec(tlt_json_writer *w, const tlt_spec_stats *s) {
  double tried = (double)tlt_spec_total(s->tried);
  tlt_json_begin(w, "spec", '{');
  tlt_json_put_f64(w, "accept_length", tlt_spec_accept_length(s));
  if (s->drafted_steps)
    tlt_json_put_f64(w, "accept_length_drafted",
                     (double)s->drafted_step_tokens / (double)s->drafted_steps);
  tlt_json_put_int(w, "sequence_steps", s->sequence_steps);
  tlt_json_put_int(w, "drafted_sequence_steps", s->drafted_steps);
  tlt_json_put_int(w, "planned_steps", s->planned_steps);
  put_sources(w, "drafted", s->drafted);
  put_sources(w, "reached", s->tried);
  put_sources(w, "accepted", s->accepted);
  tlt_json_begin(w, "plan_nodes", '[');
  int last = TLT_DRAFT_MAX;
  while (last > 0 && !s->plan_nodes[last]) last--;
  for (int i = 0; i <= last; i++) tlt_json_put_int(w, NULL, s->plan_nodes[i]);
  tlt_json_end(w, ']');
  if (tried > 0) tlt_json_put_f64(w, "expected_rate", s->expected / tried);
  if (tried > 0) tlt_json_put_f64(w, "brier", s->brier / tried);
  tlt_json_put_f64(w, "plan_seconds", s->plan_seconds);
  tlt_json_put_f64(w, "draft_seconds_suffix", s->draft_seconds[TLT_SOURCE_SUFFIX]);
  tlt_json_put_f64(w, "draft_seconds_eagle", s->draft_seconds[TLT_SOURCE_EAGLE]);
  tlt_json_put_f64(w, "observe_seconds", s->observe_seconds);
  tlt_json_put_f64(w, "verify_seconds", s->verify_seconds);
  tlt_json_end(w, '}');
}

static void print_stats(const generate_args *a, const tlt_generate_stats *s,
                        const tlt_model_info *i) {
  double rate = (double)s->tokens / s->seconds;
  if (!a->json) {
    fprintf(stderr, "%lld samples, %lld tokens in %.2f s: %.1f tokens/s (%s, %d threads)\n",
            (long long)s->samples, (long long)s->tokens, s->seconds, rate, i->numerics, i->threads);
    if (a->o.draft != TLT_DRAFT_OFF && s->spec.drafted_steps)
      fprintf(stderr,
              "speculation: %.2f tokens per step and sequence, %.0f %% of drafts accepted\n",
              tlt_spec_accept_length(&s->spec),
              100.0 * (double)tlt_spec_total(s->spec.accepted) /
                  (double)tlt_spec_total(s->spec.drafted));
    return;
  }
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_int(&w, "samples", s->samples);
  tlt_json_put_int(&w, "tokens", s->tokens);
  tlt_json_put_int(&w, "prompt_tokens", s->prompt_tokens);
  tlt_json_put_f64(&w, "seconds", s->seconds);
  tlt_json_put_f64(&w, "tokens_per_s", rate);
  tlt_json_put_f64(&w, "prefill_seconds", s->engine.prefill_seconds);
  tlt_json_put_f64(&w, "decode_seconds", s->engine.decode_seconds);
  tlt_json_put_int(&w, "shared_prompt_tokens", s->engine.shared_tokens);
  tlt_json_put_int(&w, "steps", s->engine.steps);
  if (a->o.draft != TLT_DRAFT_OFF) put_spec(&w, &s->spec);
  tlt_json_put_string(&w, "numerics", i->numerics);
  tlt_json_put_int(&w, "threads", i->threads);
  tlt_json_end(&w, '}');
  printf("%s\n", w.text.data ? w.text.data : "{}");
  tlt_text_free(&w.text);
}

static tlt_status use_template(tlt_tokenizer *t, const char *path, tlt_err *err) {
  if (!path) return TLT_OK;
  if (!strcmp(path, "plain")) return tlt_tokenizer_set_template(t, "plain", NULL, err);
  char *text = NULL;
  size_t n;
  tlt_status s = tlt_file_load(path, 1 << 20, &text, &n, err);
  if (s == TLT_OK) s = tlt_tokenizer_set_template(t, path, text, err);
  tlt_free(text);
  return s;
}

static tlt_status load_prompts(const generate_args *a, const tlt_tokenizer *t, tlt_prompts *p,
                               tlt_err *err) {
  return a->prompt ? tlt_prompts_of_text(t, a->prompt, a->chat, p, err)
                   : tlt_prompts_of_file(t, a->prompts, a->chat, p, err);
}

static tlt_status check(generate_args *a, int n_rest, char **rest, tlt_err *err) {
  if (n_rest) return tlt_fail(err, TLT_EUSAGE, "%s: unexpected argument", rest[0]);
  if (!a->model) return tlt_fail(err, TLT_EUSAGE, "--model: missing, expected a model directory");
  if (!a->prompt == !a->prompts)
    return tlt_fail(err, TLT_EUSAGE, "expected exactly one of --prompt and --prompts");
  a->o.stop = a->stop.value;
  a->o.n_stop = a->stop.count;
  tlt_status s = tlt_draft_kind_find(a->draft, &a->o.draft, err);
  if (s != TLT_OK) return tlt_fail_prefix(err, "--draft");
  tlt_spec_options so = {.draft = a->o.draft,
                         .policy = a->o.policy,
                         .drafter = a->o.drafter,
                         .max_depth = a->o.max_depth};
  return tlt_spec_check(&so, err);
}

static tlt_status run(generate_args *a, tlt_err *err) {
  tlt_tokenizer *t = NULL;
  tlt_model *m = NULL;
  tlt_prompts prompts = {0};
  tlt_generate_stats stats;
  tlt_model_options mo = {.numerics = a->numerics, .threads = a->threads};
  size_t bytes = 0;
  tlt_status s = tlt_model_bytes(a->model, &bytes, err);
  if (s == TLT_OK) s = tlt_tokenizer_open(a->model, &t, err);
  if (s == TLT_OK) s = use_template(t, a->template_file, err);
  if (s == TLT_OK) s = load_prompts(a, t, &prompts, err);
  if (s == TLT_OK && a->out) s = tlt_output_open(&a->output, a->out, err);
  if (s == TLT_OK) {
    fprintf(stderr, "memory: weights %.0f MB\n", (double)bytes / 1e6);
    s = tlt_model_open(a->model, &mo, &m, err);
  }
  tlt_generate_hooks hooks = {a, write_sample, show_progress, show_memory};
  if (s == TLT_OK) s = tlt_generate(m, t, &prompts, &a->o, &hooks, &stats, err);
  tlt_progress_clear();
  s = tlt_output_close(&a->output, s, err);
  if (s == TLT_OK) {
    tlt_model_info info;
    tlt_model_info_get(m, &info);
    print_stats(a, &stats, &info);
  }
  tlt_model_close(m);
  tlt_prompts_free(&prompts);
  tlt_tokenizer_close(t);
  return s;
}

static int generate_main(int argc, char **argv) {
  generate_args a = {.draft = "auto",
                     .o = {.n = 1, .max_tokens = 256, .batch = 32, .temperature = 1, .top_p = 1}};
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &a.model, 0, 0, "DIR", "Hugging Face model directory"},
      {"prompt", TLT_ARG_TEXT, &a.prompt, 0, 0, "TEXT", "one prompt"},
      {"prompts", TLT_ARG_TEXT, &a.prompts, 0, 0, "FILE",
       "JSONL lines {\"id\", \"prompt\": text, messages or ids}"},
      {"chat", TLT_ARG_FLAG, &a.chat, 0, 0, NULL, "put text prompts through the chat template"},
      {"template-file", TLT_ARG_TEXT, &a.template_file, 0, 0, "FILE",
       "chat template instead of the model's, or 'plain'"},
      {"n", TLT_ARG_INT, &a.o.n, 1, 65536, "N", "samples per prompt (1)"},
      {"max-tokens", TLT_ARG_INT, &a.o.max_tokens, 1, 1 << 24, "N", "new tokens at most (256)"},
      {"temperature", TLT_ARG_NUMBER, &a.o.temperature, 0, 100, "T", "below 0.001: greedy (1)"},
      {"top-p", TLT_ARG_NUMBER, &a.o.top_p, 1e-6, 1, "P", "nucleus filter (1: off)"},
      {"top-k", TLT_ARG_INT, &a.o.top_k, 0, 1 << 24, "K", "top-k filter (0: off)"},
      {"min-p", TLT_ARG_NUMBER, &a.o.min_p, 0, 1, "P", "min-p filter (0: off)"},
      {"seed", TLT_ARG_SEED, &a.o.seed, 0, 0, "S", "noise seed (0)"},
      {"stop", TLT_ARG_LIST, &a.stop, 0, 0, "TEXT", "stop string; may be repeated"},
      {"ignore-eos", TLT_ARG_FLAG, &a.o.ignore_eos, 0, 0, NULL, "go on after end-of-text tokens"},
      {"batch", TLT_ARG_INT, &a.o.batch, 1, 65536, "N", "sequences decoded at once (32)"},
      {"prefill-chunk", TLT_ARG_INT, &a.o.prefill_chunk, 1, 65536, "N",
       "prompt rows per step and sequence (512)"},
      {"draft", TLT_ARG_TEXT, &a.draft, 0, 0, "HOW",
       "speculation: off, suffix, eagle or auto; never changes a token (auto)"},
      {"drafter", TLT_ARG_TEXT, &a.o.drafter, 0, 0, "DIR", "learned drafter for eagle and auto"},
      {"policy", TLT_ARG_TEXT, &a.o.policy, 0, 0, "NAME",
       "planner, beg-mab, eg, ucb1 or fixed:DEPTH_TOPK_VERIFY (planner)"},
      {"max-depth", TLT_ARG_INT, &a.o.max_depth, 1, TLT_DRAFT_DEPTH, "N",
       "longest path that the planner drafts (12)"},
      {"threads", TLT_ARG_INT, &a.threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &a.numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"out", TLT_ARG_TEXT, &a.out, 0, 0, "FILE",
       "write JSONL, one object per sample, instead of text"},
      {"json", TLT_ARG_FLAG, &a.json, 0, 0, NULL, "print figures as JSON instead of texts"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&tlt_cmd_generate, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK) s = check(&a, n_rest, rest, &err);
  if (s == TLT_OK) s = run(&a, &err);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_generate = {
    "generate", "--model DIR (--prompt TEXT | --prompts FILE.jsonl) [options]",
    "sample answers of a model", generate_main};
