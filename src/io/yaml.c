/* The schema table at work: defaults, file, sets, missing and unknown keys; see yaml.h. */
#include "io/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/yaml_int.h"
#include "io/yaml_value.h"

enum { FROM_DEFAULT = 0, FROM_SET = -1 }; /* else: line in the file */

struct tlt_yaml_origin {
  const tlt_yaml_schema *schema;
  char *file;
  long where[]; /* per row of the schema */
};

/* ---- Rows ---- */

size_t tlt__yaml_count(const tlt_yaml_schema *schema) {
  size_t n = 0;
  for (size_t s = 0; s < schema->n_sections; s++) n += schema->sections[s].n_rows;
  return n;
}

void tlt__yaml_slot_at(const tlt_yaml_schema *schema, size_t index, tlt__yaml_slot *out) {
  const tlt_yaml_section *s = schema->sections;
  while (index >= s->n_rows) index -= s++->n_rows;
  out->row = &s->rows[index];
  out->offset = s->offset + out->row->offset;
  snprintf(out->key, sizeof out->key, "%s%s%s", s->name, *s->name ? "." : "", out->row->key);
}

/* Index of the row with this dotted key; the count of rows when there is none. */
static size_t find_row(const tlt_yaml_schema *schema, const char *key) {
  size_t n = tlt__yaml_count(schema);
  tlt__yaml_slot slot;
  for (size_t i = 0; i < n; i++) {
    tlt__yaml_slot_at(schema, i, &slot);
    if (!strcmp(slot.key, key)) return i;
  }
  return n;
}

static bool is_section(const tlt_yaml_schema *schema, const char *key) {
  size_t n = tlt__yaml_count(schema), length = strlen(key);
  tlt__yaml_slot slot;
  for (size_t i = 0; i < n; i++) {
    tlt__yaml_slot_at(schema, i, &slot);
    if (!strncmp(slot.key, key, length) && slot.key[length] == '.') return true;
  }
  return false;
}

/* ---- Unknown keys ---- */

/* Levenshtein distance; names are cut at MAX_NAME. */
static int distance(const char *a, const char *b) {
  enum { MAX_NAME = 48 };
  int row[MAX_NAME + 1];
  int n = strlen(b) < MAX_NAME ? (int)strlen(b) : MAX_NAME;
  for (int j = 0; j <= n; j++) row[j] = j;
  for (int i = 0; a[i] && i < MAX_NAME; i++) {
    int diagonal = row[0];
    row[0] = i + 1;
    for (int j = 0; j < n; j++) {
      int changed = diagonal + (a[i] != b[j]);
      int shorter = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
      diagonal = row[j + 1];
      row[j + 1] = changed < shorter ? changed : shorter;
    }
  }
  return row[n];
}

/* The known key most like this one. A key that differs only by its section counts as close. */
static void nearest(const tlt_yaml_schema *schema, const char *key, char out[TLT__YAML_KEY_MAX]) {
  const char *last = strrchr(key, '.') ? strrchr(key, '.') + 1 : key;
  int best = 1 << 20;
  tlt__yaml_slot slot;
  out[0] = 0;
  for (size_t i = 0, n = tlt__yaml_count(schema); i < n; i++) {
    tlt__yaml_slot_at(schema, i, &slot);
    for (char *end = slot.key + strlen(slot.key); end; end = strrchr(slot.key, '.')) {
      *end = 0; /* the key itself, then the sections it lies in */
      const char *tail = strrchr(slot.key, '.') ? strrchr(slot.key, '.') + 1 : slot.key;
      int whole = 2 * distance(key, slot.key), moved = 2 * distance(last, tail) + 3;
      int d = whole < moved ? whole : moved;
      if (d < best) {
        best = d;
        memcpy(out, slot.key, sizeof slot.key);
      }
    }
  }
}

static tlt_status fail_unknown(const tlt_yaml_schema *schema, const char *place, const char *key,
                               tlt_err *err) {
  char close[TLT__YAML_KEY_MAX];
  nearest(schema, key, close);
  return tlt_fail(err, TLT_EUSAGE, "%s: unknown key %.100s, nearest is %s", place, key, close);
}

/* ---- Walk over a document ---- */

typedef struct walk {
  const tlt_yaml_schema *schema;
  yaml_document_t *doc;
  const char *file;
  void *out;
  tlt_yaml_origin *origin;
} walk;

static void place_at(const walk *w, const yaml_node_t *node, char *out, size_t size) {
  snprintf(out, size, "%.200s:%zu", w->file, node->start_mark.line + 1);
}

/* The text of a key, refused when it is not a word or stands twice in its mapping. */
static tlt_status read_key(const walk *w, const yaml_node_t *map, const yaml_node_pair_t *pair,
                           const char **key, tlt_err *err) {
  const yaml_node_t *node = yaml_document_get_node(w->doc, pair->key);
  char place[256];
  place_at(w, node, place, sizeof place);
  if (node->type != YAML_SCALAR_NODE || !node->data.scalar.length ||
      strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
    return tlt_fail(err, TLT_EUSAGE, "%s: expected a name before the colon", place);
  *key = (const char *)node->data.scalar.value;
  for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
    const yaml_node_t *other = yaml_document_get_node(w->doc, p->key);
    if (!strcmp((const char *)other->data.scalar.value, *key))
      return tlt_fail(err, TLT_EUSAGE, "%s: key %.100s stands already in line %zu", place, *key,
                      other->start_mark.line + 1);
  }
  return TLT_OK;
}

/* The keys of an options mapping, which no schema names. */
static tlt_status check_keys(const walk *w, const yaml_node_t *node, tlt_err *err) {
  enum { MAX_OPTIONS = 64 };
  if (node->type != YAML_MAPPING_NODE) return TLT_OK;
  const yaml_node_pair_t *p = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
  if (end - p > MAX_OPTIONS)
    return tlt_fail(err, TLT_EUSAGE, "%s:%zu: got %td keys, expected at most %d", w->file,
                    node->start_mark.line + 1, end - p, MAX_OPTIONS);
  for (; p < end; p++) {
    const char *key;
    tlt_status status = read_key(w, node, p, &key, err);
    if (status != TLT_OK) return status;
  }
  return TLT_OK;
}

static tlt_status store_value(const walk *w, size_t index, const yaml_node_t *node, tlt_err *err) {
  char place[TLT__YAML_KEY_MAX + 256];
  tlt__yaml_slot slot;
  tlt__yaml_slot_at(w->schema, index, &slot);
  snprintf(place, sizeof place, "%.200s:%zu: %s", w->file, node->start_mark.line + 1, slot.key);
  tlt_status status = check_keys(w, node, err);
  if (status != TLT_OK) return status;
  w->origin->where[index] = (long)node->start_mark.line + 1;
  return tlt__yaml_store(slot.row, w->doc, node, (char *)w->out + slot.offset, place, err);
}

static tlt_status walk_mapping(const walk *w, const yaml_node_t *map, const char *section,
                               tlt_err *err);

static tlt_status walk_pair(const walk *w, const yaml_node_t *map, const yaml_node_pair_t *pair,
                            const char *section, tlt_err *err) {
  const char *name;
  char key[2 * TLT__YAML_KEY_MAX], place[256];
  tlt_status status = read_key(w, map, pair, &name, err);
  if (status != TLT_OK) return status;
  const yaml_node_t *value = yaml_document_get_node(w->doc, pair->value);
  place_at(w, yaml_document_get_node(w->doc, pair->key), place, sizeof place);
  snprintf(key, sizeof key, "%.120s%s%.100s", section, *section ? "." : "", name);
  size_t index = find_row(w->schema, key);
  bool known =
      !strchr(name, '.') && (index < tlt__yaml_count(w->schema) || is_section(w->schema, key));
  if (!known) return fail_unknown(w->schema, place, key, err);
  if (index < tlt__yaml_count(w->schema)) return store_value(w, index, value, err);
  if (value->type == YAML_MAPPING_NODE) return walk_mapping(w, value, key, err);
  return tlt_fail(err, TLT_EUSAGE, "%s: %s: expected a mapping", place, key);
}

/* Recursion is bounded by the depth of the schema's keys. */
static tlt_status walk_mapping(const walk *w, const yaml_node_t *map, const char *section,
                               tlt_err *err) {
  tlt_status status = TLT_OK;
  const yaml_node_pair_t *p = map->data.mapping.pairs.start;
  for (; p < map->data.mapping.pairs.top && status == TLT_OK; p++)
    status = walk_pair(w, map, p, section, err);
  return status;
}

static tlt_status apply_text(const walk *w, const char *text, size_t n, tlt_err *err) {
  yaml_document_t doc;
  walk with_doc = *w;
  tlt_status status = tlt__yaml_document(text, n, w->file, true, &doc, err);
  if (status != TLT_OK) return status;
  with_doc.doc = &doc;
  const yaml_node_t *root = yaml_document_get_root_node(&doc);
  if (root && root->type == YAML_MAPPING_NODE) status = walk_mapping(&with_doc, root, "", err);
  else if (root && !tlt__yaml_is_null(root))
    status = tlt_fail(err, TLT_EUSAGE, "%s:%zu: expected a mapping of keys", w->file,
                      root->start_mark.line + 1);
  yaml_document_delete(&doc);
  return status;
}

/* ---- Defaults and sets: one value from its text ---- */

static tlt_status apply_value(const walk *w, size_t index, const char *text, const char *place,
                              tlt_err *err) {
  yaml_document_t doc;
  walk with_doc = *w;
  tlt__yaml_slot slot;
  tlt__yaml_slot_at(w->schema, index, &slot);
  tlt_status status = tlt__yaml_document(text, strlen(text), place, false, &doc, err);
  if (status != TLT_OK) return status;
  with_doc.doc = &doc;
  with_doc.file = place;
  const yaml_node_t *root = yaml_document_get_root_node(&doc);
  yaml_node_t nothing = {.type = YAML_SCALAR_NODE};
  nothing.data.scalar.value = (yaml_char_t *)"";
  nothing.data.scalar.style = YAML_PLAIN_SCALAR_STYLE;
  status = root ? check_keys(&with_doc, root, err) : TLT_OK;
  if (status == TLT_OK)
    status = tlt__yaml_store(slot.row, &doc, root ? root : &nothing, (char *)w->out + slot.offset,
                             place, err);
  yaml_document_delete(&doc);
  return status;
}

static tlt_status apply_defaults(const walk *w, tlt_err *err) {
  tlt__yaml_slot slot;
  for (size_t i = 0, n = tlt__yaml_count(w->schema); i < n; i++) {
    tlt__yaml_slot_at(w->schema, i, &slot);
    if (!slot.row->fallback) continue;
    tlt_status status = apply_value(w, i, slot.row->fallback, slot.key, err);
    if (status == TLT_EUSAGE) /* the table itself is wrong */
      return tlt_fail(err, TLT_EINTERNAL, "default of %s", err ? err->text : slot.key);
    if (status != TLT_OK) return status;
  }
  return TLT_OK;
}

static tlt_status apply_set(const walk *w, const char *set, tlt_err *err) {
  char key[TLT__YAML_KEY_MAX], place[256];
  const char *equals = strchr(set, '=');
  snprintf(place, sizeof place, "--set %.200s", set);
  if (!equals || equals == set || (size_t)(equals - set) >= sizeof key)
    return tlt_fail(err, TLT_EUSAGE, "%s: expected KEY=VALUE", place);
  memcpy(key, set, (size_t)(equals - set));
  key[equals - set] = 0;
  size_t index = find_row(w->schema, key);
  if (index == tlt__yaml_count(w->schema)) {
    if (is_section(w->schema, key))
      return tlt_fail(err, TLT_EUSAGE, "%s: %s is a section: set its keys one by one", place, key);
    return fail_unknown(w->schema, place, key, err);
  }
  w->origin->where[index] = FROM_SET;
  return apply_value(w, index, equals + 1, place, err);
}

static tlt_status check_required(const walk *w, tlt_err *err) {
  tlt__yaml_slot slot;
  for (size_t i = 0, n = tlt__yaml_count(w->schema); i < n; i++) {
    tlt__yaml_slot_at(w->schema, i, &slot);
    if (slot.row->fallback || w->origin->where[i] != FROM_DEFAULT) continue;
    tlt_text expected = {0};
    tlt__yaml_expected(slot.row, &expected);
    tlt_status status = tlt_fail(err, TLT_EUSAGE, "%s: %s: missing, expected %s", w->file, slot.key,
                                 expected.data ? expected.data : "a value");
    tlt_text_free(&expected);
    return status;
  }
  return TLT_OK;
}

/* ---- Entry ---- */

static bool is_text(tlt_yaml_type type) {
  return type == TLT_YAML_STRING || type == TLT_YAML_STRING_OR_NULL || type == TLT_YAML_OPTIONS;
}

static void clear_strings(const tlt_yaml_schema *schema, void *config, bool release) {
  tlt__yaml_slot slot;
  for (size_t i = 0, n = tlt__yaml_count(schema); i < n; i++) {
    tlt__yaml_slot_at(schema, i, &slot);
    if (!is_text(slot.row->type)) continue;
    char **field = (char **)(void *)((char *)config + slot.offset);
    if (release) tlt_free(*field);
    *field = NULL;
  }
}

void tlt_yaml_free(const tlt_yaml_schema *schema, void *config) {
  clear_strings(schema, config, true);
}

static tlt_yaml_origin *make_origin(const tlt_yaml_schema *schema, const char *file) {
  tlt_yaml_origin *o = tlt_calloc(1, sizeof *o + tlt__yaml_count(schema) * sizeof *o->where);
  if (!o) return NULL;
  o->schema = schema;
  if ((o->file = tlt_strdup(file))) return o;
  tlt_free(o);
  return NULL;
}

tlt_status tlt_yaml_parse(const tlt_yaml_schema *schema, const char *text, size_t n,
                          const char *file, const char *const *sets, int n_sets, void *out,
                          tlt_yaml_origin **origin, tlt_err *err) {
  tlt_yaml_origin *where = make_origin(schema, file);
  if (origin) *origin = NULL;
  if (!where) return tlt_fail_nomem(err, file, sizeof *where);
  const walk w = {.schema = schema, .file = file, .out = out, .origin = where};
  clear_strings(schema, out, false);
  tlt_status status = apply_defaults(&w, err);
  if (status == TLT_OK) status = apply_text(&w, text, n, err);
  for (int i = 0; i < n_sets && status == TLT_OK; i++) status = apply_set(&w, sets[i], err);
  if (status == TLT_OK) status = check_required(&w, err);
  if (status != TLT_OK) tlt_yaml_free(schema, out);
  if (status == TLT_OK && origin) *origin = where;
  else tlt_yaml_origin_free(where);
  return status;
}

tlt_status tlt_yaml_load(const tlt_yaml_schema *schema, const char *path, const char *const *sets,
                         int n_sets, void *out, tlt_yaml_origin **origin, tlt_err *err) {
  char *text;
  size_t n;
  if (origin) *origin = NULL;
  tlt_status status = tlt_file_load(path, TLT_YAML_FILE_MAX, &text, &n, err);
  if (status == TLT_EDATA) { /* no such file, not a file, too large: a wrong argument */
    if (err) err->status = TLT_EUSAGE;
    status = TLT_EUSAGE;
  }
  if (status != TLT_OK) return status;
  status = tlt_yaml_parse(schema, text, n, path, sets, n_sets, out, origin, err);
  tlt_free(text);
  return status;
}

/* ---- Origin ---- */

bool tlt_yaml_given(const tlt_yaml_origin *origin, const char *key) {
  size_t i = find_row(origin->schema, key);
  return i < tlt__yaml_count(origin->schema) && origin->where[i] != FROM_DEFAULT;
}

tlt_status tlt_yaml_fail(const tlt_yaml_origin *origin, const char *key, tlt_err *err,
                         const char *format, ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  size_t i = find_row(origin->schema, key);
  long where = i < tlt__yaml_count(origin->schema) ? origin->where[i] : FROM_DEFAULT;
  if (where > 0)
    return tlt_fail(err, TLT_EUSAGE, "%s:%ld: %s: %s", origin->file, where, key, message);
  if (where == FROM_SET) return tlt_fail(err, TLT_EUSAGE, "--set %s: %s", key, message);
  return tlt_fail(err, TLT_EUSAGE, "%s: %s: %s", origin->file, key, message);
}

void tlt_yaml_origin_free(tlt_yaml_origin *origin) {
  if (!origin) return;
  tlt_free(origin->file);
  tlt_free(origin);
}
