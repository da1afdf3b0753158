/* Private to src/io/yaml*.c: one value, between YAML node, field and text. */
#ifndef TLT_IO_YAML_VALUE_H
#define TLT_IO_YAML_VALUE_H

#include "io/yaml_int.h"

/* Store node into field by row; a string already there is freed first. `place` begins the error.
 * TLT_EUSAGE (field unchanged) or TLT_ENOMEM. */
tlt_status tlt__yaml_store(const tlt_yaml_row *row, yaml_document_t *doc, const yaml_node_t *node,
                           void *field, const char *place, tlt_err *err);

/* Append what the row accepts: "integer in 1 .. 8". */
void tlt__yaml_expected(const tlt_yaml_row *row, tlt_text *t);

/* Append field as YAML on one line that tlt__yaml_store reads back to the same value. */
void tlt__yaml_print(const tlt_yaml_row *row, const void *field, tlt_text *t);

#endif
