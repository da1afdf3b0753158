/* The learned drafter, trained while the run goes on, so that it follows the policy.
 *
 * It owns a replica of the drafter that it trains, apart from the one that speculation drafts with,
 * and a buffer of answers of the last two RL steps with the hidden states that the rollout computed
 * anyway (recorder.h, train/replay.h). Training happens in pieces, one micro-batch each, whenever
 * somebody calls for one: idle workers do, and where there are none a small share of the step is
 * spent on it. It rests while it brings nothing (drafting_share.h). Between rollouts the replicas
 * of all workers are averaged, measured on held-back answers, and published if no worse.
 *
 *   begin -> rollout (recording; pieces) -> end -> keep_alive -> publish        once per RL step
 *
 * Nothing here can change a token, and nothing here ends a run: without memory, or when training
 * goes astray, drafting ends with one warning and speculation goes on with the last drafter
 * published. All functions take NULL and do nothing then: a run without drafting. One thread, that
 * of the engine; a piece may be interrupted by engine steps (pool.h), whose answers then wait. */
#ifndef TLT_RL_DRAFTING_H
#define TLT_RL_DRAFTING_H

#include "base/sha256.h"
#include "events/metrics.h"
#include "rl/config.h"
#include "spec/speculator.h"

typedef struct tlt_drafting tlt_drafting;

typedef struct tlt_drafting_options {
  tlt_model *model;
  tlt_engine *engine;
  tlt_spec *spec;               /* where it is published */
  const tlt_conf_drafter *conf; /* borrowed */
  int samples;                  /* answers per group */
  int max_sample;               /* longest prompt and answer */
  float temperature;            /* of the rollout */
  int keep;                     /* newest checkpoints to keep, at least 2 */
  uint32_t seed;
} tlt_drafting_options;

/* Whether this configuration trains a drafter. */
bool tlt_drafting_wanted(const tlt_train_config *c);

/* Bytes beside the weights of the target, the buffer at its cap included. */
size_t tlt_drafting_bytes(const tlt_model *m, const tlt_drafting_options *o);

/* Start from conf->path, or from a new drafter that passes on embedding plus hidden state. A
 * drafter from a file is published at once. TLT_EDATA for a bad path, TLT_ENOMEM. */
tlt_status tlt_drafting_open(const tlt_drafting_options *o, tlt_drafting **out, tlt_err *err);
void tlt_drafting_close(tlt_drafting *d); /* waits for a checkpoint that is being written */

/* ---- recording ------------------------------------------------------------------------------- */

/* A rollout of RL step `step` over rollout indices first .. first + groups - 1 starts: record it,
 * forget answers of steps before the last one. Evaluations are not recorded. */
void tlt_drafting_begin(tlt_drafting *d, int64_t step, uint32_t first, int groups);
/* Each finished sample, from the engine's callback. */
void tlt_drafting_answered(tlt_drafting *d, const tlt_sample *sample);
void tlt_drafting_end(tlt_drafting *d);

/* ---- training -------------------------------------------------------------------------------- */

typedef enum tlt_piece {
  TLT_PIECE_NOTHING, /* nothing to learn from, every answer was seen often enough in this step,
                        training rests, or drafting has ended: do not ask again soon */
  TLT_PIECE_DONE,
  TLT_PIECE_DROPPED /* interrupted: its work is lost, which is allowed */
} tlt_piece;

/* One micro-batch and the optimizer step over it. */
tlt_piece tlt_drafting_piece(tlt_drafting *d);

/* Where idle time was short of it: pieces up to min_share of a step of `seconds`, time that could
 * not be spent being owed for later, up to two steps' worth. */
void tlt_drafting_keep_alive(tlt_drafting *d, double seconds);

/* ---- publishing ------------------------------------------------------------------------------ */

/* The other workers. Each function of a publication is called by all of them together. */
typedef struct tlt_drafting_peers {
  void *context;
  int workers;
  /* x [n] becomes the sum over all workers; the same bits everywhere. */
  tlt_status (*sum)(void *context, float *x, size_t n, tlt_err *err);
} tlt_drafting_peers;

/* Average the replicas by the number of micro-steps since the last publication, masters and
 * moments; compare with the published drafter by expected accepted length on the newest held-back
 * answers; swap it in if no worse. Only between rollouts. Measuring is not done before training
 * took twice the time of the last measurement. peers NULL: alone. Errors are those of peers->sum.
 */
tlt_status tlt_drafting_publish(tlt_drafting *d, const tlt_drafting_peers *peers, tlt_err *err);

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* The run directory's drafter/, from which a run resumed behind RL step `step` goes on (-1: from
 * the beginning): the newest good checkpoint that is not newer. A damaged one is a warning, and the
 * one before, or none, is taken. writer: this process owns the directory: newer ones are removed.
 */
void tlt_drafting_attach(tlt_drafting *d, const char *dir, int64_t step, bool writer);

/* SHA-256 of the replica's weights: it has to be that of all peers before the first publication.
 * "" for NULL. TLT_ENOMEM. */
tlt_status tlt_drafting_sha256(const tlt_drafting *d, char hex[TLT_SHA256_HEX], tlt_err *err);

/* Begin to write dir/step-N/ in the background from a copy taken now; not while one is being
 * written. The files are those of a drafter that loads anywhere (model/drafter.h) and
 * training.state (drafting_save.h): masters, moments, counters, position in the buffer. */
void tlt_drafting_save(tlt_drafting *d, int64_t step);

/* Whether one was finished since the last call: its step, and when it was written (tlt_now()). */
bool tlt_drafting_saved(tlt_drafting *d, int64_t *step, double *from, double *to);

/* Wait for the checkpoint being written, and write the newest state if that was not it. */
void tlt_drafting_finish(tlt_drafting *d, int64_t step);

/* ---- numbers --------------------------------------------------------------------------------- */

/* What one worker's drafting did in a step. Plain data that travels between workers. */
typedef struct tlt_drafting_sums {
  int64_t micro_steps, tokens, dropped;
  double seconds, seconds_kept, seconds_eval;
  int64_t rows; /* trained, at the first step of a chain; the next three are sums over them */
  double loss_hidden, loss_token, overlap;
  int64_t samples, held, buffer_tokens, bytes, versions, lost; /* of its buffer now */
} tlt_drafting_sums;

/* Of this worker since the last call; zeros for NULL. */
tlt_drafting_sums tlt_drafting_take(tlt_drafting *d);
/* Sums over workers; of versions the most. */
void tlt_drafting_sums_add(tlt_drafting_sums *to, const tlt_drafting_sums *from);

/* Keys under drafter/ (docs/metrics.md): sums over all workers, and what this one knows of
 * publishing and checkpoints. */
void tlt_drafting_metrics(tlt_drafting *d, const tlt_drafting_sums *all, tlt_metrics *m);

#endif
