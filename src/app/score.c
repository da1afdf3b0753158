#include "app/score.h"

#include "app/output.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/json.h"
#include "io/text.h"

typedef struct ids {
  int32_t *at;
  int n, room;
} ids;

static tlt_status read_ids(const tlt_json_node *line, const char *key, int min, int vocab, ids *out,
                           tlt_err *err) {
  tlt_json_node array;
  tlt_status s = tlt_json_array(line, key, &array, err);
  if (s != TLT_OK) return s;
  size_t n = json_array_size(array.value);
  if (n < (size_t)min || n > 1 << 24)
    return tlt_json_fail(&array, NULL, err, "got %zu ids, expected at least %d", n, min);
  if ((int)n > out->room) {
    int32_t *more = tlt_realloc(out->at, n * sizeof *more);
    if (!more) return tlt_fail_nomem(err, "ids", n * sizeof *more);
    out->at = more;
    out->room = (int)n;
  }
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(array.value, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= vocab)
      return tlt_json_fail(&array, NULL, err, "element %zu is not a token id below %d", i, vocab);
    out->at[i] = (int32_t)json_integer_value(v);
  }
  out->n = (int)n;
  return TLT_OK;
}

static tlt_status write_logprobs(tlt_output *o, const float *logprobs, int n, tlt_err *err) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_begin(&w, "logprobs", '[');
  for (int i = 0; i < n; i++) tlt_json_put_f32(&w, NULL, logprobs[i]);
  tlt_json_end(&w, ']');
  tlt_json_end(&w, '}');
  tlt_json_newline(&w);
  tlt_status s = tlt_text_check(&w.text, err);
  if (s == TLT_OK) s = tlt_file_write(o->file, w.text.data, w.text.n, err);
  tlt_text_free(&w.text);
  return s;
}

static tlt_status score_line(tlt_model *m, const tlt_json_node *line, int vocab, float temperature,
                             ids *prompt, ids *tokens, tlt_output *out, tlt_err *err) {
  tlt_status s = read_ids(line, "prompt", 1, vocab, prompt, err);
  if (s == TLT_OK) s = read_ids(line, "tokens", 0, vocab, tokens, err);
  if (s != TLT_OK) return s;
  float *logprobs = tlt_calloc((size_t)tokens->n + 1, sizeof *logprobs);
  if (!logprobs) return tlt_fail_nomem(err, "log-probabilities", (size_t)tokens->n * 4);
  if (tokens->n) {
    s = tlt_model_score(m, prompt->at, prompt->n, tokens->at, tokens->n, temperature, logprobs,
                        err);
    if (s != TLT_OK) tlt_fail_prefix(err, "%s:%ld", line->file, line->line);
  }
  if (s == TLT_OK) s = write_logprobs(out, logprobs, tokens->n, err);
  tlt_free(logprobs);
  return s;
}

tlt_status tlt_score_file(tlt_model *m, const char *in, const char *out, float temperature,
                          void (*progress)(int64_t lines, double seconds), tlt_err *err) {
  tlt_model_info info;
  tlt_model_info_get(m, &info);
  tlt_jsonl *lines = NULL;
  tlt_output output = {0};
  ids prompt = {0}, tokens = {0};
  double start = tlt_now();
  int64_t count = 0;
  tlt_status s = tlt_jsonl_open(in, &lines, err);
  if (s == TLT_OK) s = tlt_output_open(&output, out, err);
  while (s == TLT_OK) {
    json_t *line = NULL;
    s = tlt_jsonl_next(lines, &line, err);
    if (s != TLT_OK || !line) break;
    tlt_json_node top = tlt_json_top(line, in, tlt_jsonl_line(lines));
    s = score_line(m, &top, info.vocab, temperature, &prompt, &tokens, &output, err);
    json_decref(line);
    if (progress) progress(++count, tlt_now() - start);
  }
  s = tlt_output_close(&output, s, err);
  tlt_jsonl_close(lines);
  tlt_free(prompt.at);
  tlt_free(tokens.at);
  return s;
}
