/* Chat templates of a tokenizer: loading, rendering, encoding with taint. */
#include "tokenizer/chat.h"

#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/jinja.h"
#include "tokenizer/text.h"

struct tlt_chat {
  tlt_jinja *program; /* NULL: the plain format, or a template that did not parse */
  bool broken;
  tlt_err fault; /* why, when broken */
};

tlt_status tlt_chat_create(const char *name, const char *text, tlt_chat **out, tlt_err *err) {
  *out = NULL;
  tlt_chat *chat = tlt_calloc(1, sizeof *chat);
  if (!chat) return tlt_fail_nomem(err, "chat template", sizeof *chat);
  tlt_status status = TLT_OK;
  size_t n = text ? strlen(text) : 0;
  if (n > TLT_TEMPLATE_MAX)
    status = tlt_fail(&chat->fault, TLT_EDATA, "%s: got %zu bytes, expected at most %d", name, n,
                      TLT_TEMPLATE_MAX);
  else if (text) status = tlt_jinja_compile(name, text, n, &chat->program, &chat->fault);
  if (status && status != TLT_EDATA) {
    tlt_chat_free(chat);
    return tlt_fail_nomem(err, "chat template", n);
  }
  chat->broken = status != TLT_OK;
  *out = chat;
  return TLT_OK;
}

void tlt_chat_free(tlt_chat *chat) {
  if (!chat) return;
  tlt_jinja_free(chat->program);
  tlt_free(chat);
}

bool tlt_tokenizer_has_template(const tlt_tokenizer *t) {
  return t->chat != NULL;
}

tlt_status tlt_tokenizer_set_template(tlt_tokenizer *t, const char *name, const char *text,
                                      tlt_err *err) {
  tlt_chat *chat;
  tlt_status status = tlt_chat_create(name, text, &chat, err);
  if (status) return status;
  if (chat->broken) {
    status = tlt_fail(err, chat->fault.status, "%s", chat->fault.text);
    tlt_chat_free(chat);
    return status;
  }
  tlt_chat_free(t->chat);
  t->chat = chat;
  return TLT_OK;
}

/* ---- rendering ---- */

static bool add_tainted(tlt_bytes *text, tlt_bytes *taint, const char *s, size_t n, uint8_t flag) {
  if (!tlt_bytes_add(text, s, n) || !tlt_bytes_reserve(taint, n)) return false;
  memset(taint->data + taint->n, flag, n);
  taint->n += n;
  return true;
}

/* "role: content\n" for each message, then "assistant:". */
static tlt_status render_plain(const json_t *messages, bool add_generation_prompt, tlt_bytes *text,
                               tlt_bytes *taint, tlt_err *err) {
  bool ok = true;
  for (size_t i = 0; ok && i < json_array_size(messages); i++) {
    const json_t *message = json_array_get(messages, i);
    const json_t *role = json_object_get(message, "role"),
                 *content = json_object_get(message, "content");
    if (!json_is_string(role) || !json_is_string(content))
      return tlt_fail(err, TLT_EDATA, "message %zu: expected strings \"role\" and \"content\"", i);
    ok = add_tainted(text, taint, json_string_value(role), json_string_length(role), 1) &&
         add_tainted(text, taint, ": ", 2, 0) &&
         add_tainted(text, taint, json_string_value(content), json_string_length(content), 1) &&
         add_tainted(text, taint, "\n", 1, 0);
  }
  if (ok && add_generation_prompt) ok = add_tainted(text, taint, "assistant:", 10, 0);
  return ok ? TLT_OK : tlt_fail_nomem(err, "rendered chat", text->n);
}

/* What transformers passes: the messages, tools and documents (none), the names of special tokens;
 * later entries override earlier ones. */
enum { MAX_VARIABLES = 64 };

static tlt_status render_program(const tlt_tokenizer *t, const json_t *messages,
                                 const json_t *variables, bool add_generation_prompt,
                                 tlt_bytes *text, tlt_bytes *taint, tlt_err *err) {
  tlt_jinja_var vars[MAX_VARIABLES];
  json_t *names[MAX_VARIABLES] = {0};
  size_t n = 0, n_names = 0;
  tlt_status status = TLT_OK;
  vars[n++] = (tlt_jinja_var){"tools", json_null(), false};
  vars[n++] = (tlt_jinja_var){"documents", json_null(), false};
  vars[n++] = (tlt_jinja_var){"messages", messages, true};
  vars[n++] = (tlt_jinja_var){"add_generation_prompt", json_boolean(add_generation_prompt), false};
  for (size_t i = 0; i < t->n_names && !status; i++) {
    names[n_names] = json_string(t->names[i].text);
    if (!names[n_names]) status = tlt_fail_nomem(err, "chat template", 64);
    vars[n++] = (tlt_jinja_var){t->names[i].name, names[n_names++], false};
  }
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)variables, key, value) {
    if (n == MAX_VARIABLES)
      status = tlt_fail(err, TLT_EUSAGE, "more than %d template variables", MAX_VARIABLES);
    else vars[n++] = (tlt_jinja_var){key, value, true};
    if (status) break;
  }
  if (!status) status = tlt_jinja_render(t->chat->program, vars, n, text, taint, err);
  for (size_t i = 0; i < n_names; i++) json_decref(names[i]);
  return status;
}

tlt_status tlt_chat_render_json(const tlt_tokenizer *t, const json_t *messages,
                                const json_t *variables, bool add_generation_prompt,
                                tlt_bytes *text, tlt_bytes *taint, tlt_err *err) {
  if (!t->chat)
    return tlt_fail(err, TLT_EDATA,
                    "the tokenizer has no chat template, expected "
                    "chat_template.jinja or a chat_template in tokenizer_config.json");
  if (t->chat->broken) return tlt_fail(err, t->chat->fault.status, "%s", t->chat->fault.text);
  if (!t->chat->program) return render_plain(messages, add_generation_prompt, text, taint, err);
  return render_program(t, messages, variables, add_generation_prompt, text, taint, err);
}

/* ---- entry points ---- */

static tlt_status message_fault(const tlt_message *m, size_t i, tlt_err *err) {
  const char *const fields[] = {m->role, m->content}, *const names[] = {"role", "content"};
  for (int k = 0; k < 2; k++) {
    if (!fields[k]) return tlt_fail(err, TLT_EDATA, "message %zu: %s: missing", i, names[k]);
    size_t n = strlen(fields[k]), bad = tlt_utf8_check(fields[k], n);
    if (bad < n)
      return tlt_fail(err, TLT_EDATA,
                      "message %zu: %s: offset %zu: got byte 0x%02x, expected UTF-8", i, names[k],
                      bad, (unsigned char)fields[k][bad]);
  }
  return TLT_OK;
}

static tlt_status messages_json(const tlt_message *messages, size_t count, json_t **out,
                                tlt_err *err) {
  json_t *array = json_array();
  tlt_status status = array ? TLT_OK : tlt_fail_nomem(err, "chat messages", 64);
  for (size_t i = 0; i < count && !status; i++) {
    status = message_fault(&messages[i], i, err);
    if (status) break;
    json_t *message =
        json_pack("{s:s,s:s}", "role", messages[i].role, "content", messages[i].content);
    if (!message || json_array_append_new(array, message) < 0)
      status = tlt_fail_nomem(err, "chat messages", strlen(messages[i].content));
  }
  if (status) json_decref(array);
  else *out = array;
  return status;
}

static tlt_status render(const tlt_tokenizer *t, const tlt_message *messages, size_t count,
                         bool add_generation_prompt, tlt_bytes *text, tlt_bytes *taint,
                         tlt_err *err) {
  json_t *json = NULL;
  tlt_status status = messages_json(messages, count, &json, err);
  if (!status)
    status = tlt_chat_render_json(t, json, NULL, add_generation_prompt, text, taint, err);
  if (!status && !tlt_bytes_add(text, "", 1))
    status = tlt_fail_nomem(err, "rendered chat", text->n);
  if (!status) text->n--; /* room for the NUL, which does not count */
  json_decref(json);
  return status;
}

tlt_status tlt_chat_render(const tlt_tokenizer *t, const tlt_message *messages, size_t count,
                           bool add_generation_prompt, char **text, size_t *n, tlt_err *err) {
  tlt_bytes out = {0}, taint = {0};
  *text = NULL, *n = 0;
  tlt_status status = render(t, messages, count, add_generation_prompt, &out, &taint, err);
  tlt_bytes_free(&taint);
  if (status) tlt_bytes_free(&out);
  else *text = out.data, *n = out.n;
  return status;
}

tlt_status tlt_chat_encode(const tlt_tokenizer *t, const tlt_message *messages, size_t count,
                           bool add_generation_prompt, int32_t **ids, size_t *n, tlt_err *err) {
  tlt_bytes text = {0}, taint = {0};
  *ids = NULL, *n = 0;
  tlt_status status = render(t, messages, count, add_generation_prompt, &text, &taint, err);
  tlt_special_rule rule = {true, (const uint8_t *)taint.data};
  if (!status) status = tlt_encode_masked(t, text.data, text.n, rule, ids, n, err);
  tlt_bytes_free(&text);
  tlt_bytes_free(&taint);
  return status;
}
