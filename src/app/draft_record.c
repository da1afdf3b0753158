#include "app/draft_record.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* Hidden states of consecutive positions. */
typedef struct states {
  unsigned char *row; /* [room][row_bytes] */
  int n, room;
} states;

typedef struct answer {
  states hidden;
  int32_t *tokens; /* once finished */
  int n_tokens;
} answer;

typedef struct prompt_state {
  states hidden;  /* until its last answer is in the buffer */
  answer *answer; /* [samples], while some are open */
  int open;
} prompt_state;

typedef struct recording {
  const tlt_prompts *prompts;
  const tlt_draft_record_options *o;
  tlt_replay *replay;
  tlt_draft_record *out;
  prompt_state *prompt; /* [prompts] */
  size_t row_bytes;
  int64_t *finished; /* [batch] prompt * samples + sample, of the running step */
  int n_finished, submitted;
  tlt_status status; /* first failure inside a callback */
  tlt_err *err;
} recording;

/* ---- hidden states --------------------------------------------------------------------------- */

static void keep_state(recording *r, states *s, int position, const void *row) {
  if (position >= s->room) {
    int room = 2 * position + 32;
    unsigned char *more = tlt_realloc(s->row, (size_t)room * r->row_bytes);
    if (!more) {
      if (!r->status)
        r->status = tlt_fail_nomem(r->err, "hidden states", (size_t)room * r->row_bytes);
      return;
    }
    s->row = more;
    s->room = room;
  }
  memcpy(s->row + (size_t)position * r->row_bytes, row, r->row_bytes);
  if (position >= s->n) s->n = position + 1;
}

/* Sink of the engine; only TLT_TAP_FINAL is asked for. */
static void put(void *context, int tap, int n, const tlt_hidden_row *rows, const void *data,
                size_t element_size, int width, size_t stride) {
  (void)tap, (void)width;
  recording *r = context;
  for (int i = 0; i < n; i++) {
    prompt_state *p = &r->prompt[rows[i].rollout];
    int position = rows[i].position, given = r->prompts->at[rows[i].rollout].n_tokens;
    const unsigned char *row = (const unsigned char *)data + (size_t)i * stride * element_size;
    if (position < given) keep_state(r, &p->hidden, position, row);
    else keep_state(r, &p->answer[rows[i].sample].hidden, position - given, row);
  }
}

/* The step's own hidden states may follow: the sample goes into the buffer after the step. */
static void done(void *context, const tlt_sample *s) {
  recording *r = context;
  answer *a = &r->prompt[s->rollout].answer[s->sample];
  a->tokens = tlt_malloc((size_t)s->n_tokens * sizeof *a->tokens);
  if (!a->tokens) {
    if (!r->status) r->status = tlt_fail_nomem(r->err, "answer", (size_t)s->n_tokens * 4);
    return;
  }
  memcpy(a->tokens, s->tokens, (size_t)s->n_tokens * sizeof *a->tokens);
  a->n_tokens = s->n_tokens;
  for (int i = 0; i < s->n_tokens; i++) r->out->seen[s->tokens[i]]++;
  r->out->answers++;
  r->out->tokens += s->n_tokens;
  r->finished[r->n_finished++] = (int64_t)s->rollout * r->o->samples + s->sample;
}

/* ---- into the buffer ------------------------------------------------------------------------- */

static void free_states(states *s) {
  tlt_free(s->row);
  *s = (states){0};
}

static void free_answer(answer *a) {
  free_states(&a->hidden);
  tlt_free(a->tokens);
  *a = (answer){0};
}

static void free_prompt(prompt_state *p, int samples) {
  for (int i = 0; p->answer && i < samples; i++) free_answer(&p->answer[i]);
  tlt_free(p->answer);
  free_states(&p->hidden);
  *p = (prompt_state){0};
}

/* All tokens but the last, which was drawn and never read. */
static tlt_status store_answer(recording *r, int index, answer *a) {
  const prompt_state *p = &r->prompt[index];
  const tlt_prompt *prompt = &r->prompts->at[index];
  int given = prompt->n_tokens, own = a->n_tokens - 1, hold = r->o->hold_every;
  int32_t *tokens;
  void *hidden;
  if (p->hidden.n < given || a->hidden.n < own)
    return tlt_fail(r->err, TLT_EINTERNAL,
                    "prompt %s: got %d and %d hidden states, expected %d and %d", prompt->id,
                    p->hidden.n, a->hidden.n, given, own);
  bool held = hold && index % hold == hold - 1;
  tlt_status s = tlt_replay_add(r->replay, given + own, given, 0, held, &tokens, &hidden, r->err);
  if (s != TLT_OK || !tokens) return s;
  memcpy(tokens, prompt->tokens, (size_t)given * sizeof *tokens);
  memcpy(tokens + given, a->tokens, (size_t)own * sizeof *tokens);
  memcpy(hidden, p->hidden.row, (size_t)given * r->row_bytes);
  if (own)
    memcpy((unsigned char *)hidden + (size_t)given * r->row_bytes, a->hidden.row,
           (size_t)own * r->row_bytes);
  return TLT_OK;
}

static tlt_status store_finished(recording *r) {
  tlt_status s = r->status;
  for (int i = 0; s == TLT_OK && i < r->n_finished; i++) {
    int index = (int)(r->finished[i] / r->o->samples);
    prompt_state *p = &r->prompt[index];
    answer *a = &p->answer[r->finished[i] % r->o->samples];
    s = store_answer(r, index, a);
    free_answer(a);
    if (--p->open == 0) free_prompt(p, r->o->samples);
  }
  r->n_finished = 0;
  return s;
}

/* ---- generation ------------------------------------------------------------------------------ */

static tlt_status submit_more(recording *r, tlt_engine *e) {
  while (r->submitted < r->prompts->count && tlt_engine_pending(e) < r->o->batch) {
    const tlt_prompt *p = &r->prompts->at[r->submitted];
    prompt_state *state = &r->prompt[r->submitted];
    tlt_request request = {.prompt = p->tokens,
                           .n_prompt = p->n_tokens,
                           .rollout = (uint32_t)r->submitted,
                           .n_samples = r->o->samples,
                           .max_tokens = r->o->max_tokens,
                           .temperature = r->o->temperature,
                           .top_p = 1};
    state->answer = tlt_calloc((size_t)r->o->samples, sizeof *state->answer);
    state->open = r->o->samples;
    if (!state->answer) return tlt_fail_nomem(r->err, "answers", 0);
    tlt_status s = tlt_engine_submit(e, &request, r->err);
    if (s != TLT_OK) return tlt_fail_prefix(r->err, "prompt %s", p->id);
    r->submitted++;
  }
  return TLT_OK;
}

static tlt_status run(recording *r, tlt_engine *e, tlt_record_progress progress, void *context,
                      const tlt_stop *stop) {
  double start = tlt_now();
  int64_t total = (int64_t)r->prompts->count * r->o->samples;
  while (r->out->answers < total) {
    tlt_status s = submit_more(r, e);
    if (s == TLT_OK) s = tlt_engine_step(e, done, r, r->err);
    if (s == TLT_OK) s = store_finished(r);
    if (s != TLT_OK) return s;
    r->out->seconds = tlt_now() - start;
    if (progress) progress(context, r->out->answers, total, r->out->tokens, r->out->seconds);
    if (stop && stop->stop)
      return tlt_fail(r->err, TLT_ESTOPPED, "stopped after %lld of %lld answers",
                      (long long)r->out->answers, (long long)total);
  }
  return TLT_OK;
}

static tlt_engine_options engine_options(const tlt_model *m, const tlt_prompts *prompts,
                                         const tlt_draft_record_options *o) {
  tlt_model_info info;
  tlt_model_info_get((tlt_model *)m, &info);
  int64_t longest = (int64_t)prompts->longest + o->max_tokens;
  int64_t total = (int64_t)prompts->count * o->samples;
  return (tlt_engine_options){
      .batch = (int)(total < o->batch ? total : o->batch),
      .max_positions = (int)(longest < info.max_positions ? longest : info.max_positions),
      .seed = o->seed};
}

static size_t row_bytes_of(const tlt_model *m) {
  return tlt_act_stride((size_t)m->weights->config.hidden) * m->kernels->act_size;
}

size_t tlt_draft_record_bytes(const tlt_model *m, const tlt_prompts *prompts,
                              const tlt_draft_record_options *o) {
  tlt_engine_options eo = engine_options(m, prompts, o);
  return tlt_engine_bytes(m, &eo) +
         2 * (size_t)eo.batch * (size_t)eo.max_positions * row_bytes_of(m);
}

tlt_status tlt_draft_record_run(tlt_model *m, const tlt_tokenizer *t, const tlt_prompts *prompts,
                                const tlt_draft_record_options *o, tlt_record_progress progress,
                                void *context, const tlt_stop *stop, tlt_replay *replay,
                                tlt_draft_record *out, tlt_err *err) {
  tlt_engine_options eo = engine_options(m, prompts, o);
  recording r = {.prompts = prompts, .o = o, .replay = replay, .out = out, .err = err};
  tlt_hidden_sink sink = {.context = &r, .n_taps = 1, .taps = {TLT_TAP_FINAL}, .put = put};
  tlt_engine *e = NULL;
  r.row_bytes = row_bytes_of(m);
  *out = (tlt_draft_record){0};
  out->seen = tlt_calloc((size_t)m->weights->config.vocab, sizeof *out->seen);
  r.prompt = tlt_calloc((size_t)prompts->count, sizeof *r.prompt);
  r.finished = tlt_calloc((size_t)eo.batch, sizeof *r.finished);
  tlt_status s = TLT_OK;
  if (!out->seen || !r.prompt || !r.finished) s = tlt_fail_nomem(err, "recording", 0);
  if (s == TLT_OK) s = tlt_engine_create(m, t, &eo, &e, err);
  if (s == TLT_OK) {
    tlt_engine_set_sink(e, &sink);
    s = run(&r, e, progress, context, stop);
  }
  tlt_engine_free(e);
  for (int i = 0; r.prompt && i < prompts->count; i++) free_prompt(&r.prompt[i], o->samples);
  tlt_free(r.prompt);
  tlt_free(r.finished);
  return s;
}

void tlt_draft_record_free(tlt_draft_record *r) {
  tlt_free(r->seen);
  *r = (tlt_draft_record){0};
}
