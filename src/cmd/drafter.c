/* tlt drafter: training of the learned drafter. */
#include "app/drafter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/commands.h"
#include "cmd/progress.h"
#include "io/text.h"

/* ---- what people see ------------------------------------------------------------------------- */

static void show_generated(void *context, int64_t done, int64_t total, int64_t tokens,
                           double seconds) {
  (void)context;
  char left[32];
  double rate = done ? seconds / (double)done : 0;
  tlt_progress_show("answers %lld/%lld  %.0f tokens/s  %s left", (long long)done, (long long)total,
                    (double)tokens / seconds,
                    done ? tlt_progress_time(rate * (double)(total - done), left) : "?");
}

static double mean(const double *sum, const tlt_draft_stats *s, int step) {
  return s->rows[step] ? sum[step] / (double)s->rows[step] : 0;
}

static void show_trained(void *context, const tlt_drafter_progress *p) {
  (void)context;
  char left[32];
  tlt_progress_show("epoch %d/%d  step %lld  loss %.4f  %.0f tokens/s  %s left",
                    p->epoch < p->epochs ? p->epoch + 1 : p->epoch, p->epochs, (long long)p->step,
                    p->loss, p->rate, tlt_progress_time(p->left, left));
  if (!p->held) return;
  tlt_progress_clear();
  fprintf(stderr, "epoch %d/%d  loss %.4f  %.0f tokens/s  held-back overlap", p->epoch, p->epochs,
          p->loss, p->rate);
  for (int j = 0; j < TLT_UNROLL_MAX && p->held->rows[j]; j++)
    fprintf(stderr, " %.3f", mean(p->held->overlap, p->held, j));
  fputc('\n', stderr);
}

static void show_memory(void *context, size_t weights, size_t recording, size_t buffer,
                        size_t training) {
  (void)context;
  fprintf(stderr,
          "memory: weights %.0f MB, generation %.0f MB, buffer up to %.0f MB, training %.0f MB\n",
          (double)weights / 1e6, (double)recording / 1e6, (double)buffer / 1e6,
          (double)training / 1e6);
}

static void print_text(const char *out, const tlt_drafter_summary *s) {
  const tlt_draft_stats *a = &s->first, *b = &s->last;
  printf("\n%lld answers (%lld tokens) in %.0f s; %lld trained on, %lld held back\n",
         (long long)s->answers, (long long)s->answer_tokens, s->seconds_generate,
         (long long)s->kept, (long long)s->held);
  printf("%lld steps, %lld tokens in %.0f s (%.0f tokens/s); loss %.4f -> %.4f\n",
         (long long)s->steps, (long long)s->tokens, s->seconds_train,
         s->seconds_train > 0 ? (double)s->tokens / s->seconds_train : 0, s->loss_first,
         s->loss_last);
  printf("%d hot tokens, %.2f %% of those drawn\n\nheld-back answers          before    after\n",
         s->hot, 100 * s->hot_share);
  for (int j = 0; j < s->unroll; j++) {
    printf("  step %d  sum min(p, q)     %6.3f   %6.3f\n", j + 1, mean(a->overlap, a, j),
           mean(b->overlap, b, j));
    printf("          same argmax       %6.3f   %6.3f\n", mean(a->agree, a, j),
           mean(b->agree, b, j));
    printf("          KL, nats          %6.3f   %6.3f\n",
           mean(a->token, a, j) - mean(a->entropy, a, j),
           mean(b->token, b, j) - mean(b->entropy, b, j));
    printf("          hidden smooth-L1  %6.3f   %6.3f\n", mean(a->hidden, a, j),
           mean(b->hidden, b, j));
  }
  printf("  chain of %d: %.2f tokens per target step at most (before: %.2f)\n\ndrafter: %s\n",
         s->unroll, tlt_drafter_chain_length(b, s->unroll), tlt_drafter_chain_length(a, s->unroll),
         out);
}

static void put_means(tlt_json_writer *w, const char *key, const double *sum,
                      const tlt_draft_stats *s, int steps) {
  tlt_json_begin(w, key, '[');
  for (int j = 0; j < steps; j++) tlt_json_put_f64(w, NULL, mean(sum, s, j));
  tlt_json_end(w, ']');
}

static void put_stats(tlt_json_writer *w, const char *key, const tlt_draft_stats *s, int steps) {
  tlt_json_begin(w, key, '{');
  put_means(w, "overlap", s->overlap, s, steps);
  put_means(w, "agree", s->agree, s, steps);
  put_means(w, "cross_entropy", s->token, s, steps);
  put_means(w, "teacher_entropy", s->entropy, s, steps);
  put_means(w, "hidden_loss", s->hidden, s, steps);
  tlt_json_put_f64(w, "chain_length", tlt_drafter_chain_length(s, steps));
  tlt_json_end(w, '}');
}

static void print_json(const char *out, const tlt_drafter_summary *s) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "drafter", out);
  tlt_json_put_int(&w, "answers", s->answers);
  tlt_json_put_int(&w, "answer_tokens", s->answer_tokens);
  tlt_json_put_int(&w, "trained_answers", s->kept);
  tlt_json_put_int(&w, "held_answers", s->held);
  tlt_json_put_int(&w, "hot_tokens", s->hot);
  tlt_json_put_f64(&w, "hot_share", s->hot_share);
  tlt_json_put_int(&w, "steps", s->steps);
  tlt_json_put_int(&w, "tokens", s->tokens);
  tlt_json_put_f64(&w, "seconds_generate", s->seconds_generate);
  tlt_json_put_f64(&w, "seconds_train", s->seconds_train);
  put_stats(&w, "held_before", &s->first, s->unroll);
  put_stats(&w, "held_after", &s->last, s->unroll);
  tlt_json_end(&w, '}');
  if (w.text.data) puts(w.text.data);
  tlt_text_free(&w.text);
}

/* ---- train ----------------------------------------------------------------------------------- */

static tlt_status check(const tlt_drafter_train_options *o, int n_rest, tlt_err *err) {
  if (n_rest || !o->model || !o->out || !o->task == !o->prompts)
    return tlt_fail(err, TLT_EUSAGE,
                    "expected --model DIR --out DIR and either --task NAME or --prompts FILE");
  if (o->init && o->inter)
    return tlt_fail(err, TLT_EUSAGE, "--inter: not with --init, whose drafter has its own width");
  if (o->train.hidden_weight + o->train.token_weight <= 0)
    return tlt_fail(err, TLT_EUSAGE, "--hidden-loss and --token-loss: expected one above 0");
  return TLT_OK;
}

static const tlt_command train_command;

static int train_main(int argc, char **argv) {
  tlt_drafter_train_options o = tlt_drafter_train_default();
  bool json = false, help;
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &o.model, 0, 0, "DIR", "Hugging Face directory of the target"},
      {"out", TLT_ARG_TEXT, &o.out, 0, 0, "DIR", "directory for the drafter"},
      {"task", TLT_ARG_TEXT, &o.task, 0, 0, "NAME",
       "problems of a task's split 'rl' as prompts: countdown, arithmetic"},
      {"count", TLT_ARG_INT, &o.count, 1, 10000000, "N", "problems of the task (512)"},
      {"options", TLT_ARG_TEXT, &o.task_options, 0, 0, "A=B,...", "options of the task"},
      {"prompts", TLT_ARG_TEXT, &o.prompts, 0, 0, "FILE",
       "JSONL lines {\"prompt\": text, messages or ids} instead of a task"},
      {"chat", TLT_ARG_FLAG, &o.chat, 0, 0, NULL, "put text prompts through the chat template"},
      {"samples", TLT_ARG_INT, &o.record.samples, 1, 65536, "K", "answers per prompt (4)"},
      {"max-tokens", TLT_ARG_INT, &o.record.max_tokens, 2, 1 << 20, "N", "of an answer (512)"},
      {"temperature", TLT_ARG_NUMBER, &o.record.temperature, 0, 100, "T",
       "of the answers and of both distributions (1)"},
      {"batch", TLT_ARG_INT, &o.record.batch, 1, 65536, "N", "sequences decoded at once (32)"},
      {"buffer-mb", TLT_ARG_INT, &o.buffer_mb, 1, 1 << 20, "N",
       "hidden states kept at most; long answers stay (1024)"},
      {"epochs", TLT_ARG_INT, &o.epochs, 1, 100000, "E", "passes over the answers (4)"},
      {"step-tokens", TLT_ARG_INT, &o.step_tokens, 1, 1 << 30, "N",
       "tokens of an optimizer step, about (1024)"},
      {"micro-tokens", TLT_ARG_INT, &o.train.micro_tokens, 1, 1 << 20, "N",
       "tokens handled at once (1024)"},
      {"lr", TLT_ARG_NUMBER, &o.lr, 0, 1, "X", "learning rate, half a cosine to 0 (0.003)"},
      {"weight-decay", TLT_ARG_NUMBER, &o.weight_decay, 0, 1, "X", "of AdamW (0.01)"},
      {"unroll", TLT_ARG_INT, &o.train.unroll, 1, TLT_UNROLL_MAX, "J",
       "steps on its own outputs that are trained (3)"},
      {"eval-unroll", TLT_ARG_INT, &o.train.eval_unroll, 1, TLT_UNROLL_MAX, "J",
       "steps that held-back answers are measured at (as trained)"},
      {"step-decay", TLT_ARG_NUMBER, &o.train.decay, 0.01, 1, "X",
       "weight of a step against the one before (0.8)"},
      {"hidden-loss", TLT_ARG_NUMBER, &o.train.hidden_weight, 0, 1e6, "W",
       "weight of smooth L1 on hidden states (1)"},
      {"token-loss", TLT_ARG_NUMBER, &o.train.token_weight, 0, 1e6, "W",
       "weight of the soft cross-entropy over hot tokens (1)"},
      {"hot", TLT_ARG_INT, &o.hot, 1, 1 << 24, "N",
       "hot tokens at most: those drawn most often (4096)"},
      {"inter", TLT_ARG_INT, &o.inter, 1, 1 << 20, "N", "width of its MLP (the target's)"},
      {"init", TLT_ARG_TEXT, &o.init, 0, 0, "DIR",
       "drafter to start from (embedding plus hidden state, and noise)"},
      {"seed", TLT_ARG_SEED, &o.seed, 0, 0, "S", "of problems, answers, weights and order (0)"},
      {"threads", TLT_ARG_INT, &o.threads, 0, 1024, "N", "threads (0: all cores)"},
      {"numerics", TLT_ARG_TEXT, &o.numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"json", TLT_ARG_FLAG, &json, 0, 0, NULL, "print the summary as JSON"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  tlt_drafter_summary summary;
  tlt_status s = tlt_args_parse(&train_command, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK) s = check(&o, n_rest, &err);
  if (s == TLT_OK && tlt_stop_install() != 0)
    s = tlt_fail(&err, TLT_EIO, "cannot install signal handlers: %s", strerror(errno));
  if (s == TLT_OK) {
    tlt_drafter_hooks hooks = {NULL, show_generated, show_trained, show_memory};
    s = tlt_drafter_train(&o, &hooks, &tlt_stop_flags, &summary, &err);
  }
  tlt_progress_clear();
  if (s != TLT_OK) return tlt_report_error(&err);
  if (json) print_json(o.out, &summary);
  else print_text(o.out, &summary);
  return 0;
}

static const tlt_command train_command = {
    "drafter train", "--model DIR --out DIR (--task NAME | --prompts FILE.jsonl) [options]",
    "train the learned drafter on answers of the target and their hidden states", train_main};

/* ---- drafter --------------------------------------------------------------------------------- */

static const tlt_command eval_command = {
    "drafter eval", "", "acceptance of a learned drafter, and how far it is from the target",
    tlt_drafter_eval_main};

static const tlt_command *const parts[] = {&train_command, &eval_command};
enum { N_PARTS = sizeof parts / sizeof *parts };

static void print_usage(FILE *to) {
  fputs("usage: tlt drafter COMMAND [options]\n\ncommands:\n", to);
  for (int i = 0; i < N_PARTS; i++)
    fprintf(to, "  %-10s %s\n", parts[i]->name + strlen("drafter "), parts[i]->summary);
  fputs("\n'tlt drafter COMMAND --help' lists a command's options.\n", to);
}

static int drafter_main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "--help")) return print_usage(stdout), 0;
  for (int i = 0; argc > 1 && i < N_PARTS; i++)
    if (!strcmp(argv[1], parts[i]->name + strlen("drafter ")))
      return parts[i]->run(argc - 1, argv + 1);
  if (argc > 1) fprintf(stderr, "tlt: drafter %s: unknown command\n", argv[1]);
  print_usage(stderr);
  return 2;
}

const tlt_command tlt_cmd_drafter = {"drafter", "train|eval [options]",
                                     "train or judge the learned drafter for speculation",
                                     drafter_main};
