#include "rl/rollout_log.h"

#include "io/file.h"
#include "io/text.h"

static void put_answer(tlt_json_writer *w, int64_t step, const tlt_group *g, int sample) {
  const tlt_answer *a = &g->answer[sample];
  w->comma = false;
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "step", step);
  tlt_json_put_int(w, "rollout", g->rollout);
  tlt_json_put_int(w, "sample", sample);
  tlt_json_put_string(w, "id", g->problem->id);
  tlt_json_put_int(w, "prompt_tokens", g->n_prompt);
  tlt_json_put_int(w, "tokens", a->n_tokens);
  tlt_json_put_string(w, "finish", a->finish == TLT_FINISH_STOP ? "stop" : "length");
  tlt_json_put_f64(w, "score", a->score);
  tlt_json_put_f64(w, "reward", a->reward);
  tlt_json_put_f32(w, "advantage", a->advantage);
  tlt_json_put_bool(w, "parsed", a->parsed);
  tlt_json_put_bool(w, "masked", g->masked);
  tlt_json_put_bool(w, "replaced", g->replaced);
  tlt_json_put_string_n(w, "text", a->text ? a->text : "", a->n_text);
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

tlt_status tlt_rollout_log(const tlt_groups *g, int64_t step, tlt_log_rollouts what,
                           const char *path, tlt_err *err) {
  int64_t total = (int64_t)g->n * g->samples, lines = total;
  if (what == TLT_LOG_NONE) return TLT_OK;
  if (what == TLT_LOG_SAMPLE && lines > TLT_LOG_SAMPLES) lines = TLT_LOG_SAMPLES;
  tlt_json_writer w = {0};
  for (int64_t i = 0; i < lines; i++) {
    int64_t at = i * total / lines;
    put_answer(&w, step, &g->group[at / g->samples], (int)(at % g->samples));
  }
  tlt_file *f = NULL;
  tlt_status s = tlt_text_check(&w.text, err);
  if (s == TLT_OK) s = tlt_file_open(path, TLT_FILE_TRUNCATE, &f, err);
  if (s == TLT_OK) s = tlt_file_write(f, w.text.data, w.text.n, err);
  tlt_status closed = tlt_file_close(f, s == TLT_OK ? err : NULL);
  if (s == TLT_OK) s = closed;
  tlt_text_free(&w.text);
  return s;
}
