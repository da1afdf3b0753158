/* The job behind `tlt check PATH`: is this model, drafter, dataset, checkpoint or run whole? */
#ifndef TLT_APP_CHECK_H
#define TLT_APP_CHECK_H

#include "tlt/status.h"

enum { TLT_CHECK_TEXT = 512 };

/* Looks at what PATH is and verifies all of it: a model directory (configuration, tokenizer, chat
 * template, every tensor read for NaN), a drafter directory, a .safetensors file, a .jsonl dataset,
 * a checkpoint directory (checksums), a run directory (configuration, metrics lines, newest
 * checkpoint). On TLT_OK `report` says what was found, in one line. */
tlt_status tlt_check_path(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err);

#endif
