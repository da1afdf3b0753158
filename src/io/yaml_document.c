/* From text to a libyaml document, with everything refused that a configuration never needs. */
#include <stdio.h>
#include <string.h>

#include "io/yaml_int.h"

static void place_of(char *out, size_t size, const char *place, bool lines, size_t line) {
  if (lines) snprintf(out, size, "%s:%zu", place, line);
  else snprintf(out, size, "%s", place);
}

static size_t line_at(const char *text, size_t n, size_t offset) {
  size_t line = 1;
  for (size_t i = 0; i < n && i < offset; i++) line += text[i] == '\n';
  return line;
}

typedef struct source {
  const char *text;
  size_t n;
  const char *place;
  bool lines;
} source;

static tlt_status fail_at(const source *s, size_t line, tlt_err *err, const char *message) {
  char place[512];
  place_of(place, sizeof place, s->place, s->lines, line);
  return tlt_fail(err, TLT_EUSAGE, "%s: %s", place, message);
}

static tlt_status fail_parser(const source *s, const yaml_parser_t *p, tlt_err *err) {
  char message[256];
  if (p->error == YAML_MEMORY_ERROR)
    return tlt_fail(err, TLT_ENOMEM, "out of memory: reading %s", s->place);
  size_t line = p->error == YAML_READER_ERROR ? line_at(s->text, s->n, p->problem_offset)
                                              : p->problem_mark.line + 1;
  snprintf(message, sizeof message, "%s%s%s", p->problem ? p->problem : "not YAML",
           p->context ? " " : "", p->context ? p->context : "");
  return fail_at(s, line, err, message);
}

static void begin(yaml_parser_t *p, const source *s) {
  yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(p, (const unsigned char *)s->text, s->n);
}

/* What is wrong with this event, or NULL. */
static const char *refused(const yaml_event_t *e, int *depth, int *documents) {
  switch (e->type) {
    case YAML_ALIAS_EVENT: return "got an alias (*), which is not accepted";
    case YAML_DOCUMENT_START_EVENT:
      return ++*documents > 1 ? "got a second document, expected one" : NULL;
    case YAML_SCALAR_EVENT:
      if (e->data.scalar.anchor) return "got an anchor (&), which is not accepted";
      return e->data.scalar.tag ? "got a tag (!), which is not accepted" : NULL;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
      if (++*depth > TLT_YAML_DEPTH_MAX) return "got nesting over 32 levels";
      if (e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor != NULL
                                               : e->data.mapping_start.anchor != NULL)
        return "got an anchor (&), which is not accepted";
      if (e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.tag != NULL
                                               : e->data.mapping_start.tag != NULL)
        return "got a tag (!), which is not accepted";
      return NULL;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: --*depth; return NULL;
    default: return NULL;
  }
}

/* One pass over the events before any tree is built: bounds what building it can cost. */
static tlt_status check_events(const source *s, tlt_err *err) {
  yaml_parser_t parser;
  int depth = 0, documents = 0;
  bool ended = false;
  tlt_status status = TLT_OK;
  if (!yaml_parser_initialize(&parser))
    return tlt_fail(err, TLT_ENOMEM, "out of memory: YAML parser");
  begin(&parser, s);
  while (status == TLT_OK && !ended) {
    yaml_event_t event;
    if (!yaml_parser_parse(&parser, &event)) {
      status = fail_parser(s, &parser, err);
      break;
    }
    const char *problem = refused(&event, &depth, &documents);
    if (problem) status = fail_at(s, event.start_mark.line + 1, err, problem);
    ended = event.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&parser);
  return status;
}

tlt_status tlt__yaml_document(const char *text, size_t n, const char *place, bool lines,
                              yaml_document_t *out, tlt_err *err) {
  const source s = {text, n, place, lines};
  const char *tab = n ? memchr(text, '\t', n) : NULL;
  if (n > TLT_YAML_FILE_MAX)
    return tlt_fail(err, TLT_EUSAGE, "%s: got %zu bytes, expected at most %d", place, n,
                    TLT_YAML_FILE_MAX);
  if (tab)
    return fail_at(&s, line_at(text, n, (size_t)(tab - text)), err, "got a tab, expected spaces");
  tlt_status status = check_events(&s, err);
  if (status != TLT_OK) return status;
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser))
    return tlt_fail(err, TLT_ENOMEM, "out of memory: YAML parser");
  begin(&parser, &s);
  if (!yaml_parser_load(&parser, out)) status = fail_parser(&s, &parser, err);
  yaml_parser_delete(&parser);
  return status;
}

bool tlt__yaml_is_null(const yaml_node_t *node) {
  if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return false;
  const char *s = (const char *)node->data.scalar.value;
  return !*s || !strcmp(s, "null") || !strcmp(s, "~");
}
