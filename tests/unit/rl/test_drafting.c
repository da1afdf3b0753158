/* Recording into the buffer, the decision about a share of the step, the drafter's checkpoints.
 * Alone: build/tests/unit/rl/test_rl_drafting [test name] */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rl/drafting_save.h"
#include "rl/drafting_share.h"
#include "rl/recorder.h"

enum { ROW = 64, SAMPLES = 4, VOCAB = 100, FIRST = 7 };

static tlt_err err;

/* ---- recording ------------------------------------------------------------------------------- */

typedef struct stage {
  tlt_replay *replay;
  tlt_recorder *recorder;
  tlt_hidden_sink sink;
} stage;

static stage open_stage(int hold_every, int groups) {
  stage s;
  tlt_replay_options ro = {1 << 20, ROW, 5};
  tlt_recorder_options co = {ROW, SAMPLES, hold_every, VOCAB};
  assert_int_equal(tlt_replay_create(&ro, &s.replay, &err), TLT_OK);
  assert_int_equal(tlt_recorder_create(&co, s.replay, &s.recorder, &err), TLT_OK);
  s.sink = tlt_recorder_sink(s.recorder);
  assert_int_equal(tlt_recorder_begin(s.recorder, 3, FIRST, groups, &err), TLT_OK);
  return s;
}

static void close_stage(stage *s) {
  tlt_recorder_free(s->recorder);
  tlt_replay_free(s->replay);
}

/* Token and hidden bytes at a position: of the prompt the same for all samples of a group. */
static int token_at(int group, int sample, int position, int n_prompt) {
  int owner = position < n_prompt ? 0 : 1 + sample;
  return (group * 31 + owner * 7 + position) % VOCAB;
}

static void feed(stage *s, int group, int sample, int from, int n, int n_prompt) {
  unsigned char data[256][ROW];
  tlt_hidden_row row[256];
  for (int i = 0; i < n; i++) {
    int token = token_at(group, sample, from + i, n_prompt);
    row[i] = (tlt_hidden_row){FIRST + (uint32_t)group, (uint32_t)sample, token, from + i};
    memset(data[i], token + 1, ROW);
  }
  s->sink.put(s->sink.context, TLT_TAP_FINAL, n, row, data, 2, ROW / 2, ROW / 2);
}

static void finish(stage *s, int group, int sample, int n_prompt, int n_tokens) {
  int32_t tokens[256];
  for (int i = 0; i < n_tokens; i++) tokens[i] = token_at(group, sample, n_prompt + i, n_prompt);
  tlt_sample done = {.rollout = FIRST + (uint32_t)group,
                     .sample = (uint32_t)sample,
                     .n_prompt = n_prompt,
                     .n_tokens = n_tokens,
                     .tokens = tokens};
  tlt_recorder_answered(s->recorder, &done);
}

/* The number of answers that can be drawn, each checked token by token. */
static int check_drawn(stage *s, int n_prompt) {
  tlt_draft_micro m;
  int n = 0;
  while (tlt_replay_draw(s->replay, 1, 1, &m) && tlt_replay_epoch(s->replay) == 0) {
    n++;
    assert_int_equal(m.prompt[0], n_prompt);
    for (int i = 0; i < m.cu[1]; i++) {
      const unsigned char *row = (const unsigned char *)m.hidden[0] + (size_t)i * ROW;
      assert_int_equal(row[0], m.tokens[i] + 1);
      assert_int_equal(row[ROW - 1], m.tokens[i] + 1);
      if (i) assert_int_equal(m.tokens[i] == (m.tokens[i - 1] + 1) % VOCAB, i != n_prompt);
    }
  }
  return n;
}

/* Prompts longer than a block, the first answer finished first, chunks of odd sizes. */
static void test_record(void **state) {
  (void)state;
  stage s = open_stage(0, 3);
  const int prompt = 45, length[SAMPLES] = {2, 70, 33, 1};
  for (int g = 0; g < 2; g++) {
    feed(&s, g, 0, 0, 20, prompt);
    feed(&s, g, 0, 20, 25, prompt);
    for (int i = 0; i < SAMPLES; i++) {
      for (int at = 0; at < length[i] - 1; at += 3)
        feed(&s, g, i, prompt + at, length[i] - 1 - at < 3 ? length[i] - 1 - at : 3, prompt);
      finish(&s, g, i, prompt, length[i]);
    }
  }
  tlt_replay_count c = tlt_replay_counts(s.replay);
  assert_int_equal(c.samples, 6); /* an answer of one token has nothing to learn from */
  assert_int_equal(c.tokens, 6 * prompt + 2 * (1 + 69 + 32));
  assert_int_equal(check_drawn(&s, prompt), 6);
  assert_int_equal(tlt_recorder_lost(s.recorder), 0);
  int64_t seen = 0;
  for (int i = 0; i < VOCAB; i++) seen += tlt_recorder_seen(s.recorder)[i];
  assert_int_equal(seen, 2 * (2 + 70 + 33 + 1));
  close_stage(&s);
}

/* Rows that are missing lose their answer and no other; foreign rows are nobody's. */
static void test_gaps(void **state) {
  (void)state;
  stage s = open_stage(0, 2);
  feed(&s, 0, 0, 0, 10, 10);
  feed(&s, 0, 1, 11, 5, 10);
  finish(&s, 0, 1, 10, 7);
  feed(&s, 0, 2, 10, 3, 10);
  feed(&s, 0, 2, 14, 3, 10);
  finish(&s, 0, 2, 10, 8);
  feed(&s, 0, 3, 10, 3, 10);
  feed(&s, 0, 3, 11, 5, 10); /* rows given twice */
  finish(&s, 0, 3, 10, 7);
  feed(&s, 1, 1, 10, 3, 10); /* no prompt */
  finish(&s, 1, 1, 10, 4);
  feed(&s, 5, 0, 0, 5, 5);
  finish(&s, 5, 0, 5, 3);
  assert_int_equal(check_drawn(&s, 10), 1);
  assert_int_equal(tlt_recorder_lost(s.recorder), 3);
  close_stage(&s);
}

/* While the buffer is in use answers wait; every second group is held back. */
static void test_hold(void **state) {
  (void)state;
  stage s = open_stage(2, 2);
  tlt_recorder_hold(s.recorder, true);
  for (int g = 0; g < 2; g++) {
    feed(&s, g, 0, 0, 5, 5);
    for (int i = 0; i < SAMPLES; i++) {
      feed(&s, g, i, 5, 9, 5);
      finish(&s, g, i, 5, 10);
    }
  }
  assert_int_equal(tlt_replay_counts(s.replay).samples, 0);
  tlt_recorder_hold(s.recorder, false);
  tlt_replay_count c = tlt_replay_counts(s.replay);
  assert_int_equal(c.samples, SAMPLES);
  assert_int_equal(c.held, SAMPLES);
  assert_int_equal(c.versions, 1);
  tlt_recorder_end(s.recorder);
  close_stage(&s);
}

/* ---- the share ------------------------------------------------------------------------------- */

static void test_share(void **state) {
  (void)state;
  tlt_drafting_share s = {.n = 0};
  for (int i = 0; i < 10; i++) tlt_share_published(&s, 2, 2.1, true);
  assert_false(tlt_share_rests(&s));
  for (int i = 0; i < 4; i++) tlt_share_published(&s, 2.5, 2.5, true);
  assert_true(tlt_share_rests(&s));
  int rest = 0;
  for (; tlt_share_rests(&s); rest++) tlt_share_step(&s);
  assert_int_equal(rest, 8);
  for (int round = 1; round < 8; round++) { /* a rest twice as long every time, up to 64 */
    for (int i = 0; i < 4; i++) {
      assert_false(tlt_share_rests(&s));
      tlt_share_published(&s, 2.5, 2.4, true);
    }
    for (rest = 0; tlt_share_rests(&s); rest++) tlt_share_step(&s);
    assert_int_equal(rest, round < 3 ? 8 << round : 64);
  }
  for (int i = 0; i < 4; i++) tlt_share_published(&s, 2.5, 2.5, true);
  tlt_share_seen(&s, 2.46);
  assert_true(tlt_share_rests(&s));
  tlt_share_seen(&s, 2.43); /* on average, the policy has moved */
  assert_false(tlt_share_rests(&s));
  for (int i = 0; i < 4; i++) tlt_share_published(&s, 2, 2.01, false); /* hardly used */
  assert_true(tlt_share_rests(&s));
}

/* Every step has other held-back answers: their lengths vary more than a policy moves. */
static void test_share_of_few_answers(void **state) {
  (void)state;
  static const double length[] = {5.2, 5.3, 5.6, 4.1};
  tlt_drafting_share s = {.n = 0};
  for (int i = 0; i < 4; i++) tlt_share_published(&s, length[i], length[i], true);
  assert_true(tlt_share_rests(&s));
  tlt_share_seen(&s, 4.2);
  tlt_share_seen(&s, 5.0);
  assert_true(tlt_share_rests(&s));
  for (int i = 0; i < 4; i++) tlt_share_seen(&s, 3.2); /* that is no accident */
  assert_false(tlt_share_rests(&s));
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void test_steps(void **state) {
  (void)state;
  char dir[] = "/tmp/tlt-drafting-XXXXXX", path[TLT_PATH_MAX];
  const char *names[] = {"step-10", "step-9", "step-0x", "step-", "tmp-11", "LATEST", "step-09"};
  assert_non_null(mkdtemp(dir));
  for (int i = 0; i < 7; i++) {
    tlt_path_join(path, dir, names[i]);
    assert_int_equal(tlt_dir_make(path, &err), TLT_OK);
  }
  int64_t *steps;
  size_t n;
  assert_int_equal(tlt_drafting_steps(dir, &steps, &n, &err), TLT_OK);
  assert_int_equal(n, 2);
  assert_int_equal(steps[0], 9);
  assert_int_equal(steps[1], 10);
  tlt_free(steps);
  assert_int_equal(tlt_path_remove(dir, &err), TLT_OK);
  assert_int_equal(tlt_drafting_steps(dir, &steps, &n, &err), TLT_OK);
  assert_int_equal(n, 0);
  tlt_free(steps);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_record),
      cmocka_unit_test(test_gaps),
      cmocka_unit_test(test_hold),
      cmocka_unit_test(test_share),
      cmocka_unit_test(test_share_of_few_answers),
      cmocka_unit_test(test_steps),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
