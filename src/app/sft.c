#include "app/sft.h"

#include <stdio.h>
#include <string.h>

#include "app/sft_checkpoint.h"
#include "app/sft_model.h"
#include "base/clock.h"
#include "base/mem.h"
#include "report/metrics.h"
#include "rl/rundir.h"
#include "train/loss.h"
#include "train/pack.h"
#include "train/schedule.h"

typedef struct run {
  tlt_sft_config config;
  tlt_rundir dir;
  tlt_sft_model m;
  tlt_sft_batch batch;
  int32_t *length, *first, *cu; /* [data.batch + 1] scratch of packing */
  void *metrics;
  int64_t step, steps, start_step, saved_step;
  double loss, grad_norm, lr, start, rate;
  double eval_accuracy;
  const tlt_sft_hooks *hooks;
  tlt_sft_summary *summary;
} run;

/* ---- one step ---------------------------------------------------------------------------------
 */

static tlt_status accumulate(run *r, tlt_sft_loss *loss, tlt_err *err) {
  tlt_sft_batch *b = &r->batch;
  for (int i = 0; i < b->n; i++) r->length[i] = b->cu[i + 1] - b->cu[i];
  int micros =
      tlt_pack_micro(r->length, NULL, b->n, (int)r->config.gradient.micro_tokens, r->first);
  for (int i = 0; i < micros; i++) {
    int from = r->first[i], n = r->first[i + 1] - from;
    for (int j = 0; j <= n; j++) r->cu[j] = b->cu[from + j] - b->cu[from];
    tlt_micro micro = {n, b->tokens + b->cu[from], r->cu, b->prompt + from, 1.0f};
    tlt_status s =
        tlt_trainer_accumulate(r->m.trainer, &micro, tlt_loss_sft, loss, NULL, NULL, NULL, err);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}

static tlt_status optimize(run *r, int64_t targets, tlt_err *err) {
  const tlt_conf_optimizer *o = &r->config.optimizer;
  r->lr = (double)tlt_schedule((tlt_schedule_kind)o->schedule, (float)o->lr, (long)r->step,
                               (long)o->warmup, (long)r->steps);
  tlt_adamw how = {.lr = (float)r->lr,
                   .beta1 = (float)o->betas[0],
                   .beta2 = (float)o->betas[1],
                   .eps = (float)o->eps,
                   .weight_decay = (float)o->weight_decay,
                   .clip_norm = (float)o->clip_norm};
  tlt_step_result result;
  tlt_status s =
      tlt_trainer_step(r->m.trainer, targets ? 1.0f / (float)targets : 0, &how, &result, err);
  if (s != TLT_OK) return s;
  r->grad_norm = (double)result.grad_norm;
  if (result.skipped)
    return tlt_fail(err, TLT_ENUMERIC, "step %lld: %s: gradient is not finite",
                    (long long)r->step + 1, result.bad_param);
  return TLT_OK;
}

static tlt_status put_metrics(run *r, double seconds, int64_t tokens, const tlt_eval_result *eval,
                              tlt_err *err) {
  tlt_metrics m = {.step = r->step};
  tlt_metrics_real(&m, "loss", r->loss);
  tlt_metrics_real(&m, "grad_norm", r->grad_norm);
  tlt_metrics_real(&m, "lr", r->lr);
  tlt_metrics_count(&m, "tokens", tokens);
  tlt_metrics_count(&m, "targets", r->batch.targets);
  if (eval) {
    tlt_metrics_real(&m, "eval/accuracy", r->eval_accuracy);
    tlt_metrics_real(&m, "eval/mean_length", eval->mean_length);
    tlt_metrics_real(&m, "eval/clipped_ratio", eval->cut_share);
    tlt_metrics_real(&m, "eval/parsed_ratio", eval->parsed_share);
  }
  tlt_metrics_real(&m, "time/step", seconds);
  tlt_metrics_real(&m, "time/tokens_per_second", (double)tokens / seconds);
  return tlt_metrics_jsonl.put(r->metrics, &m, err);
}

static void show(run *r, int64_t tokens, double seconds, bool evaluated) {
  tlt_sft_summary *s = r->summary;
  double now = (double)tokens / seconds;
  r->rate = r->rate > 0 ? 0.9 * r->rate + 0.1 * now : now;
  tlt_sft_progress p = {.step = r->step,
                        .steps = r->steps,
                        .samples = r->step * r->config.data.batch,
                        .tokens = s->tokens,
                        .loss = r->loss,
                        .rate = r->rate,
                        .eval_accuracy = evaluated ? r->eval_accuracy : -1};
  p.left =
      (tlt_now() - r->start) / (double)(r->step - r->start_step) * (double)(r->steps - r->step);
  if (r->hooks && r->hooks->progress) r->hooks->progress(r->hooks->context, &p);
}

static tlt_status evaluate(run *r, tlt_eval_result *result, tlt_err *err) {
  tlt_status s = tlt_sft_model_evaluate(&r->m, &r->config, result, err);
  if (s != TLT_OK) return s;
  tlt_sft_summary *sum = r->summary;
  sum->has_eval = true;
  sum->accuracy = tlt_eval_pass(result->right, result->problems, result->samples, 1);
  sum->eval_length = result->mean_length;
  sum->eval_cut = result->cut_share;
  sum->eval_parsed = result->parsed_share;
  r->eval_accuracy = sum->accuracy.value;
  return TLT_OK;
}

static void note_loss(run *r) {
  int64_t here = r->step - r->start_step, tenth = (r->steps - r->start_step + 9) / 10;
  tlt_sft_summary *s = r->summary;
  if (here <= tenth) s->loss_first += r->loss / (double)tenth;
  if (r->steps - r->step < tenth) s->loss_last += r->loss / (double)tenth;
}

static tlt_status one_step(run *r, tlt_err *err) {
  double start = tlt_now();
  int n = (int)r->config.data.batch;
  tlt_sft_loss loss = {0};
  tlt_eval_result eval = {0};
  tlt_status s =
      tlt_sft_batch_load(&r->m.stream, (uint64_t)r->step * (uint64_t)n, n, &r->batch, err);
  if (s == TLT_OK) s = accumulate(r, &loss, err);
  if (s == TLT_OK) s = optimize(r, r->batch.targets, err);
  if (s != TLT_OK) return s;
  r->step++;
  r->loss = loss.targets ? loss.sum / (double)loss.targets : 0;
  int64_t tokens = r->batch.cu[r->batch.n];
  r->summary->tokens += tokens;
  r->summary->dropped += r->batch.dropped;
  note_loss(r);
  double seconds = tlt_now() - start;
  int64_t every = r->config.eval.every;
  bool due = r->m.engine && (r->step % every == 0 || r->step == r->steps);
  if (due) s = evaluate(r, &eval, err);
  if (s == TLT_OK) s = put_metrics(r, seconds, tokens, due ? &eval : NULL, err);
  if (s == TLT_OK) show(r, tokens, seconds, due);
  tlt_eval_result_free(&eval);
  return s;
}

/* ---- the run -----------------------------------------------------------------------------------
 */

static tlt_status set_status(run *r, const char *state, int exit_code, const char *reason) {
  tlt_run_status status = {state, r->step, r->steps, exit_code, reason};
  return tlt_rundir_status(&r->dir, &status, NULL);
}

static tlt_status save(run *r, tlt_err *err) {
  if (r->saved_step == r->step) return TLT_OK;
  tlt_status s = tlt_metrics_jsonl.sync(r->metrics, err);
  if (s == TLT_OK) s = tlt_sft_checkpoint_save(&r->dir, &r->m, &r->config, r->step, err);
  if (s == TLT_OK) r->saved_step = r->step;
  return s;
}

static tlt_status stopped(run *r, const char *config_path, tlt_err *err) {
  tlt_status s = save(r, err);
  if (s != TLT_OK) return s;
  return tlt_fail(err, TLT_ESTOPPED,
                  "stopped after step %lld of %lld; go on with: tlt sft %s --run %s --resume",
                  (long long)r->step, (long long)r->steps, config_path, r->dir.path);
}

static tlt_status loop(run *r, const char *config_path, const tlt_stop *stop, tlt_err *err) {
  int64_t every = r->config.checkpoint.every;
  r->start = tlt_now();
  while (r->step < r->steps) {
    tlt_status s = one_step(r, err);
    if (s != TLT_OK) return s;
    if (r->step == r->steps) break;
    if (stop && stop->stop) return stopped(r, config_path, err);
    if (every && r->step % every == 0) {
      s = save(r, err);
      if (s == TLT_OK) s = set_status(r, "running", -1, NULL);
      if (s != TLT_OK) return s;
    }
  }
  return save(r, err);
}

static tlt_status count_steps(run *r, tlt_err *err) {
  const tlt_sft_config *c = &r->config;
  uint64_t samples = (uint64_t)r->m.source.count * (uint64_t)c->data.epochs;
  r->steps = c->steps ? c->steps : (int64_t)(samples / (uint64_t)c->data.batch);
  if (r->steps == 0)
    return tlt_fail(err, TLT_EDATA, "%s: got %llu samples, expected at least one batch of %lld",
                    c->data.file ? c->data.file : c->data.task, (unsigned long long)samples,
                    (long long)c->data.batch);
  return TLT_OK;
}

static tlt_status scratch(run *r, tlt_err *err) {
  size_t n = (size_t)r->config.data.batch + 1;
  r->length = tlt_calloc(3 * n, sizeof *r->length);
  if (!r->length) return tlt_fail_nomem(err, "packing", 3 * n * sizeof *r->length);
  r->first = r->length + n;
  r->cu = r->first + n;
  return TLT_OK;
}

static tlt_status store_config(const run *r, tlt_err *err) {
  tlt_text text = {0};
  tlt_yaml_write(&tlt_sft_schema, &r->config, false, &text);
  tlt_status s = tlt_text_check(&text, err);
  if (s == TLT_OK) s = tlt_file_store(r->dir.config, text.data, text.n, err);
  tlt_text_free(&text);
  return s;
}

static tlt_status finish(run *r, tlt_err *err) {
  tlt_status s = tlt_weights_save(r->m.model->weights, r->dir.final, r->m.tokenizer_dir, err);
  if (s != TLT_OK) return s;
  snprintf(r->summary->final, sizeof r->summary->final, "%s", r->dir.final);
  tlt_trainer_sha256(r->m.trainer, r->summary->weights_sha256);
  return set_status(r, "finished", 0, NULL);
}

static tlt_status work(run *r, const tlt_train_options *o, const tlt_stop *stop, tlt_err *err) {
  tlt_status s = tlt_sft_model_open(&r->m, &r->config, r->dir.path, o->numerics, o->threads,
                                    r->hooks ? r->hooks->memory : NULL,
                                    r->hooks ? r->hooks->context : NULL, err);
  if (s == TLT_OK) s = count_steps(r, err);
  if (s == TLT_OK) s = scratch(r, err);
  if (s == TLT_OK && r->dir.used)
    s = tlt_sft_checkpoint_resume(&r->dir, &r->m, &r->config, o->resume, &r->step, err);
  if (s == TLT_OK && !r->dir.used) s = store_config(r, err);
  if (s != TLT_OK) return s;
  r->start_step = r->saved_step = r->step;
  if (!r->dir.used) r->saved_step = -1;
  r->summary->already_complete = r->step >= r->steps;
  s = tlt_metrics_jsonl.start(NULL, r->dir.path, r->step, &r->metrics, err);
  if (s == TLT_OK) s = set_status(r, "running", -1, NULL);
  if (s == TLT_OK) s = loop(r, o->config, stop, err);
  r->summary->steps = r->step;
  r->summary->seconds = tlt_now() - r->start;
  tlt_status closed = tlt_metrics_jsonl.close(r->metrics, s == TLT_OK ? err : NULL);
  if (s == TLT_OK) s = closed;
  return s == TLT_OK ? finish(r, err) : s;
}

tlt_status tlt_sft(const tlt_train_options *o, const tlt_sft_hooks *hooks, const tlt_stop *stop,
                   tlt_sft_summary *summary, tlt_err *err) {
  tlt_sft_summary unused;
  tlt_err own = {0};
  if (!err) err = &own;
  run *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, "run", sizeof *r);
  r->hooks = hooks;
  r->summary = summary ? summary : &unused;
  *r->summary = (tlt_sft_summary){0};
  char path[TLT_PATH_MAX];
  if (o->run) snprintf(path, sizeof path, "%s", o->run);
  else tlt_rundir_default(path, o->config);
  tlt_status s = tlt_sft_config_load(o->config, o->sets, o->n_sets, &r->config, err);
  if (s == TLT_OK) {
    snprintf(r->summary->run, sizeof r->summary->run, "%s", path);
    s = tlt_rundir_open(&r->dir, path, o->resume, err);
    if (s == TLT_OK) {
      s = work(r, o, stop, err);
      if (s != TLT_OK)
        set_status(r, s == TLT_ESTOPPED ? "stopped" : "failed", tlt_status_exit_code(s), err->text);
    }
    tlt_sft_config_free(&r->config);
  }
  tlt_sft_model_close(&r->m);
  tlt_sft_batch_free(&r->batch);
  tlt_rundir_close(&r->dir);
  tlt_free(r->length);
  tlt_free(r);
  return s;
}
