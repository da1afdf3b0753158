/* A configuration without its schema, as key and value texts: for readers of files that another
 * version may have written. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/yaml_int.h"

typedef struct walk {
  yaml_document_t *document;
  tlt_yaml_pair_sink sink;
  void *context;
} walk;

static const char *scalar(const yaml_node_t *node) {
  return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "...";
}

static void put_list(const walk *w, const char *key, const yaml_node_t *node) {
  tlt_text text = {0};
  tlt_text_add(&text, "[");
  for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
       i++)
    tlt_text_printf(&text, "%s%s", text.n > 1 ? ", " : "",
                    scalar(yaml_document_get_node(w->document, *i)));
  tlt_text_add(&text, "]");
  if (!text.failed) w->sink(w->context, key, text.data);
  tlt_text_free(&text);
}

/* Depth is bounded by tlt__yaml_document. */
static void put_node(const walk *w, const char *key, const yaml_node_t *node) {
  if (!node) return;
  if (node->type == YAML_SCALAR_NODE) w->sink(w->context, key, scalar(node));
  if (node->type == YAML_SEQUENCE_NODE) put_list(w, key, node);
  if (node->type != YAML_MAPPING_NODE) return;
  for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
       p++) {
    char name[TLT__YAML_KEY_MAX];
    snprintf(name, sizeof name, "%s%s%s", key, *key ? "." : "",
             scalar(yaml_document_get_node(w->document, p->key)));
    put_node(w, name, yaml_document_get_node(w->document, p->value));
  }
}

tlt_status tlt_yaml_flat(const char *path, tlt_yaml_pair_sink sink, void *context, tlt_err *err) {
  char *text = NULL;
  size_t n = 0;
  yaml_document_t document;
  tlt_status s = tlt_file_load(path, TLT_YAML_FILE_MAX, &text, &n, err);
  if (s == TLT_OK) s = tlt__yaml_document(text, n, path, true, &document, err);
  if (s == TLT_OK) {
    const walk w = {&document, sink, context};
    put_node(&w, "", yaml_document_get_root_node(&document));
    yaml_document_delete(&document);
  }
  tlt_free(text);
  return s;
}
