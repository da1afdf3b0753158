/* Prompts of a task generator as token ids. */
#ifndef TLT_APP_TASK_PROMPTS_H
#define TLT_APP_TASK_PROMPTS_H

#include "app/prompts.h"
#include "tasks/task.h"

/* `count` distinct problems of a task's split; options as tlt_task_open_options takes them (NULL:
 * none). chat: through the chat template as a user message. Free with tlt_prompts_free. */
tlt_status tlt_prompts_of_task(const tlt_tokenizer *t, const char *task, const char *options,
                               tlt_split split, uint32_t seed, int count, bool chat,
                               tlt_prompts *out, tlt_err *err);

#endif
