/* Prompts of `tlt generate`: one text, or a JSONL file, encoded to ids. */
#ifndef TLT_APP_PROMPTS_H
#define TLT_APP_PROMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tlt/status.h"
#include "tlt/tokenizer.h"

enum { TLT_PROMPTS_MAX = 10000000 };

typedef struct tlt_prompt {
  char *id; /* of the line, else its 0-based number */
  int32_t *tokens;
  int n_tokens;
} tlt_prompt;

typedef struct tlt_prompts {
  tlt_prompt *at;
  int count;
  int longest; /* tokens of the longest prompt */
} tlt_prompts;

/* One prompt with id "0". chat: through the chat template as a user message. */
tlt_status tlt_prompts_of_text(const tlt_tokenizer *t, const char *text, bool chat,
                               tlt_prompts *out, tlt_err *err);

/* {"id"?, "prompt": text | [{"role","content"}...] | [ids]} lines. Texts go through the chat
 * template with chat; messages always do; ids are taken as they are. Errors: TLT_EDATA file:line.
 */
tlt_status tlt_prompts_of_file(const tlt_tokenizer *t, const char *path, bool chat,
                               tlt_prompts *out, tlt_err *err);

void tlt_prompts_free(tlt_prompts *p);

#endif
