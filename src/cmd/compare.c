/* tlt compare: several runs side by side, and whether they are the same. */
#include "report/compare.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/commands.h"
#include "report/page.h"
#include "report/plain.h"

/* ---- table --------------------------------------------------------------------------------------
 */

/* Characters of UTF-8 as columns: names and texts are plain (report/plain.h). */
static int width_of(const char *text) {
  int n = 0;
  for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
  return n;
}

static int max_int(int a, int b) {
  return a > b ? a : b;
}

typedef struct widths {
  int name, text[TLT_COMPARE_RUNS], difference[TLT_COMPARE_RUNS];
} widths;

static widths measure(const tlt_comparison *c, const tlt_compare_row *rows, int n) {
  widths w = {0};
  for (int k = 0; k < c->n; k++) w.text[k] = width_of(c->name[k]);
  for (int i = 0; i < n; i++) {
    w.name = max_int(w.name, width_of(rows[i].name));
    for (int k = 0; k < c->n; k++) {
      w.text[k] = max_int(w.text[k], width_of(rows[i].text[k]));
      w.difference[k] = max_int(w.difference[k], width_of(rows[i].difference[k]));
    }
  }
  return w;
}

/* One line; difference may be NULL. Nothing stands behind its last word. */
static void print_line(const widths *w, int n, const char *name, char (*text)[TLT_COMPARE_TEXT],
                       char (*difference)[TLT_COMPARE_TEXT]) {
  int owed = w->name - width_of(name);
  printf("%s", name);
  for (int k = 0; k < n; k++) {
    int width = width_of(text[k]), room = w->text[k] - width + 2;
    printf("%*s%s", owed + room, "", text[k]);
    owed = w->difference[k] ? w->difference[k] + 2 : 0;
    if (!owed || !difference || !difference[k][0]) continue;
    printf("%*s%s", owed - width_of(difference[k]), "", difference[k]);
    owed = 0;
  }
  printf("\n");
}

static void print_rows(tlt_comparison *c, tlt_compare_row *rows, int n) {
  widths w = measure(c, rows, n);
  print_line(&w, c->n, "", c->name, NULL);
  for (int i = 0; i < n; i++) print_line(&w, c->n, rows[i].name, rows[i].text, rows[i].difference);
}

static tlt_status print_identity(const tlt_comparison *c, tlt_err *err) {
  tlt_text text = {0};
  for (int i = 1; i < c->n; i++) {
    tlt_identity_say(&c->identity[i], c->name[0], c->name[i], &text);
    tlt_text_add(&text, "\n");
  }
  tlt_status s = tlt_text_check(&text, err);
  if (s == TLT_OK) printf("%s", text.data);
  tlt_text_free(&text);
  return s;
}

static void print_notices(const tlt_comparison *c) {
  for (int i = 0; i < c->n; i++) {
    const tlt_notices *n = &c->run[i]->notices;
    for (int k = 0; k < n->n; k++) {
      char text[TLT_NOTICE_TEXT];
      tlt_plain_text(n->text[k], text, sizeof text);
      fprintf(stderr, "warning: %s: %s\n", c->name[i], text);
    }
    if (n->more > 0)
      fprintf(stderr, "warning: %s: and %lld more of this kind\n", c->name[i], (long long)n->more);
  }
}

static tlt_status print_table(tlt_comparison *c, tlt_err *err) {
  print_notices(c);
  print_rows(c, c->row, c->n_rows);
  if (c->n_config) {
    printf("\nconfiguration that differs\n");
    print_rows(c, c->config, c->n_config);
  } else {
    printf("\nsame configuration\n");
  }
  printf("\n");
  return print_identity(c, err);
}

/* ---- files --------------------------------------------------------------------------------------
 */

static tlt_status write_page(tlt_comparison *c, const char *path, tlt_err *err) {
  tlt_json_writer w = {0};
  tlt_status s = tlt_comparison_payload(c, &w, err);
  if (s == TLT_OK) s = tlt_page_save(path, w.text.data, w.text.n, err);
  tlt_text_free(&w.text);
  return s;
}

static tlt_status print_json(const tlt_comparison *c, tlt_err *err) {
  tlt_json_writer w = {0};
  tlt_status s = tlt_comparison_json(c, &w, err);
  if (s == TLT_OK) printf("%s\n", w.text.data);
  tlt_text_free(&w.text);
  return s;
}

static int compare_main(int argc, char **argv) {
  const char *html = NULL;
  bool json = false, help;
  const tlt_arg table[] = {
      {"html", TLT_ARG_TEXT, &html, 0, 0, "FILE", "also write a page with plots of all runs"},
      {"json", TLT_ARG_FLAG, &json, 0, 0, NULL, "print JSON instead of a table"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  tlt_status s = tlt_args_parse(&tlt_cmd_compare, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  tlt_comparison *c = tlt_calloc(1, sizeof *c);
  if (!c && s == TLT_OK) s = tlt_fail_nomem(&err, "comparison", sizeof *c);
  if (s == TLT_OK) s = tlt_comparison_open(c, (const char *const *)rest, n_rest, &err);
  if (s == TLT_OK) s = json ? print_json(c, &err) : print_table(c, &err);
  if (s == TLT_OK && html) s = write_page(c, html, &err);
  if (c) tlt_comparison_free(c);
  tlt_free(c);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_compare = {
    "compare", "RUN RUN... [--html FILE] [--json]",
    "runs side by side; where they differ, or that they are the same bit for bit", compare_main};
