/* A run directory as it lies on the disk: what the report, the comparison and the page draw from.
 *
 * Reading never writes, takes no lock and never trusts: the run may be going on, may have been
 * killed in mid-line or may come from another version of the program. Whatever cannot be
 * understood is left out and becomes a notice. Memory is bounded: at most TLT_RUN_ROWS rows of at
 * most TLT_RUN_COLUMNS keys, whatever the length of the run. */
#ifndef TLT_REPORT_RUN_LOG_H
#define TLT_REPORT_RUN_LOG_H

#include "io/file.h"
#include "report/notices.h"

enum {
  TLT_RUN_ROWS = 1500, /* when full, two rows become one */
  TLT_RUN_COLUMNS = 1024,
  TLT_RUN_RECENT = 10, /* newest values kept of each key */
  TLT_RUN_HASHES = 8   /* newest lines whose hashes are kept */
};

/* What the lines of one row say about one key; n 0: nothing. */
typedef struct tlt_run_cell {
  double sum, min, max;
  int64_t n;
} tlt_run_cell;

typedef struct tlt_run_column {
  char *key;
  int follows; /* the column that came next in the line before: where the next key is looked for */
  int64_t n;   /* values */
  double sum;  /* of all */
  double first, last;
  int64_t first_step, last_step;
  double recent[TLT_RUN_RECENT]; /* ring, the newest at (n - 1) % TLT_RUN_RECENT */
  tlt_run_cell *cell;            /* [TLT_RUN_ROWS] */
} tlt_run_column;

typedef struct tlt_run_pair {
  char *key, *value;
} tlt_run_pair;

typedef struct tlt_run_pairs {
  tlt_run_pair *pair;
  int n, room;
} tlt_run_pairs;

typedef struct tlt_run_hashes {
  int64_t step;
  char weights[65], rollout[65]; /* lower-case hex, "" when absent */
} tlt_run_hashes;

typedef struct tlt_run_log {
  char path[TLT_PATH_MAX], name[256]; /* name: last part of the path */
  /* status.json */
  const char *state;   /* done, running, stopped, failed, unknown */
  char reason[512];    /* one line, or "" */
  char program[128];   /* that wrote the run, "" unknown */
  int64_t step, steps; /* newest step that is known of; configured, 0 unknown */
  double heartbeat;    /* seconds since 1970; 0: unknown */
  /* metrics.jsonl */
  int n_rows, n_columns;
  int64_t per_row;                                         /* lines per row: 1, 2, 4 ... */
  int64_t lines;                                           /* lines read */
  int64_t row_first[TLT_RUN_ROWS], row_last[TLT_RUN_ROWS]; /* steps */
  tlt_run_column column[TLT_RUN_COLUMNS];
  tlt_run_hashes hashes[TLT_RUN_HASHES]; /* oldest first */
  int n_hashes;
  /* config.yaml and machine.json, in their order */
  tlt_run_pairs config, machine;
  tlt_notices notices;
} tlt_run_log;

/* TLT_EDATA: no directory, or none of a run, naming what is missing. Free with tlt_run_log_free. */
tlt_status tlt_run_log_open(const char *path, tlt_run_log **out, tlt_err *err);
void tlt_run_log_free(tlt_run_log *log); /* NULL is harmless */

/* Two rows become one, each key's cells added up. */
void tlt_run_log_halve(tlt_run_log *log);

/* NULL: no line has this key. */
const tlt_run_column *tlt_run_find(const tlt_run_log *log, const char *key);
/* Value of a configuration key or "". */
const char *tlt_run_config(const tlt_run_log *log, const char *key);

/* Mean over the lines of a row that have the key; NaN: none has. c may be NULL. */
double tlt_run_value(const tlt_run_column *c, int row);
/* Mean of the newest TLT_RUN_RECENT values, sum of all; NaN when there is none. */
double tlt_run_recent(const tlt_run_log *log, const char *key);
double tlt_run_total(const tlt_run_log *log, const char *key);

/* Step of a line of metrics.jsonl; -1, with a notice, when it has none or is not behind `before`.
 */
int64_t tlt_run_line_step(const json_t *object, int64_t before, long line, tlt_notices *notices);

/* Whether a key's value may depend on timing (docs/metrics.md). */
bool tlt_run_is_timed(const char *key);

#endif
