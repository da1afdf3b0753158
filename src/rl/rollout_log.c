#include "rl/rollout_log.h"

#include "base/mem.h"
#include "io/file.h"
#include "io/text.h"

/* Start of the character that the byte at `at` belongs to; of bytes that are no UTF-8, `at`. */
static size_t character_at(const char *s, size_t n, size_t at) {
  for (size_t back = 0; back < 4 && back <= at; back++) {
    size_t length = tlt_utf8_length(s + at - back, n - (at - back));
    if (length) return length > back ? at - back : at;
  }
  return at;
}

/* The text with its middle left out where it is too long. */
static void add_bounded(tlt_text *to, const char *s, size_t n) {
  size_t head = n, tail = n;
  if (n > TLT_LOG_PROMPT_BYTES) {
    head = character_at(s, n, TLT_LOG_PROMPT_BYTES / 2);
    tail = character_at(s, n, n - TLT_LOG_PROMPT_BYTES / 2);
  }
  tlt_text_add_n(to, s, head);
  if (tail > head) tlt_text_printf(to, "\n[... %zu bytes left out ...]\n", tail - head);
  tlt_text_add_n(to, s + tail, n - tail);
}

static tlt_status put_prompt(tlt_json_writer *w, const tlt_tokenizer *t, const tlt_group *g,
                             tlt_err *err) {
  char *prompt = NULL;
  size_t n = 0;
  tlt_text bounded = {0};
  tlt_status s = tlt_tokenizer_decode(t, g->prompt, (size_t)g->n_prompt, false, &prompt, &n, err);
  if (s == TLT_OK) add_bounded(&bounded, prompt, n);
  if (s == TLT_OK) s = tlt_text_check(&bounded, err);
  if (s == TLT_OK) tlt_json_put_string_n(w, "prompt", n ? bounded.data : "", bounded.n);
  tlt_text_free(&bounded);
  tlt_free(prompt);
  return s;
}

static tlt_status put_answer(tlt_json_writer *w, const tlt_tokenizer *t, int64_t step,
                             const tlt_group *g, int sample, tlt_err *err) {
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
  tlt_status s = put_prompt(w, t, g, err);
  tlt_json_put_string_n(w, "text", a->text ? a->text : "", a->n_text);
  tlt_json_begin(w, "ids", '[');
  for (int i = 0; i < a->n_tokens; i++) tlt_json_put_int(w, NULL, a->tokens[i]);
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
  tlt_json_newline(w);
  return s;
}

int64_t tlt_logged_answers(const tlt_groups *g, tlt_log_rollouts what) {
  int64_t total = (int64_t)g->n * g->samples;
  if (what == TLT_LOG_NONE) return 0;
  return what == TLT_LOG_SAMPLE && total > TLT_LOG_SAMPLES ? TLT_LOG_SAMPLES : total;
}

int64_t tlt_logged_answer(const tlt_groups *g, tlt_log_rollouts what, int64_t i) {
  return i * g->n * g->samples / tlt_logged_answers(g, what);
}

tlt_status tlt_rollout_log(const tlt_groups *g, const tlt_tokenizer *tokenizer, int64_t step,
                           tlt_log_rollouts what, const char *path, tlt_err *err) {
  if (what == TLT_LOG_NONE) return TLT_OK;
  tlt_json_writer w = {0};
  tlt_status s = TLT_OK;
  int64_t lines = tlt_logged_answers(g, what);
  for (int64_t i = 0; s == TLT_OK && i < lines; i++) {
    int64_t at = tlt_logged_answer(g, what, i);
    s = put_answer(&w, tokenizer, step, &g->group[at / g->samples], (int)(at % g->samples), err);
  }
  tlt_file *f = NULL;
  if (s == TLT_OK) s = tlt_text_check(&w.text, err);
  if (s == TLT_OK) s = tlt_file_open(path, TLT_FILE_TRUNCATE, &f, err);
  if (s == TLT_OK) s = tlt_file_write(f, w.text.data, w.text.n, err);
  tlt_status closed = tlt_file_close(f, s == TLT_OK ? err : NULL);
  if (s == TLT_OK) s = closed;
  tlt_text_free(&w.text);
  return s;
}
