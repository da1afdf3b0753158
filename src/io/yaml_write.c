/* A configuration back to YAML text, and the differences of two; see yaml.h. */
#include <string.h>

#include "io/yaml_int.h"
#include "io/yaml_value.h"

static void indent(int levels, tlt_text *out) {
  for (int i = 0; i < levels; i++) tlt_text_add(out, "  ");
}

/* Bytes of the sections that two keys share: up to and with the last dot before they part. */
static size_t shared_sections(const char *a, const char *b) {
  size_t shared = 0;
  for (size_t i = 0; a[i] && a[i] == b[i]; i++)
    if (a[i] == '.') shared = i + 1;
  return shared;
}

/* Opens the sections of `key` that the line before did not lie in; returns the depth of its last
 * name and where that begins. */
static int open_sections(const char *before, const char *key, const char **name, tlt_text *out) {
  size_t shared = shared_sections(before, key);
  int depth = 0;
  for (size_t i = 0; i < shared; i++) depth += key[i] == '.';
  *name = key + shared;
  for (const char *dot; (dot = strchr(*name, '.')); *name = dot + 1) {
    indent(depth++, out);
    tlt_text_add_n(out, *name, (size_t)(dot - *name));
    tlt_text_add(out, ":\n");
  }
  return depth;
}

void tlt_yaml_write(const tlt_yaml_schema *schema, const void *config, bool help, tlt_text *out) {
  char before[TLT__YAML_KEY_MAX] = "";
  tlt__yaml_slot slot;
  for (size_t i = 0, n = tlt__yaml_count(schema); i < n; i++) {
    const char *name;
    tlt__yaml_slot_at(schema, i, &slot);
    indent(open_sections(before, slot.key, &name, out), out);
    tlt_text_printf(out, "%s: ", name);
    tlt__yaml_print(slot.row, (const char *)config + slot.offset, out);
    if (help && slot.row->help) tlt_text_printf(out, "  # %s", slot.row->help);
    tlt_text_add(out, "\n");
    memcpy(before, slot.key, sizeof before);
  }
}

tlt_status tlt_yaml_diff(const tlt_yaml_schema *schema, const void *before, const void *after,
                         tlt_yaml_diff_sink sink, void *context, tlt_err *err) {
  tlt_text a = {0}, b = {0};
  tlt__yaml_slot slot;
  tlt_status status = TLT_OK;
  for (size_t i = 0, n = tlt__yaml_count(schema); i < n && status == TLT_OK; i++) {
    tlt__yaml_slot_at(schema, i, &slot);
    tlt_text_clear(&a);
    tlt_text_clear(&b);
    tlt__yaml_print(slot.row, (const char *)before + slot.offset, &a);
    tlt__yaml_print(slot.row, (const char *)after + slot.offset, &b);
    status = tlt_text_check(a.failed ? &a : &b, err);
    if (status == TLT_OK && strcmp(a.data, b.data))
      sink(context, &(tlt_yaml_difference){slot.key, a.data, b.data, slot.row->may_change});
  }
  tlt_text_free(&a);
  tlt_text_free(&b);
  return status;
}
