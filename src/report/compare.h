/* Several runs side by side: figures, configuration, and whether they are the same bit for bit. */
#ifndef TLT_REPORT_COMPARE_H
#define TLT_REPORT_COMPARE_H

#include "io/text.h"
#include "report/run_answers.h"
#include "report/run_log.h"

enum { TLT_COMPARE_RUNS = 16, TLT_COMPARE_TEXT = 64, TLT_COMPARE_COLUMNS = 1 << 20 };

/* ---- identity -----------------------------------------------------------------------------------
 */

/* What metrics.jsonl of two runs says about the steps that both have. Only keys that may not depend
 * on timing and that both lines have are compared: numbers by their bits. */
typedef struct tlt_identity {
  int64_t steps, first_step, last_step; /* in common; steps 0: nothing to compare */
  int64_t values;                       /* compared */
  int64_t hashed;              /* steps whose hashes of rollout or weights both lines have */
  int64_t hash_step;           /* first one at which such a hash differs, -1: none */
  int64_t step;                /* first one at which any value differs, -1: none */
  char key[128], a[80], b[80]; /* the first such key, and both values */
  int64_t more;                /* further keys that differ in that step */
  int64_t answer_step;         /* step of the answers below, -1: none differs, or none was kept */
  int64_t answers_to;          /* kept answers agree up to this step, -1: none compared */
  tlt_answer_difference answer;
} tlt_identity;

/* Answers are looked for from the first step with another rollout hash on. TLT_ENOMEM. */
tlt_status tlt_identity_find(tlt_run_log *a, tlt_run_log *b, tlt_identity *out, tlt_err *err);

/* The finding in one to three sentences; names: what to call the two runs. */
void tlt_identity_say(const tlt_identity *i, const char *a, const char *b, tlt_text *out);

/* ---- table --------------------------------------------------------------------------------------
 */

typedef struct tlt_compare_row {
  char name[TLT_COMPARE_TEXT];
  char text[TLT_COMPARE_RUNS][TLT_COMPARE_TEXT]; /* "-": the run does not tell */
  char difference[TLT_COMPARE_RUNS]
                 [TLT_COMPARE_TEXT]; /* against the first; "" where none applies */
} tlt_compare_row;

typedef struct tlt_comparison {
  int n; /* runs */
  tlt_run_log *run[TLT_COMPARE_RUNS];
  char name[TLT_COMPARE_RUNS]
           [TLT_COMPARE_TEXT];             /* last part of the path; with a number when taken */
  tlt_identity identity[TLT_COMPARE_RUNS]; /* of each with the first; [0] unused */
  tlt_compare_row *row;                    /* figures */
  int n_rows, room;
  tlt_compare_row *config; /* keys that differ; no differences */
  int n_config, config_room;
} tlt_comparison;

/* Read 2 to TLT_COMPARE_RUNS run directories. TLT_EUSAGE: another number; errors of
 * tlt_run_log_open. Free with tlt_comparison_free, also after an error. */
tlt_status tlt_comparison_open(tlt_comparison *c, const char *const *paths, int n, tlt_err *err);
void tlt_comparison_free(tlt_comparison *c);

/* The object of a page of several runs (report/page/README.md). Rows of the logs may be thinned. */
tlt_status tlt_comparison_payload(tlt_comparison *c, tlt_json_writer *w, tlt_err *err);
/* The same figures for programs: runs, identity, table, configuration. */
tlt_status tlt_comparison_json(const tlt_comparison *c, tlt_json_writer *w, tlt_err *err);

#endif
