#include "engine/request.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* ---- Stop strings ---- */

void tlt__stop_init(tlt_stop *s, const char *text, size_t n) {
  s->n = (int)n;
  memcpy(s->text, text, n);
  s->fall[0] = 0;
  for (int i = 1, k = 0; i < s->n; i++) {
    while (k && s->text[i] != s->text[k]) k = s->fall[k - 1];
    if (s->text[i] == s->text[k]) k++;
    s->fall[i] = (int16_t)k;
  }
}

bool tlt__stop_feed(const tlt_stop *s, int16_t *state, const char *bytes, size_t n) {
  int k = *state;
  for (size_t i = 0; i < n; i++) {
    unsigned char b = (unsigned char)bytes[i];
    while (k && b != s->text[k]) k = s->fall[k - 1];
    if (b == s->text[k] && ++k == s->n) return true;
  }
  *state = (int16_t)k;
  return false;
}

/* ---- Requests ---- */

static tlt_status check_settings(const tlt_request *r, tlt_err *err) {
  if (r->n_prompt < 1)
    return tlt_fail(err, TLT_EDATA, "prompt: got no tokens, expected at least one");
  if (r->n_samples < 1)
    return tlt_fail(err, TLT_EUSAGE, "samples: got %d, expected at least 1", r->n_samples);
  if (r->max_tokens < 1)
    return tlt_fail(err, TLT_EUSAGE, "max_tokens: got %d, expected at least 1", r->max_tokens);
  if (!(r->temperature >= 0 && r->temperature <= 1e6f))
    return tlt_fail(err, TLT_EUSAGE, "temperature: got %g, expected 0 .. 1e6",
                    (double)r->temperature);
  if (!(r->top_p > 0 && r->top_p <= 1))
    return tlt_fail(err, TLT_EUSAGE, "top_p: got %g, expected above 0, at most 1",
                    (double)r->top_p);
  if (!(r->min_p >= 0 && r->min_p <= 1))
    return tlt_fail(err, TLT_EUSAGE, "min_p: got %g, expected 0 .. 1", (double)r->min_p);
  if (r->top_k < 0) return tlt_fail(err, TLT_EUSAGE, "top_k: got %d, expected 0 or more", r->top_k);
  if (r->n_stop < 0 || r->n_stop > TLT__MAX_STOPS)
    return tlt_fail(err, TLT_EUSAGE, "stop: got %d strings, expected at most %d", r->n_stop,
                    TLT__MAX_STOPS);
  for (int i = 0; i < r->n_stop; i++) {
    size_t n = strlen(r->stop[i]);
    if (n < 1 || n > TLT__MAX_STOP_BYTES)
      return tlt_fail(err, TLT_EUSAGE, "stop[%d]: got %zu bytes, expected 1 .. %d", i, n,
                      TLT__MAX_STOP_BYTES);
  }
  return TLT_OK;
}

tlt_status tlt__queued_create(const tlt_request *r, size_t hidden_bytes, tlt_queued **out,
                              tlt_err *err) {
  *out = NULL;
  tlt_status s = check_settings(r, err);
  if (s != TLT_OK) return s;
  size_t n = (size_t)r->n_prompt, blocks = (n + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
  tlt_queued *q = tlt_calloc(1, sizeof *q);
  if (!q) return tlt_fail_nomem(err, "request", sizeof *q);
  q->prompt = tlt_malloc(n * sizeof *q->prompt);
  q->block = tlt_malloc(blocks * sizeof *q->block);
  q->hidden = tlt_calloc_aligned(1, hidden_bytes);
  q->stop = r->n_stop ? tlt_calloc((size_t)r->n_stop, sizeof *q->stop) : NULL;
  if (!q->prompt || !q->block || !q->hidden || (r->n_stop && !q->stop)) {
    tlt__queued_free(q);
    return tlt_fail_nomem(err, "request", n * sizeof *q->prompt + hidden_bytes);
  }
  memcpy(q->prompt, r->prompt, n * sizeof *q->prompt);
  q->n_prompt = r->n_prompt;
  q->rollout = r->rollout;
  q->sample0 = r->sample0;
  q->n_samples = r->n_samples;
  q->max_tokens = r->max_tokens;
  q->how = (tlt_sampling){r->temperature, r->top_k, r->top_p, r->min_p};
  q->ignore_eos = r->ignore_eos;
  q->user = r->user;
  q->n_stop = r->n_stop;
  q->group = (tlt_spec_group){.id = q,
                              .rollout = r->rollout,
                              .prompt = q->prompt,
                              .n_prompt = r->n_prompt,
                              .n_samples = r->n_samples,
                              .how = q->how,
                              .user = r->user};
  for (int i = 0; i < r->n_stop; i++) tlt__stop_init(&q->stop[i], r->stop[i], strlen(r->stop[i]));
  *out = q;
  return TLT_OK;
}

void tlt__queued_free(tlt_queued *q) {
  if (!q) return;
  tlt_free(q->prompt);
  tlt_free(q->block);
  tlt_free(q->hidden);
  tlt_free(q->stop);
  tlt_free(q);
}
