/* Answers of the first, middle and last step, cut into pieces by where their tokens came from. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "report/payload_parts.h"
#include "report/run_answers.h"

/* End of the character that reaches over `at`. */
static size_t whole_character(const char *text, size_t n, size_t at) {
  while (at < n && ((unsigned char)text[at] & 0xc0) == 0x80) at++;
  return at < n ? at : n;
}

static size_t shown_bytes(const char *text) {
  size_t n = strlen(text);
  return n > TLT_PAYLOAD_TEXT ? whole_character(text, n, TLT_PAYLOAD_TEXT) : n;
}

static void put_piece(tlt_json_writer *w, const char *text, size_t n, char source) {
  if (n == 0) return;
  tlt_json_begin(w, NULL, '[');
  tlt_json_put_string_n(w, NULL, text, n);
  tlt_json_put_string_n(w, NULL, &source, 1);
  tlt_json_end(w, ']');
}

/* Tokens of one source that follow each other are one piece. Text beyond what the tokens account
 * for belongs to the target, and shows that the two files do not fit. */
static void put_pieces(tlt_json_writer *w, const tlt_run_answer *a, size_t n) {
  size_t from = 0, at = 0, token = 0, tokens = a->sources ? strlen(a->sources) : 0;
  char source = '.';
  tlt_json_begin(w, "pieces", '[');
  for (; token < tokens && at < n; token++) {
    if (a->sources[token] != source) {
      size_t end = whole_character(a->text, n, at);
      put_piece(w, a->text + from, end - from, source);
      from = end;
      source = a->sources[token];
    }
    int64_t bytes = a->bytes[token];
    if (bytes > 0) at = (uint64_t)bytes > n - at ? n : at + (size_t)bytes;
  }
  at = whole_character(a->text, n, at);
  put_piece(w, a->text + from, at - from, source);
  put_piece(w, a->text + at, n - at, '.');
  tlt_json_end(w, ']');
}

static void put_answer(tlt_json_writer *w, const tlt_run_answer *a) {
  size_t shown = shown_bytes(a->text);
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "step", a->step);
  tlt_json_put_int(w, "rollout", a->rollout);
  tlt_json_put_int(w, "sample", a->sample);
  tlt_json_put_string(w, "id", a->id);
  tlt_json_put_string_n(w, "prompt", a->prompt, shown_bytes(a->prompt));
  put_pieces(w, a, shown);
  tlt_json_put_bool(w, "answer_cut", a->text[shown] != 0);
  tlt_json_put_f64(w, "reward", a->reward);
  tlt_json_put_f64(w, "score", a->score);
  if (a->tokens >= 0) tlt_json_put_int(w, "tokens", a->tokens);
  else tlt_json_put_null(w, "tokens");
  tlt_json_put_string(w, "finish", a->finish);
  tlt_json_end(w, '}');
}

static tlt_status gather(tlt_run_log *log, tlt_run_answers *answers, tlt_err *err) {
  int64_t *steps = NULL;
  int n = 0;
  tlt_status s = tlt_run_answer_steps(log->path, &steps, &n, err);
  const int choice[] = {0, n / 2, n - 1};
  for (int i = 0; s == TLT_OK && i < 3; i++) {
    bool again = (i > 0 && choice[i] == choice[i - 1]) || choice[i] >= n;
    if (n > 0 && !again)
      s = tlt_run_answers_add(answers, log->path, steps[choice[i]], TLT_PAYLOAD_SAMPLES,
                              &log->notices, err);
  }
  if (s == TLT_OK && answers->n)
    s = tlt_run_answers_sources(answers, log->path, &log->notices, err);
  tlt_free(steps);
  return s;
}

tlt_status tlt_payload_samples(tlt_run_log *log, tlt_json_writer *w, tlt_err *err) {
  tlt_run_answers answers = {0};
  tlt_status s = gather(log, &answers, err);
  tlt_json_begin(w, "samples", '[');
  for (int i = 0; s == TLT_OK && i < answers.n; i++) put_answer(w, &answers.answer[i]);
  tlt_json_end(w, ']');
  tlt_run_answers_free(&answers);
  return s;
}
