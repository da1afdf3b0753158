/* The chat template of a tokenizer. */
#ifndef TLT_TOKENIZER_CHAT_H
#define TLT_TOKENIZER_CHAT_H

#include <jansson.h>

#include "tlt/tokenizer.h"
#include "tokenizer/buffer.h"

typedef struct tlt_chat tlt_chat;

/* Take a template from its text; it is parsed at once, but a fault is only reported when the
 * template is used, so that a tokenizer with an unusable template still opens. */
tlt_status tlt_chat_create(const char *name, const char *text, tlt_chat **out, tlt_err *err);
void tlt_chat_free(tlt_chat *chat);

/* Render with messages as JSON objects and further variables (may be NULL) that override the usual
 * ones; appends the text and its taint flags. */
tlt_status tlt_chat_render_json(const tlt_tokenizer *t, const json_t *messages,
                                const json_t *variables, bool add_generation_prompt,
                                tlt_bytes *text, tlt_bytes *taint, tlt_err *err);

#endif
