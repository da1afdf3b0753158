/* A comparison as JSON: for the page, and for programs. */
#include <stdio.h>
#include <string.h>

#include "report/compare.h"
#include "report/payload.h"

/* ---- for the page -------------------------------------------------------------------------------
 */

static void put_verdict(tlt_json_writer *w, const tlt_comparison *c) {
  tlt_text text = {0};
  for (int i = 1; i < c->n; i++) {
    if (i > 1) tlt_text_add(&text, "\n");
    tlt_identity_say(&c->identity[i], c->name[0], c->name[i], &text);
  }
  if (text.failed) w->text.failed = true;
  else tlt_json_put_string_n(w, "verdict", text.data, text.n);
  tlt_text_free(&text);
}

static void put_notices(tlt_json_writer *w, const tlt_comparison *c) {
  tlt_json_begin(w, "notices", '[');
  for (int i = 0; i < c->n; i++)
    for (int k = 0; k < c->run[i]->notices.n; k++) {
      char text[TLT_NOTICE_TEXT + TLT_COMPARE_TEXT + 8];
      snprintf(text, sizeof text, "%s: %s", c->name[i], c->run[i]->notices.text[k]);
      tlt_json_put_string(w, NULL, text);
    }
  tlt_json_end(w, ']');
}

/* Texts of all runs, then what each differs from the first by. */
static void put_row(tlt_json_writer *w, const tlt_comparison *c, const tlt_compare_row *row) {
  tlt_json_begin(w, NULL, '[');
  tlt_json_put_string(w, NULL, row->name);
  for (int i = 0; i < c->n; i++) tlt_json_put_string(w, NULL, row->text[i]);
  for (int i = 1; i < c->n; i++) tlt_json_put_string(w, NULL, row->difference[i]);
  tlt_json_end(w, ']');
}

static void put_table(tlt_json_writer *w, const tlt_comparison *c) {
  tlt_json_begin(w, "head", '[');
  tlt_json_put_string(w, NULL, "");
  for (int i = 0; i < c->n; i++) tlt_json_put_string(w, NULL, c->name[i]);
  for (int i = 1; i < c->n; i++) {
    char name[TLT_COMPARE_TEXT + 16];
    snprintf(name, sizeof name, "%s, difference", c->name[i]);
    tlt_json_put_string(w, NULL, name);
  }
  tlt_json_end(w, ']');
  tlt_json_begin(w, "rows", '[');
  for (int i = 0; i < c->n_rows; i++) put_row(w, c, &c->row[i]);
  for (int i = 0; i < c->n_config; i++) put_row(w, c, &c->config[i]);
  tlt_json_end(w, ']');
}

tlt_status tlt_comparison_payload(tlt_comparison *c, tlt_json_writer *w, tlt_err *err) {
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "format", 1);
  tlt_json_begin(w, "compare", '{');
  put_verdict(w, c);
  put_notices(w, c);
  put_table(w, c);
  tlt_json_end(w, '}');
  tlt_json_begin(w, "runs", '[');
  for (int i = 0; i < c->n; i++) {
    tlt_json_begin(w, NULL, '{');
    tlt_payload_head(w, c->run[i]);
    tlt_payload_columns(w, c->run[i], TLT_COMPARE_COLUMNS);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
  return tlt_text_check(&w->text, err);
}

/* ---- for programs -------------------------------------------------------------------------------
 */

static void put_step(tlt_json_writer *w, const char *key, int64_t step) {
  if (step >= 0) tlt_json_put_int(w, key, step);
  else tlt_json_put_null(w, key);
}

static void put_identity(tlt_json_writer *w, const tlt_identity *i) {
  tlt_json_put_int(w, "common_steps", i->steps);
  tlt_json_put_bool(w, "identical", i->steps > 0 && i->step < 0 && i->hashed > 0);
  put_step(w, "first_differing_step", i->step);
  put_step(w, "first_differing_hash_step", i->hash_step);
  if (i->step >= 0) {
    tlt_json_put_string(w, "key", i->key);
    tlt_json_put_string(w, "first", i->a);
    tlt_json_put_string(w, "this", i->b);
  }
  if (i->answer_step < 0) return;
  tlt_json_begin(w, "answer", '{');
  tlt_json_put_int(w, "step", i->answer_step);
  tlt_json_put_int(w, "rollout", i->answer.rollout);
  tlt_json_put_int(w, "sample", i->answer.sample);
  put_step(w, "token", i->answer.token);
  put_step(w, "first_id", i->answer.token_a);
  put_step(w, "this_id", i->answer.token_b);
  tlt_json_end(w, '}');
}

static void put_rows(tlt_json_writer *w, const char *key, const tlt_compare_row *rows, int n,
                     int runs) {
  tlt_json_begin(w, key, '{');
  for (int i = 0; i < n; i++) {
    tlt_json_begin(w, rows[i].name, '[');
    for (int k = 0; k < runs; k++) tlt_json_put_string(w, NULL, rows[i].text[k]);
    tlt_json_end(w, ']');
  }
  tlt_json_end(w, '}');
}

tlt_status tlt_comparison_json(const tlt_comparison *c, tlt_json_writer *w, tlt_err *err) {
  tlt_json_begin(w, NULL, '{');
  tlt_json_begin(w, "runs", '[');
  for (int i = 0; i < c->n; i++) {
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_string(w, "name", c->name[i]);
    tlt_json_put_string(w, "path", c->run[i]->path);
    tlt_json_put_string(w, "state", c->run[i]->state);
    if (i > 0) put_identity(w, &c->identity[i]);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
  put_rows(w, "figures", c->row, c->n_rows, c->n);
  put_rows(w, "config", c->config, c->n_config, c->n);
  put_notices(w, c);
  tlt_json_end(w, '}');
  return tlt_text_check(&w->text, err);
}
