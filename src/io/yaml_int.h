/* Private to src/io/yaml*.c. */
#ifndef TLT_IO_YAML_INT_H
#define TLT_IO_YAML_INT_H

#include <yaml.h>

#include "io/yaml.h"

enum { TLT__YAML_KEY_MAX = 128 };

/* Load exactly one document. `place` begins every error ("file", or "--set a.b=c"); with lines,
 * ":LINE" follows it. On TLT_OK the caller deletes the document; its root is NULL for an empty
 * text. */
tlt_status tlt__yaml_document(const char *text, size_t n, const char *place, bool lines,
                              yaml_document_t *out, tlt_err *err);

/* Row `index` of all rows of a schema in order, and its place in a configuration. */
typedef struct tlt__yaml_slot {
  const tlt_yaml_row *row;
  char key[TLT__YAML_KEY_MAX]; /* dotted, with the section */
  size_t offset;               /* in the whole configuration */
} tlt__yaml_slot;
size_t tlt__yaml_count(const tlt_yaml_schema *schema);
void tlt__yaml_slot_at(const tlt_yaml_schema *schema, size_t index, tlt__yaml_slot *out);

/* Plain `null`, `~` or an empty plain scalar. */
bool tlt__yaml_is_null(const yaml_node_t *node);

#endif
