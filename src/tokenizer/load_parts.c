/* Normalizer, pre-tokenizer, post-processor and decoder of tokenizer.json. Sequences may nest; what
 * is not known is refused by its JSON path. */
#include <string.h>

#include "io/json.h"
#include "tokenizer/internal.h"

typedef tlt_json_node node;

/* Calls one() for the part or, if it is a Sequence, for each element of its `list`. The depth of
 * the JSON bounds the recursion. */
typedef tlt_status (*part_fn)(tlt_tokenizer *t, const node *part, const char *type, tlt_err *err);

static tlt_status each_part(tlt_tokenizer *t, const node *part, const char *list, part_fn one,
                            tlt_err *err) {
  const char *type;
  tlt_status status = tlt_json_string(part, "type", &type, err);
  if (status || strcmp(type, "Sequence") != 0) return status ? status : one(t, part, type, err);
  node all;
  status = tlt_json_array(part, list, &all, err);
  for (size_t i = 0; !status && i < json_array_size(all.value); i++) {
    node at = tlt_json_element(&all, i);
    status = each_part(t, &at, list, one, err);
  }
  return status;
}

static tlt_status refuse_type(const node *part, const char *type, const char *known, tlt_err *err) {
  return tlt_json_fail(part, "type", err, "got \"%s\", expected %s", type, known);
}

static tlt_status load_normalizer(tlt_tokenizer *t, const node *part, const char *type,
                                  tlt_err *err) {
  if (strcmp(type, "NFC") != 0) return refuse_type(part, type, "\"NFC\" or \"Sequence\"", err);
  t->nfc = true;
  return TLT_OK;
}

/* ---- pre-tokenizer ---- */

static tlt_status add_step(tlt_tokenizer *t, const node *part, tlt_step step, tlt_err *err) {
  if (t->n_steps == TLT_STEPS_MAX) {
    tlt_regex_free(step.regex);
    return tlt_json_fail(part, NULL, err, "got more than %d pre-tokenizer steps", TLT_STEPS_MAX);
  }
  t->steps[t->n_steps++] = step;
  return TLT_OK;
}

static tlt_status add_regex(tlt_tokenizer *t, const node *part, const char *pattern, tlt_step step,
                            tlt_err *err) {
  tlt_status status = tlt_regex_compile(pattern, strlen(pattern), &step.regex, err);
  if (status == TLT_ENOMEM) return status;
  if (status) {
    char text[TLT_ERR_TEXT];
    memcpy(text, err ? err->text : "", err ? sizeof text : 1);
    return tlt_json_fail(part, "pattern", err, "%s", text);
  }
  step.kind = TLT_STEP_REGEX;
  return add_step(t, part, step, err);
}

static tlt_status load_byte_level(tlt_tokenizer *t, const node *part, tlt_err *err) {
  bool prefix, regex;
  tlt_status status = tlt_json_bool_or(part, "add_prefix_space", true, &prefix, err);
  if (!status) status = tlt_json_bool_or(part, "use_regex", true, &regex, err);
  if (!status && prefix) status = add_step(t, part, (tlt_step){.kind = TLT_STEP_PREFIX_SPACE}, err);
  if (!status && regex)
    status = add_regex(t, part, tlt_gpt2_pattern, (tlt_step){.behavior = TLT_SPLIT_ISOLATED}, err);
  t->byte_level = true;
  return status;
}

static tlt_status load_behavior(const node *part, tlt_behavior *out, tlt_err *err) {
  static const char *const names[] = {
      [TLT_SPLIT_REMOVED] = "Removed",
      [TLT_SPLIT_ISOLATED] = "Isolated",
      [TLT_SPLIT_WITH_PREVIOUS] = "MergedWithPrevious",
      [TLT_SPLIT_WITH_NEXT] = "MergedWithNext",
      [TLT_SPLIT_CONTIGUOUS] = "Contiguous",
  };
  const char *name;
  tlt_status status = tlt_json_string(part, "behavior", &name, err);
  if (status) return status;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i], name) == 0) {
      *out = (tlt_behavior)i;
      return TLT_OK;
    }
  return tlt_json_fail(part, "behavior", err,
                       "got \"%s\", expected Removed, Isolated, "
                       "MergedWithPrevious, MergedWithNext or Contiguous",
                       name);
}

static tlt_status load_split(tlt_tokenizer *t, const node *part, tlt_err *err) {
  tlt_step step = {.kind = TLT_STEP_LITERAL};
  node pattern;
  const char *text;
  tlt_status status = load_behavior(part, &step.behavior, err);
  if (!status) status = tlt_json_bool_or(part, "invert", false, &step.invert, err);
  if (!status) status = tlt_json_object(part, "pattern", &pattern, err);
  if (status) return status;
  bool regex = tlt_json_has(&pattern, "Regex");
  status = tlt_json_string(&pattern, regex ? "Regex" : "String", &text, err);
  if (status) return status;
  if (!*text) return tlt_json_fail(part, "pattern", err, "got an empty pattern");
  if (regex) return add_regex(t, part, text, step, err);
  step.n_literal = strlen(text);
  step.literal = tlt_arena_strndup(&t->arena, text, step.n_literal);
  if (!step.literal) return tlt_fail_nomem(err, "pattern", step.n_literal);
  return add_step(t, part, step, err);
}

static tlt_status load_digits(tlt_tokenizer *t, const node *part, tlt_err *err) {
  bool individual;
  tlt_status status = tlt_json_bool_or(part, "individual_digits", false, &individual, err);
  if (status) return status;
  tlt_step step = {.kind = TLT_STEP_DIGITS,
                   .behavior = individual ? TLT_SPLIT_ISOLATED : TLT_SPLIT_CONTIGUOUS};
  return add_step(t, part, step, err);
}

/* Steps after ByteLevel would see its byte alphabet instead of the text. */
static tlt_status load_pre_tokenizer(tlt_tokenizer *t, const node *part, const char *type,
                                     tlt_err *err) {
  if (t->byte_level)
    return tlt_json_fail(part, "type", err, "got \"%s\" after ByteLevel, expected it to be last",
                         type);
  if (strcmp(type, "ByteLevel") == 0) return load_byte_level(t, part, err);
  if (strcmp(type, "Split") == 0) return load_split(t, part, err);
  if (strcmp(type, "Digits") == 0) return load_digits(t, part, err);
  return refuse_type(part, type, "\"ByteLevel\", \"Split\", \"Digits\" or \"Sequence\"", err);
}

/* ---- post-processor and decoder: only checked ---- */

static tlt_status check_post_processor(tlt_tokenizer *t, const node *part, const char *type,
                                       tlt_err *err) {
  (void)t;
  if (strcmp(type, "ByteLevel") == 0 || strcmp(type, "TemplateProcessing") == 0) return TLT_OK;
  return refuse_type(part, type, "\"ByteLevel\", \"TemplateProcessing\" or \"Sequence\"", err);
}

static tlt_status check_decoder(tlt_tokenizer *t, const node *part, const char *type,
                                tlt_err *err) {
  (void)t;
  if (strcmp(type, "ByteLevel") == 0) return TLT_OK;
  return refuse_type(part, type, "\"ByteLevel\" or \"Sequence\"", err);
}

static tlt_status load_part(tlt_tokenizer *t, const node *top, const char *key, const char *list,
                            part_fn one, tlt_err *err) {
  node part;
  if (!tlt_json_has(top, key)) return TLT_OK;
  tlt_status status = tlt_json_object(top, key, &part, err);
  return status ? status : each_part(t, &part, list, one, err);
}

tlt_status tlt_load_parts(tlt_tokenizer *t, const node *top, tlt_err *err) {
  tlt_status status = load_part(t, top, "normalizer", "normalizers", load_normalizer, err);
  if (!status)
    status = load_part(t, top, "pre_tokenizer", "pretokenizers", load_pre_tokenizer, err);
  if (!status)
    status = load_part(t, top, "post_processor", "processors", check_post_processor, err);
  if (!status) status = load_part(t, top, "decoder", "decoders", check_decoder, err);
  if (!status && !t->byte_level)
    return tlt_json_fail(top, "pre_tokenizer", err, "got no ByteLevel, expected byte-level BPE");
  if (!status && !tlt_json_has(top, "decoder"))
    return tlt_json_fail(top, "decoder", err, "got none, expected \"ByteLevel\"");
  return status;
}
