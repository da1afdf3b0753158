/* Short forms of schema rows (io/yaml.h): section struct, field (which is also the key), default,
 * bounds, help. */
#ifndef TLT_RL_ROWS_H
#define TLT_RL_ROWS_H

#include <stddef.h>

#include "io/yaml.h"

#define TLT_ROW(kind, section, field, ...) \
  .key = #field, .type = kind, .offset = offsetof(section, field), __VA_ARGS__
#define TLT_ROW_INT(section, field, value, low, high, text) \
  TLT_ROW(TLT_YAML_INT64, section, field, .fallback = value, .min = low, .max = high, .help = text)
#define TLT_ROW_REAL(section, field, value, low, high, text) \
  TLT_ROW(TLT_YAML_DOUBLE, section, field, .fallback = value, .min = low, .max = high, .help = text)
#define TLT_ROW_ENUM(section, field, value, names, text) \
  TLT_ROW(TLT_YAML_ENUM, section, field, .fallback = value, .choices = names, .help = text)
#define TLT_ROW_TEXT(section, field, value, text) \
  TLT_ROW(TLT_YAML_STRING, section, field, .fallback = value, .help = text)
#define TLT_ROW_TEXT_OR_NULL(section, field, text) \
  TLT_ROW(TLT_YAML_STRING_OR_NULL, section, field, .fallback = "null", .help = text)
#define TLT_ROW_BOOL(section, field, value, text) \
  TLT_ROW(TLT_YAML_BOOL, section, field, .fallback = value, .help = text)

#endif
