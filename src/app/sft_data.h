/* Samples of supervised fine-tuning: prompt and completion as token ids, in the order of training.
 */
#ifndef TLT_APP_SFT_DATA_H
#define TLT_APP_SFT_DATA_H

#include "app/sft_config.h"
#include "tasks/problem.h"
#include "tasks/task.h"
#include "tlt/tokenizer.h"

/* Where texts come from: a file held in memory, or a task that makes each one when asked. One
 * thread at a time. */
typedef struct tlt_sft_source {
  tlt_dataset *file;
  tlt_task *task;
  tlt_task_room *room;
  size_t count;
} tlt_sft_source;

tlt_status tlt_sft_source_open(const tlt_conf_sft_data *c, tlt_sft_source *out, tlt_err *err);
void tlt_sft_source_close(tlt_sft_source *s);

/* Item i; texts are valid until the next call. */
tlt_status tlt_sft_source_at(tlt_sft_source *s, size_t i, tlt_problem *p, tlt_err *err);

/* SHA-256 of the file, or of the task's definition. */
void tlt_sft_source_hash(const tlt_sft_source *s, const tlt_conf_sft_data *c, char hex[65]);

/* A batch of encoded samples, packed as tlt_micro wants them. */
typedef struct tlt_sft_batch {
  int n, room_samples, room_tokens;
  int32_t *tokens, *cu, *prompt;
  int64_t targets, dropped; /* dropped: beyond max_tokens, in this batch */
} tlt_sft_batch;

typedef struct tlt_sft_stream {
  tlt_sft_source *source;
  const tlt_tokenizer *tokenizer;
  tlt_shuffle *order;
  int32_t eos; /* appended to each completion; -1: none */
  bool chat;
  int max_tokens;
} tlt_sft_stream;

/* Positions from .. from+n-1 of the order (epoch after epoch). Samples over max_tokens are left
 * out; an empty completion or prompt is TLT_EDATA. */
tlt_status tlt_sft_batch_load(tlt_sft_stream *s, uint64_t from, int n, tlt_sft_batch *b,
                              tlt_err *err);
void tlt_sft_batch_free(tlt_sft_batch *b);

#endif
