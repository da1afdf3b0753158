#include "rl/group.h"

#include <string.h>

#include "base/mem.h"
#include "base/sha256.h"

tlt_group tlt_group_of(const tlt_problem_set *problems, tlt_shuffle *shuffle, uint32_t first,
                       uint32_t rollout) {
  size_t at = shuffle ? tlt_shuffle_at(shuffle, rollout) : rollout - first;
  return (tlt_group){.rollout = rollout,
                     .problem = tlt_dataset_at(problems->data, problems->index[at]),
                     .prompt = problems->tokens + problems->first[at],
                     .n_prompt = (int)(problems->first[at + 1] - problems->first[at])};
}

tlt_status tlt_answer_make(tlt_answer *a, int n, bool origins, tlt_err *err) {
  size_t each = sizeof *a->tokens + sizeof *a->logprobs + (origins ? 1 : 0);
  size_t bytes = (size_t)n * each;
  a->tokens = tlt_malloc(bytes + 1);
  if (!a->tokens) return tlt_fail_nomem(err, "answer", bytes);
  a->n_tokens = n;
  a->logprobs = (float *)(a->tokens + n);
  a->origins = origins ? (char *)(a->logprobs + n) : NULL;
  return TLT_OK;
}

void tlt_group_free(tlt_group *g, int samples) {
  for (int s = 0; g->answer && s < samples; s++) {
    tlt_free(g->answer[s].tokens);
    tlt_free(g->answer[s].text);
  }
  tlt_free(g->answer);
  g->answer = NULL;
}

void tlt_groups_free(tlt_groups *g) {
  for (int i = 0; i < g->n; i++) tlt_group_free(&g->group[i], g->samples);
  tlt_free(g->group);
  *g = (tlt_groups){0};
}

void tlt_groups_sha256(const tlt_groups *g, char hex[65]) {
  tlt_sha256 h;
  tlt_sha256_begin(&h);
  for (int i = 0; i < g->n; i++)
    for (int s = 0; s < g->samples; s++) {
      const tlt_answer *a = &g->group[i].answer[s];
      uint32_t head[3] = {g->group[i].rollout, (uint32_t)s, (uint32_t)a->n_tokens};
      tlt_sha256_add(&h, head, sizeof head);
      tlt_sha256_add(&h, a->tokens, (size_t)a->n_tokens * sizeof *a->tokens);
      tlt_sha256_add(&h, a->logprobs, (size_t)a->n_tokens * sizeof *a->logprobs);
    }
  tlt_sha256_end(&h, hex);
}

/* ---- between workers --------------------------------------------------------------------------
 */

typedef struct packed_group {
  uint32_t rollout;
  int32_t samples, scored, constant, masked;
} packed_group;

typedef struct packed_answer {
  double score, reward;
  uint64_t n_text;
  float advantage;
  int32_t n_tokens, finish, parsed, n_origins;
} packed_answer;

static unsigned char *put(unsigned char *to, const void *from, size_t n) {
  if (n) memcpy(to, from, n);
  return to + n;
}

/* What goes before tokens, log-probabilities, origins and text of an answer. */
static packed_answer head_of(const tlt_answer *a, bool record) {
  return (packed_answer){.score = a->score,
                         .reward = a->reward,
                         .n_text = record && a->text ? a->n_text : 0,
                         .advantage = a->advantage,
                         .n_tokens = a->n_tokens,
                         .finish = (int32_t)a->finish,
                         .parsed = a->parsed,
                         .n_origins = record && a->origins ? a->n_tokens : 0};
}

static size_t body_bytes(const packed_answer *p) {
  return 8 * (size_t)p->n_tokens + (size_t)p->n_origins + p->n_text;
}

tlt_status tlt_group_pack(const tlt_group *g, int samples, bool record, void **bytes, size_t *n,
                          tlt_err *err) {
  *n = sizeof(packed_group);
  for (int s = 0; s < samples; s++) {
    packed_answer p = head_of(&g->answer[s], record);
    *n += sizeof p + body_bytes(&p);
  }
  unsigned char *to = *bytes = tlt_malloc(*n);
  if (!to) return tlt_fail_nomem(err, "group between workers", *n);
  packed_group head = {g->rollout, samples, g->scored, g->constant, g->masked};
  to = put(to, &head, sizeof head);
  for (int s = 0; s < samples; s++) {
    const tlt_answer *a = &g->answer[s];
    packed_answer p = head_of(a, record);
    to = put(to, &p, sizeof p);
    to = put(to, a->tokens, (size_t)a->n_tokens * sizeof *a->tokens);
    to = put(to, a->logprobs, (size_t)a->n_tokens * sizeof *a->logprobs);
    to = put(to, a->origins, (size_t)p.n_origins);
    to = put(to, a->text, p.n_text);
  }
  return TLT_OK;
}

typedef struct reading {
  const unsigned char *at;
  size_t left;
} reading;

static bool get(reading *r, void *to, size_t n) {
  if (n > r->left) return false;
  if (n) memcpy(to, r->at, n);
  r->at += n;
  r->left -= n;
  return true;
}

static tlt_status unpack_answer(reading *r, tlt_answer *a, tlt_err *err) {
  packed_answer p;
  if (!get(r, &p, sizeof p) || p.n_tokens < 0 || p.n_text > r->left ||
      (p.n_origins != 0 && p.n_origins != p.n_tokens) || body_bytes(&p) > r->left)
    return tlt_fail(err, TLT_EINTERNAL, "group between workers: got too few bytes");
  *a = (tlt_answer){.finish = (tlt_finish)p.finish,
                    .parsed = p.parsed,
                    .score = p.score,
                    .reward = p.reward,
                    .advantage = p.advantage,
                    .n_text = p.n_text};
  tlt_status s = tlt_answer_make(a, p.n_tokens, p.n_origins > 0, err);
  if (s != TLT_OK) return s;
  a->text = p.n_text ? tlt_malloc(p.n_text + 1) : NULL;
  if (p.n_text && !a->text) return tlt_fail_nomem(err, "answer", p.n_text);
  get(r, a->tokens, (size_t)p.n_tokens * sizeof *a->tokens);
  get(r, a->logprobs, (size_t)p.n_tokens * sizeof *a->logprobs);
  get(r, a->origins, (size_t)p.n_origins);
  get(r, a->text, p.n_text);
  if (a->text) a->text[p.n_text] = 0;
  return TLT_OK;
}

tlt_status tlt_group_unpack(const void *bytes, size_t n, tlt_group *g, int samples, tlt_err *err) {
  reading r = {bytes, n};
  packed_group head;
  if (!get(&r, &head, sizeof head) || head.samples != samples || head.rollout != g->rollout)
    return tlt_fail(err, TLT_EINTERNAL, "group between workers: got another one than %u",
                    g->rollout);
  g->scored = head.scored;
  g->constant = head.constant;
  g->masked = head.masked;
  g->answer = tlt_calloc((size_t)samples, sizeof *g->answer);
  if (!g->answer) return tlt_fail_nomem(err, "answers", (size_t)samples * sizeof *g->answer);
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < samples; i++) s = unpack_answer(&r, &g->answer[i], err);
  if (s != TLT_OK) tlt_group_free(g, samples);
  return s;
}
