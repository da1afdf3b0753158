/* tokenizer_config.json (names of special tokens, chat template) and chat_template.jinja. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "tokenizer/chat.h"
#include "tokenizer/internal.h"

static const char *const token_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};
enum { TOKEN_NAMES = sizeof token_names / sizeof *token_names };

/* Transformers writes "no limit" as an integer of 31 digits, which is no JSON integer for us. No
 * number of this file is read, so digits beyond the 18th become spaces. */
static void shorten_integers(char *text, size_t n) {
  bool quoted = false;
  size_t digits = 0;
  for (size_t i = 0; i < n; i++) {
    if (quoted && text[i] == '\\') i++;
    else if (text[i] == '"') quoted = !quoted;
    else if (!quoted && isdigit((unsigned char)text[i])) digits++;
    else digits = 0;
    if (digits > 18) text[i] = ' ';
  }
}

static tlt_status load_json(const char *path, json_t **json, tlt_err *err) {
  char *text;
  size_t n;
  tlt_status status = tlt_file_load(path, TLT_CONFIG_FILE_MAX, &text, &n, err);
  if (status) return status;
  shorten_integers(text, n);
  status = tlt_json_parse(text, n, path, 0, json, err);
  tlt_free(text);
  if (!status && !json_is_object(*json)) {
    json_decref(*json);
    *json = NULL;
    return tlt_fail(err, TLT_EDATA, "%s: expected an object", path);
  }
  return status;
}

/* "text" or {"content": "text"}. */
static const char *token_text(const json_t *value) {
  if (json_is_object(value)) value = json_object_get(value, "content");
  return json_string_value(value);
}

static tlt_status load_names(tlt_tokenizer *t, const tlt_json_node *top, tlt_err *err) {
  t->names = tlt_arena_alloc(&t->arena, TOKEN_NAMES * sizeof *t->names);
  if (!t->names) return tlt_fail_nomem(err, "tokenizer configuration", sizeof *t->names);
  for (int i = 0; i < TOKEN_NAMES; i++) {
    if (!tlt_json_has(top, token_names[i])) continue;
    const char *text = token_text(json_object_get(top->value, token_names[i]));
    if (!text)
      return tlt_json_fail(top, token_names[i], err, "expected a string or an added token");
    char *copy = tlt_arena_strndup(&t->arena, text, strlen(text));
    if (!copy) return tlt_fail_nomem(err, "tokenizer configuration", strlen(text));
    t->names[t->n_names++] = (tlt_special_name){token_names[i], copy};
  }
  return TLT_OK;
}

/* A template is a string, or a list of {"name", "template"} of which "default" is taken. */
static tlt_status load_inline_template(tlt_tokenizer *t, const tlt_json_node *top, tlt_err *err) {
  char name[TLT_PATH_MAX + 32];
  const json_t *value = json_object_get(top->value, "chat_template"), *named;
  const char *text = json_string_value(value);
  size_t i;
  if (json_is_array(value)) json_array_foreach((json_t *)value, i, named) {
      const char *label = json_string_value(json_object_get(named, "name"));
      if (label && strcmp(label, "default") == 0)
        text = json_string_value(json_object_get(named, "template"));
    }
  if (!text)
    return tlt_json_fail(top, "chat_template", err, "expected a string or a list with \"default\"");
  snprintf(name, sizeof name, "%s: chat_template", top->file);
  return tlt_chat_create(name, text, &t->chat, err);
}

static tlt_status load_template_file(tlt_tokenizer *t, const char *path, tlt_err *err) {
  char *text;
  size_t n;
  tlt_status status = tlt_file_load(path, TLT_TEMPLATE_MAX, &text, &n, err);
  if (status) return status;
  if (strlen(text) != n)
    status = tlt_fail(err, TLT_EDATA, "%s: offset %zu: got NUL, expected text", path, strlen(text));
  if (!status) status = tlt_chat_create(path, text, &t->chat, err);
  tlt_free(text);
  return status;
}

tlt_status tlt_load_config(tlt_tokenizer *t, const char *dir, tlt_err *err) {
  char config[TLT_PATH_MAX], template[TLT_PATH_MAX];
  json_t *json = NULL;
  tlt_status status = TLT_OK;
  tlt_path_join(config, dir, "tokenizer_config.json");
  tlt_path_join(template, dir, "chat_template.jinja");
  bool has_file = tlt_path_exists(template);
  if (tlt_path_exists(config)) {
    status = load_json(config, &json, err);
    tlt_json_node top = tlt_json_top(json, config, 0);
    if (!status) status = load_names(t, &top, err);
    if (!status && !has_file && tlt_json_has(&top, "chat_template"))
      status = load_inline_template(t, &top, err);
    json_decref(json);
  }
  return status || !has_file ? status : load_template_file(t, template, err);
}
