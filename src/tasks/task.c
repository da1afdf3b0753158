#include "tasks/task.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tasks/task_internal.h"

enum { MAX_DRAWS = 100000 };

struct tlt_task {
  const tlt_task_kind *kind;
  int64_t values[TLT_TASK_MAX_OPTIONS];
  tlt_split split;
  uint32_t seed;
  bool traces;
};

static const tlt_task_kind *const kinds[] = {&tlt_task_countdown, &tlt_task_arithmetic};
static const char *const kind_names[] = {"countdown", "arithmetic", NULL};
static const char *const split_names[] = {"all", "train", "rl", "eval"};

tlt_fixed tlt_fixed_in(char *buffer, size_t room) {
  buffer[0] = 0;
  return (tlt_fixed){buffer, 0, room};
}

void tlt_fixed_add(tlt_fixed *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(t->at + t->n, t->room - t->n, format, args);
  va_end(args);
  if (n < 0) return;
  size_t left = t->room - t->n - 1;
  t->n += (size_t)n < left ? (size_t)n : left;
}

tlt_status tlt_split_find(const char *name, tlt_split *out, tlt_err *err) {
  for (size_t i = 0; i < sizeof split_names / sizeof *split_names; i++) {
    if (!strcmp(name, split_names[i])) {
      *out = (tlt_split)i;
      return TLT_OK;
    }
  }
  return tlt_fail(err, TLT_EUSAGE, "split: got '%s', expected all, train, rl or eval", name);
}

static const tlt_task_kind *find_kind(const char *name) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (!strcmp(kinds[i]->name, name)) return kinds[i];
  }
  return NULL;
}

const tlt_task_option *tlt_task_options(const char *task) {
  const tlt_task_kind *kind = find_kind(task);
  return kind ? kind->options : NULL;
}

const char *const *tlt_task_names(void) {
  return kind_names;
}

static tlt_status set_option(tlt_task *t, const tlt_task_setting *setting, tlt_err *err) {
  for (int i = 0; t->kind->options[i].name; i++) {
    const tlt_task_option *o = &t->kind->options[i];
    if (strcmp(o->name, setting->name)) continue;
    if (setting->value < o->low || setting->value > o->high)
      return tlt_fail(err, TLT_EUSAGE, "%s.%s: got %lld, expected %lld to %lld", t->kind->name,
                      o->name, (long long)setting->value, (long long)o->low, (long long)o->high);
    t->values[i] = setting->value;
    return TLT_OK;
  }
  char known[512];
  tlt_fixed list = tlt_fixed_in(known, sizeof known);
  for (int i = 0; t->kind->options[i].name; i++)
    tlt_fixed_add(&list, "%s%s", i ? ", " : "", t->kind->options[i].name);
  return tlt_fail(err, TLT_EUSAGE, "%s: got option '%s', expected one of %s", t->kind->name,
                  setting->name, known);
}

tlt_status tlt_task_open(const char *task, const tlt_task_setting *settings, size_t n_settings,
                         tlt_split split, uint32_t seed, bool traces, tlt_task **out,
                         tlt_err *err) {
  *out = NULL;
  const tlt_task_kind *kind = find_kind(task);
  if (!kind)
    return tlt_fail(err, TLT_EUSAGE, "task: got '%s', expected countdown or arithmetic", task);
  tlt_task *t = tlt_calloc(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "task", sizeof *t);
  *t = (tlt_task){.kind = kind, .split = split, .seed = seed, .traces = traces};
  for (int i = 0; kind->options[i].name; i++) t->values[i] = kind->options[i].fallback;
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < n_settings && status == TLT_OK; i++)
    status = set_option(t, &settings[i], err);
  const char *broken = status == TLT_OK ? kind->check(t->values) : NULL;
  if (broken) status = tlt_fail(err, TLT_EUSAGE, "%s: expected %s", kind->name, broken);
  if (status != TLT_OK) {
    tlt_task_close(t);
    return status;
  }
  *out = t;
  return TLT_OK;
}

void tlt_task_close(tlt_task *t) {
  tlt_free(t);
}

tlt_verifier tlt_task_verifier(const tlt_task *t) {
  return t->kind->verifier;
}

bool tlt_task_traces(const tlt_task *t) {
  return t->traces;
}

static tlt_split split_of(const char *canonical) {
  uint32_t bucket = tlt_crc32(0, canonical, strlen(canonical)) % 100;
  return bucket < 75 ? TLT_SPLIT_TRAIN : bucket < 90 ? TLT_SPLIT_RL : TLT_SPLIT_EVAL;
}

static void finish(const tlt_task *t, uint32_t index, tlt_task_room *room, tlt_problem *p) {
  snprintf(room->id, sizeof room->id, "%s-%u-%u", t->kind->name, t->seed, index);
  p->id = room->id;
  p->prompt = room->prompt;
  p->prompt_bytes = strlen(room->prompt);
  p->answer = room->answer;
  p->answer_bytes = strlen(room->answer);
  p->meta = room->meta;
  if (!t->traces) return;
  tlt_stream s =
      tlt_stream_open(t->seed, TLT_PURPOSE_TASK, index, TLT_TASK_TRACE_DRAW, t->kind->number);
  t->kind->trace(t->values, &s, p, room);
  p->completion = room->completion;
  p->completion_bytes = strlen(room->completion);
}

tlt_status tlt_task_make(const tlt_task *t, uint32_t index, tlt_task_room *room, tlt_problem *p,
                         tlt_err *err) {
  for (uint32_t draw = 0; draw < MAX_DRAWS; draw++) {
    tlt_stream s = tlt_stream_open(t->seed, TLT_PURPOSE_TASK, index, draw, t->kind->number);
    *p = (tlt_problem){0};
    if (!t->kind->draw(t->values, &s, room, p)) continue;
    if (t->split != TLT_SPLIT_ALL && split_of(room->canonical) != t->split) continue;
    finish(t, index, room, p);
    return TLT_OK;
  }
  return tlt_fail(err, TLT_EUSAGE,
                  "%s: got no problem in %d draws, expected options that allow some", t->kind->name,
                  (int)MAX_DRAWS);
}
