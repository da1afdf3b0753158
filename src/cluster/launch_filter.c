#include "cluster/launch_filter.h"

#include <stdio.h>
#include <string.h>

enum {
  RULE = 74,      /* dashes in the line around a block */
  LOG_NAME = 300, /* longest "[host:process" */
};

void tlt__filter_init(tlt__filter *f, void (*pass)(void *, const char *, size_t), void *context) {
  *f = (tlt__filter){.pass = pass, .context = context, .fate = {.rank = -1, .exit_code = -1}};
}

/* ---- what may be mpirun's ---- */

typedef enum verdict { NO, PERHAPS, YES } verdict;

static verdict begins(const char *text, size_t n, const char *with) {
  size_t length = strlen(with);
  if (n >= length) return memcmp(text, with, length) ? NO : YES;
  return memcmp(text, with, n) ? NO : PERHAPS;
}

static verdict begins_any(const char *text, size_t n, const char *const *with) {
  verdict best = NO;
  for (; *with; with++) {
    verdict v = begins(text, n, *with);
    if (v > best) best = v;
  }
  return best;
}

/* mpirun calls itself by the name it was started with, and since Open MPI 5 prterun. */
static verdict name_opening(const char *text, size_t n) {
  static const char *const names[] = {"mpirun", "prterun", NULL};
  return begins_any(text, n, names);
}

static bool may_be_name(char first) {
  return first == 'm' || first == 'p';
}

static verdict after_name(const char *text, size_t n, const char *const *with) {
  verdict v = name_opening(text, n);
  if (v != YES) return v;
  size_t name = 6;
  while (name < n && ((text[name] >= 'a' && text[name] <= 'z') || text[name] == '.')) name++;
  return begins_any(text + name, n - name, with);
}

/* The first line of a block. */
static verdict block_opening(const char *text, size_t n) {
  static const char *const others[] = {"Primary job ", "Child job ", "MPI_ABORT was invoked", NULL};
  static const char *const own[] = {" noticed that ", " detected that ", " has exited due to ",
                                    NULL};
  verdict v = begins_any(text, n, others);
  return v == NO ? after_name(text, n, own) : v;
}

/* "[host:process] [[" or an error's name, how the runtime below mpirun begins a line of its log. */
static verdict log_opening(const char *text, size_t n) {
  static const char *const own[] = {"] [[", "] PMIX ERROR: ", "] PRTE ERROR: ", NULL};
  size_t i = 1;
  while (i < n && text[i] > ' ' && text[i] != ']' && text[i] != '[' && i < LOG_NAME) i++;
  return i == n ? PERHAPS : i < 4 ? NO : begins_any(text + i, n - i, own);
}

/* A line that stands alone. */
static verdict line_opening(const char *text, size_t n) {
  static const char *const own[] = {": Forwarding signal ", ": abort is already in progress", NULL};
  size_t digits = 0;
  if (n && *text == '[') return log_opening(text, n);
  while (digits < n && text[digits] >= '0' && text[digits] <= '9') digits++;
  if (!digits) return after_name(text, n, own);
  if (digits > 6) return NO;
  return digits == n ? PERHAPS : begins(text + digits, n - digits, " total process");
}

static bool is_log_line(const char *line) {
  return *line == '[' && (strstr(line, "] ORTE_ERROR_LOG: ") || strstr(line, "] PMIX ERROR: ") ||
                          strstr(line, "] PRTE ERROR: "));
}

static bool is_own_line(const char *line) {
  return name_opening(line, strlen(line)) == YES || is_log_line(line) ||
         strstr(line, " killed (some possibly by ") || strstr(line, " aborted\n") ||
         strstr(line, " failed to start\n");
}

static verdict rule(const char *text, size_t n) {
  size_t dashes = 0;
  while (dashes < n && text[dashes] == '-' && dashes <= RULE) dashes++;
  if (dashes == n) return dashes <= RULE ? PERHAPS : NO;
  return dashes == RULE && text[RULE] == '\n' ? YES : NO;
}

/* ---- what a block says ---- */

/* The rank in "Process name: [[7,1],RANK]", or "Process name: [prterun-HOST-7@1,RANK]". */
static int named_rank(const char *name) {
  int rank = -1;
  const char *at = strchr(name, '@');
  if (at) sscanf(at, "@%*d,%d", &rank);
  else if ((at = strstr(name, "],"))) sscanf(at, "],%d", &rank);
  return rank;
}

/* Lines are broken at different places by different versions. */
static void join_lines(tlt__filter *f) {
  f->hold[f->held] = 0;
  for (char *p = f->hold; *p; p++)
    if (*p == '\n') *p = ' ';
}

static void read_block(tlt__filter *f) {
  tlt__fate fate = {.rank = -1, .exit_code = -1};
  const char *at;
  join_lines(f);
  if ((at = strstr(f->hold, "process rank "))) {
    sscanf(at, "process rank %d", &fate.rank);
    if ((at = strstr(at, "exited on signal ")))
      sscanf(at, "exited on signal %d (%63[^)])", &fate.signal, fate.signal_name);
  } else if ((at = strstr(f->hold, "Process name: ["))) {
    fate.rank = named_rank(at);
    if ((at = strstr(at, "Exit code:"))) sscanf(at, "Exit code: %d", &fate.exit_code);
  }
  if (f->fate.rank < 0) f->fate = fate;
}

/* ---- the stream ---- */

static void drop(tlt__filter *f) {
  f->held = 0;
  f->inside_line = f->interrupted = false;
  f->state = TLT__TEXT;
}

static void release(tlt__filter *f) {
  if (f->interrupted && f->held == RULE + 1) drop(f);
  if (!f->held) return;
  f->interrupted = false;
  f->pass(f->context, f->hold, f->held);
  f->inside_line = f->hold[f->held - 1] != '\n';
  f->held = 0;
  f->state = TLT__TEXT;
}

static bool rule_ends_hold(const tlt__filter *f) {
  if (f->held < 2 * (RULE + 1) + 1 || f->hold[f->held - 1] != '\n') return false;
  const char *rule = f->hold + f->held - 1 - RULE;
  for (int i = 0; i < RULE; i++)
    if (rule[i] != '-') return false;
  return rule[-1] == '\n';
}

/* The last byte shows that what is held is not mpirun's; it may itself begin something that is. */
static void refuse(tlt__filter *f) {
  char last = f->hold[f->held - 1];
  bool again = last == '-' || may_be_name(last);
  f->held -= again;
  release(f);
  if (!again) return;
  f->hold[f->held++] = last;
  f->state = last == '-' ? TLT__DASHES : TLT__PHRASE;
}

static void step_dashes(tlt__filter *f) {
  verdict v = rule(f->hold, f->held);
  if (v == YES) f->state = TLT__OPENING;
  if (v == NO) refuse(f);
}

/* A line of the log may come between a rule and the block, or instead of the block. */
static bool takes_log_line(tlt__filter *f) {
  char *line = f->hold + RULE + 1;
  size_t n = f->held - RULE - 1;
  if (*line != '[' || log_opening(line, n) == NO) return false;
  if (line[n - 1] != '\n') return true;
  line[n] = 0;
  if (!is_log_line(line)) return false;
  f->held = RULE + 1;
  f->interrupted = true;
  return true;
}

static void step_opening(tlt__filter *f) {
  verdict v = block_opening(f->hold + RULE + 1, f->held - RULE - 1);
  if (v == YES) f->state = TLT__BLOCK;
  if (v == NO && !takes_log_line(f)) refuse(f);
}

static void step_block(tlt__filter *f) {
  if (!rule_ends_hold(f)) return;
  read_block(f);
  drop(f);
}

static void step_phrase(tlt__filter *f) {
  verdict v = line_opening(f->hold, f->held);
  if (v == YES) f->state = TLT__LINE;
  if (v == NO) refuse(f);
}

static void step_line(tlt__filter *f) {
  if (f->hold[f->held - 1] != '\n') return;
  f->hold[f->held] = 0;
  if (is_own_line(f->hold)) drop(f);
  else release(f);
}

/* Whether mpirun's words may begin at this byte: counts only at the beginning of a line, the others
 * also behind an unfinished line of a worker. */
static bool may_begin(tlt__filter *f, const char *text, size_t n) {
  if (*text == '-' && rule(text, n) != NO) f->state = TLT__DASHES;
  else if ((may_be_name(*text) ||
            (!f->inside_line && (*text == '[' || (*text >= '0' && *text <= '9')))) &&
           line_opening(text, n) != NO)
    f->state = TLT__PHRASE;
  return f->state != TLT__TEXT;
}

/* Text that cannot be mpirun's, up to the next byte that may. */
static size_t pass_text(tlt__filter *f, const char *text, size_t n) {
  size_t i = 0;
  for (; i < n && !may_begin(f, text + i, n - i); i++) f->inside_line = text[i] != '\n';
  if (i) f->pass(f->context, text, i);
  return i;
}

void tlt__filter_feed(tlt__filter *f, const char *text, size_t n) {
  static void (*const step[])(tlt__filter *) = {NULL,       step_dashes, step_opening,
                                                step_block, step_phrase, step_line};
  for (size_t i = 0; i < n;) {
    if (f->state == TLT__TEXT) {
      i += pass_text(f, text + i, n - i);
      continue;
    }
    f->hold[f->held++] = text[i++];
    step[f->state](f);
    if (f->held == sizeof f->hold - 1) release(f);
  }
}

void tlt__filter_quiet(tlt__filter *f, bool end) {
  if (end || (f->state != TLT__BLOCK && f->state != TLT__LINE)) release(f);
}
