/* The drafter's replay buffer. Alone: build/tests/unit/train/test_drafter_replay */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/replay.h"

enum { ROW = 64 };

static tlt_replay *open_buffer(size_t bytes) {
  tlt_replay *r;
  tlt_err err;
  tlt_replay_options o = {bytes, ROW, 5};
  assert_int_equal(tlt_replay_create(&o, &r, &err), TLT_OK);
  return r;
}

/* A sample whose every token is `id` and whose hidden bytes are too; every fifth id is held back.
 */
static bool add(tlt_replay *r, int n, int prompt, int64_t version, int id) {
  int32_t *tokens;
  void *hidden;
  tlt_err err;
  assert_int_equal(tlt_replay_add(r, n, prompt, version, id % 5 == 0, &tokens, &hidden, &err),
                   TLT_OK);
  if (!tokens) return false;
  for (int i = 0; i < n; i++) tokens[i] = id;
  memset(hidden, id, (size_t)n * ROW);
  return true;
}

/* Ids of the samples of a micro-batch; checks that it is consistent. */
static int ids(const tlt_draft_micro *m, int *id) {
  assert_int_equal(m->cu[0], 0);
  for (int s = 0; s < m->n_samples; s++) {
    id[s] = m->tokens[m->cu[s]];
    assert_int_equal(m->tokens[m->cu[s + 1] - 1], id[s]);
    assert_int_equal(((const unsigned char *)m->hidden[s])[0], id[s]);
    assert_int_equal((uintptr_t)m->hidden[s] % 64, 0);
  }
  return m->n_samples;
}

static void every_sample_once_per_epoch(void **state) {
  (void)state;
  tlt_replay *r = open_buffer(1 << 20);
  tlt_draft_micro m;
  assert_false(tlt_replay_draw(r, 100, 1, &m));
  for (int i = 1; i <= 20; i++) assert_true(add(r, 10 + i % 7, 3, 0, i));
  tlt_replay_count c = tlt_replay_counts(r);
  assert_int_equal(c.samples, 16);
  assert_int_equal(c.held, 4);
  int order[3][16], id[64];
  for (int epoch = 0; epoch < 3; epoch++) {
    int seen[21] = {0}, n = 0;
    while (n < 16) {
      assert_true(tlt_replay_draw(r, 40, 0.5f, &m));
      assert_int_equal(tlt_replay_epoch(r), epoch);
      assert_true(m.cu[m.n_samples] <= 40 && m.n_samples >= 2 - (n == 15));
      assert_true(m.temperature == 0.5f);
      int k = ids(&m, id);
      for (int i = 0; i < k; i++) {
        order[epoch][n++] = id[i];
        assert_int_equal(seen[id[i]]++, 0);
        assert_int_not_equal(id[i] % 5, 0); /* held back */
      }
    }
    assert_int_equal(n, 16);
  }
  assert_memory_not_equal(order[0], order[1], sizeof order[0]);
  assert_memory_not_equal(order[1], order[2], sizeof order[0]);
  int cursor = 0, held = 0;
  while (tlt_replay_held(r, 0, &cursor, 30, 1, &m)) {
    int k = ids(&m, id);
    for (int i = 0; i < k; i++) assert_int_equal(id[i], 5 * ++held);
  }
  assert_int_equal(held, 4);
  tlt_replay_free(r);
}

static void long_answers_stay(void **state) {
  (void)state;
  /* 4 samples of 10 tokens: 64 bytes of tokens and 640 of states each */
  tlt_replay *r = open_buffer(4 * 704);
  for (int i = 0; i < 4; i++) assert_true(add(r, 10, 2 + i, 0, i + 1)); /* answers of 8, 7, 6, 5 */
  assert_false(add(r, 10, 6, 0, 9));                                    /* 4: the shortest itself */
  assert_true(add(r, 10, 5, 0, 5)); /* 5: a newer one of equal length */
  assert_true(add(r, 10, 1, 0, 6));
  assert_false(add(r, 100, 1, 0, 7)); /* never fits */
  assert_false(add(r, 3, 3, 0, 8));   /* nothing to learn from */
  tlt_replay_count c = tlt_replay_counts(r);
  assert_int_equal(c.samples, 4);
  assert_int_equal(c.evicted, 2);
  assert_int_equal(c.refused, 3);
  assert_int_equal(c.bytes, 4 * 704);
  tlt_draft_micro m;
  int id[8], seen[10] = {0};
  assert_true(tlt_replay_draw(r, 1000, 1, &m));
  for (int i = ids(&m, id); i--;) seen[id[i]] = 1;
  assert_true(seen[1] && seen[2] && seen[3] && seen[6]);
  tlt_replay_free(r);
}

static void old_versions_go(void **state) {
  (void)state;
  tlt_replay *r = open_buffer(1 << 20);
  tlt_draft_micro m;
  int id[16];
  for (int i = 0; i < 9; i++) assert_true(add(r, 10, 2, i / 3, i + 1));
  assert_true(tlt_replay_draw(r, 10, 1, &m));
  tlt_replay_drop(r, 2);
  assert_int_equal(tlt_replay_counts(r).samples, 3);
  int n = 0;
  while (n < 3 && tlt_replay_draw(r, 10, 1, &m)) {
    assert_int_equal(ids(&m, id), 1);
    assert_true(id[0] >= 7);
    n++;
  }
  /* a longer sample than a micro-batch stands alone */
  assert_true(add(r, 50, 2, 3, 20));
  assert_true(tlt_replay_draw(r, 10, 1, &m));
  tlt_replay_drop(r, 9);
  assert_int_equal(tlt_replay_counts(r).bytes, 0);
  assert_false(tlt_replay_draw(r, 10, 1, &m));
  tlt_replay_free(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_sample_once_per_epoch),
      cmocka_unit_test(long_answers_stay),
      cmocka_unit_test(old_versions_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
