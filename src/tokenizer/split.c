/* Pre-tokenizer steps. Each step cuts a piece into spans (matches and the gaps between them),
 * joins or drops spans as its behaviour says, and hands the rest to the next step. */
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/text.h"

const char tlt_gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef struct tlt_span {
  uint32_t start, end;
  bool match;
} tlt_span;

tlt_status tlt_splitter_init(tlt_splitter *s, const tlt_step *steps, int n_steps, tlt_err *err) {
  *s = (tlt_splitter){.steps = steps, .n_steps = n_steps};
  for (int i = 0; i < n_steps; i++) {
    if (steps[i].kind != TLT_STEP_REGEX) continue;
    tlt_status status = tlt_regex_scratch_create(steps[i].regex, &s->regex[i], err);
    if (status) return status;
  }
  return TLT_OK;
}

void tlt_splitter_free(tlt_splitter *s) {
  for (int i = 0; i < TLT_STEPS_MAX; i++) {
    tlt_regex_scratch_free(s->regex[i]);
    tlt_free(s->spans[i]);
    tlt_bytes_free(&s->prefixed[i]);
  }
  *s = (tlt_splitter){0};
}

/* ---- finding spans ---- */

typedef struct span_list {
  tlt_splitter *s;
  int step;
  size_t n;
  tlt_err *err;
} span_list;

static tlt_status add_span(span_list *l, size_t start, size_t end, bool match) {
  tlt_splitter *s = l->s;
  tlt_span *spans =
      tlt_array_grow(s->spans[l->step], &s->cap_spans[l->step], l->n + 1, sizeof *spans);
  if (!spans) return tlt_fail_nomem(l->err, "pre-tokenizer", (l->n + 1) * sizeof *spans);
  s->spans[l->step] = spans;
  spans[l->n++] = (tlt_span){(uint32_t)start, (uint32_t)end, match};
  return TLT_OK;
}

static size_t char_size(const char *text, size_t n, size_t at) {
  int size = 1;
  if (at < n) tlt_utf8_get(text + at, &size);
  return (size_t)size;
}

/* An empty match directly after a match does not count; the search goes on one character later. */
static tlt_status find_regex(span_list *l, const tlt_step *step, const char *text, size_t n) {
  size_t done = 0, from = 0, last_end = SIZE_MAX;
  while (from <= n) {
    bool found;
    size_t start, end;
    tlt_status status = tlt_regex_find(step->regex, l->s->regex[l->step], text, n, from, &found,
                                       &start, &end, l->err);
    if (status) return status;
    if (!found) break;
    if (start == end && last_end == end) {
      from = end + char_size(text, n, end);
      continue;
    }
    if (start > done) status = add_span(l, done, start, false);
    if (!status) status = add_span(l, start, end, true);
    if (status) return status;
    done = from = last_end = end;
  }
  return done < n ? add_span(l, done, n, false) : TLT_OK;
}

static tlt_status find_literal(span_list *l, const tlt_step *step, const char *text, size_t n) {
  size_t done = 0;
  for (size_t i = 0; i + step->n_literal <= n;) {
    const char *hit = memchr(text + i, step->literal[0], n - i - step->n_literal + 1);
    if (!hit) break;
    i = (size_t)(hit - text);
    if (memcmp(hit, step->literal, step->n_literal) != 0) {
      i++;
      continue;
    }
    tlt_status status = i > done ? add_span(l, done, i, false) : TLT_OK;
    if (!status) status = add_span(l, i, i + step->n_literal, true);
    if (status) return status;
    done = i += step->n_literal;
  }
  return done < n ? add_span(l, done, n, false) : TLT_OK;
}

static tlt_status find_digits(span_list *l, const char *text, size_t n) {
  size_t done = 0;
  for (size_t i = 0; i < n;) {
    int size;
    uint32_t code = tlt_utf8_get(text + i, &size);
    bool digit = code < 0x80 ? code >= '0' && code <= '9' : tlt_is_numeric(code);
    if (digit) {
      tlt_status status = i > done ? add_span(l, done, i, false) : TLT_OK;
      if (!status) status = add_span(l, i, i + (size_t)size, true);
      if (status) return status;
      done = i + (size_t)size;
    }
    i += (size_t)size;
  }
  return done < n ? add_span(l, done, n, false) : TLT_OK;
}

/* ---- behaviours ---- */

/* Join spans in place; the number left. A span is joined to the one before it when glue() says so
 * of its match flag and the flag of the span before it in reading order. */
static size_t join_forward(tlt_span *spans, size_t n, tlt_behavior behavior) {
  size_t kept = 0;
  bool previous = false;
  for (size_t i = 0; i < n; i++) {
    bool match = spans[i].match;
    bool glue = behavior == TLT_SPLIT_CONTIGUOUS ? match == previous : match && !previous;
    if (glue && kept > 0) spans[kept - 1].end = spans[i].end;
    else spans[kept++] = spans[i];
    previous = match;
  }
  return kept;
}

static size_t join_with_next(tlt_span *spans, size_t n) {
  size_t kept = n;
  bool previous = false;
  for (size_t i = n; i-- > 0;) {
    bool match = spans[i].match;
    if (match && !previous && kept < n) spans[kept].start = spans[i].start;
    else spans[--kept] = spans[i];
    previous = match;
  }
  memmove(spans, spans + kept, (n - kept) * sizeof *spans);
  return n - kept;
}

static size_t apply_behavior(tlt_span *spans, size_t n, const tlt_step *step) {
  if (step->invert)
    for (size_t i = 0; i < n; i++) spans[i].match = !spans[i].match;
  switch (step->behavior) {
    case TLT_SPLIT_ISOLATED: return n;
    case TLT_SPLIT_WITH_NEXT: return join_with_next(spans, n);
    case TLT_SPLIT_WITH_PREVIOUS:
    case TLT_SPLIT_CONTIGUOUS: return join_forward(spans, n, step->behavior);
    case TLT_SPLIT_REMOVED: break;
  }
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (!spans[i].match) spans[kept++] = spans[i];
  return kept;
}

/* ---- running ---- */

typedef struct run_state {
  tlt_splitter *s;
  tlt_word_fn word;
  void *context;
  tlt_err *err;
} run_state;

static tlt_status run_step(run_state *r, int i, const char *text, size_t n);

static tlt_status run_prefix(run_state *r, int i, const char *text, size_t n) {
  if (text[0] == ' ') return run_step(r, i + 1, text, n);
  tlt_bytes *b = &r->s->prefixed[i];
  b->n = 0;
  if (!tlt_bytes_add(b, " ", 1) || !tlt_bytes_add(b, text, n))
    return tlt_fail_nomem(r->err, "pre-tokenizer", n + 1);
  return run_step(r, i + 1, b->data, b->n);
}

/* Depth is at most TLT_STEPS_MAX. */
static tlt_status run_step(run_state *r, int i, const char *text, size_t n) {
  if (n == 0) return TLT_OK;
  if (i == r->s->n_steps) return r->word(r->context, text, n, r->err);
  const tlt_step *step = &r->s->steps[i];
  span_list l = {r->s, i, 0, r->err};
  tlt_status status = TLT_OK;
  switch (step->kind) {
    case TLT_STEP_PREFIX_SPACE: return run_prefix(r, i, text, n);
    case TLT_STEP_REGEX: status = find_regex(&l, step, text, n); break;
    case TLT_STEP_LITERAL: status = find_literal(&l, step, text, n); break;
    case TLT_STEP_DIGITS: status = find_digits(&l, text, n); break;
  }
  size_t kept = status ? 0 : apply_behavior(r->s->spans[i], l.n, step);
  for (size_t k = 0; k < kept && !status; k++) {
    tlt_span span = r->s->spans[i][k];
    status = run_step(r, i + 1, text + span.start, span.end - span.start);
  }
  return status;
}

tlt_status tlt_splitter_run(tlt_splitter *s, const char *text, size_t n, tlt_word_fn word,
                            void *context, tlt_err *err) {
  if (n >= UINT32_MAX)
    return tlt_fail(err, TLT_EDATA, "text of %zu bytes, expected less than 4 GiB", n);
  run_state r = {s, word, context, err};
  return run_step(&r, 0, text, n);
}
