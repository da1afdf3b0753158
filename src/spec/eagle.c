/* The learned drafter as a draft source: memory, and what it keeps of the sequences that it sees.
 */
#include "spec/eagle.h"

#include <string.h>

#include "base/mem.h"
#include "spec/eagle_internal.h"

/* ---- Groups and slots ---- */

static tlt_eagle_group **find_group(tlt_eagle *e, const void *id) {
  tlt_eagle_group **at = &e->groups;
  while (*at && (*at)->id != id) at = &(*at)->next;
  return at;
}

static void drop_group(tlt_eagle *e, tlt_eagle_group **at) {
  tlt_eagle_group *g = *at;
  for (int i = 0; i < e->o.batch; i++)
    if (e->slot[i].group == g) e->slot[i].group = NULL;
  *at = g->next;
  tlt_free(g->hidden);
  tlt_free(g);
}

/* Without memory nothing is drafted for the group. */
static void on_group_open(void *context, const tlt_spec_group *g) {
  tlt_eagle *e = context;
  tlt_eagle_group *own = tlt_calloc(1, sizeof *own);
  void *hidden = tlt_calloc_aligned((size_t)g->n_prompt, e->row_bytes);
  if (!own || !hidden) {
    tlt_free(own);
    tlt_free(hidden);
    return;
  }
  *own = (tlt_eagle_group){.id = g->id, .n_prompt = g->n_prompt, .hidden = hidden};
  own->next = e->groups;
  e->groups = own;
}

static void on_group_close(void *context, const tlt_spec_group *g) {
  tlt_eagle *e = context;
  tlt_eagle_group **at = find_group(e, g->id);
  if (*at) drop_group(e, at);
}

static void on_prompt(void *context, const tlt_spec_group *g, int pos0, int n, const void *hidden) {
  tlt_eagle *e = context;
  tlt_eagle_group *own = *find_group(e, g->id);
  if (!own || pos0 != own->known || n > own->n_prompt - pos0) return;
  memcpy((unsigned char *)own->hidden + (size_t)pos0 * e->row_bytes, hidden,
         (size_t)n * e->row_bytes);
  own->known += n;
}

static void on_open(void *context, const tlt_spec_seq *s) {
  tlt_eagle *e = context;
  if (s->slot < 0 || s->slot >= e->o.batch) return;
  e->slot[s->slot] = (tlt_eagle_slot){.group = *find_group(e, s->group->id), .sample = s->sample};
}

static void on_close(void *context, const tlt_spec_seq *s, tlt_finish finish) {
  tlt_eagle *e = context;
  (void)finish;
  if (s->slot >= 0 && s->slot < e->o.batch) e->slot[s->slot].group = NULL;
}

static tlt_eagle_slot *find(tlt_eagle *e, int slot, const tlt_spec_group *g, uint32_t sample) {
  if (slot < 0 || slot >= e->o.batch) return NULL;
  tlt_eagle_slot *at = &e->slot[slot];
  return at->group && at->group->id == g->id && at->sample == sample ? at : NULL;
}

tlt_eagle_slot *tlt__eagle_find(tlt_eagle *e, const tlt_spec_seq *s) {
  return find(e, s->slot, s->group, s->sample);
}

/* ---- What verification brought ---- */

/* Hidden states of the old last token and the accepted nodes: answer positions from the old last
 * one on. A gap, which only a step without hidden states leaves, ends the drafting. */
static void take_hidden(tlt_eagle *e, const tlt_spec_result *r, const unsigned char *hidden) {
  tlt_eagle_slot *at = find(e, r->slot, r->group, r->sample);
  int first = r->n_tokens - r->n_new - 1;
  if (!at) return;
  at->ready = false;
  at->fresh = r->n_new;
  if (!hidden || at->known != first) return;
  for (int i = 0; i <= r->n_path && first + i < e->o.max_positions; i++) {
    int row = i == 0 ? r->row0 : r->row0 + 1 + r->path[i - 1];
    memcpy(tlt__eagle_answer(e, r->slot, first + i), hidden + (size_t)row * e->row_bytes,
           e->row_bytes);
    at->known = first + i + 1;
  }
}

static void on_verified(void *context, const tlt_spec_step *step) {
  tlt_eagle *e = context;
  for (int i = 0; i < step->n; i++) take_hidden(e, &step->result[i], step->hidden);
}

static int on_behind(void *context, const tlt_spec_seq *s) {
  tlt_eagle *e = context;
  const tlt_eagle_slot *at = tlt__eagle_find(e, s);
  if (!at) return 0;
  int pairs = s->group->n_prompt + s->n_tokens - 1, behind = pairs - at->done - at->fresh;
  return behind > 0 ? behind : 0;
}

/* ---- The rest of the interface ---- */

static const char *on_failed(void *context) {
  return ((tlt_eagle *)context)->failed;
}

/* Whatever is known comes from the old target. */
static void on_refresh(void *context) {
  tlt_eagle *e = context;
  tlt_drafter_refresh(e->d, e->m->weights);
  while (e->groups) drop_group(e, &e->groups);
}

static void on_free(void *context) {
  tlt_eagle *e = context;
  if (!e) return;
  while (e->groups) drop_group(e, &e->groups);
  tlt_draft_forward_deinit(&e->forward);
  tlt_pages_free(e->memory, e->bytes);
  tlt_free(e->slot);
  tlt_free(e->token);
  tlt_free(e->hidden);
  tlt_free(e->keep);
  tlt_free(e->seq);
  tlt_drafter_free(e->d);
  tlt_free(e);
}

/* ---- Memory ---- */

static size_t take(size_t *used, size_t bytes) {
  size_t at = *used;
  *used += (bytes + 63) & ~(size_t)63;
  return at;
}

/* Places everything when e->memory is there; returns the bytes. */
static size_t lay_out(tlt_eagle *e) {
  const tlt_config *c = &e->d->weights.config;
  size_t batch = (size_t)e->o.batch, used = 0;
  tlt_kv_layout kv = tlt_kv_layout_of(1, c->kv_heads, c->head_dim, e->m->kernels->act_size);
  e->n_blocks = (e->o.max_positions + TLT_DRAFT_MAX + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
  e->row_bytes = tlt_act_stride((size_t)c->hidden) * e->m->kernels->act_size;
  e->logit_rows = e->o.max_rows < TLT__EAGLE_LOGIT_ROWS ? e->o.max_rows : TLT__EAGLE_LOGIT_ROWS;
  size_t at_kv = take(&used, batch * (size_t)e->n_blocks * kv.block_bytes);
  size_t at_answer = take(&used, batch * (size_t)e->o.max_positions * e->row_bytes);
  size_t at_kept = take(&used, batch * (1 + TLT_DRAFT_MAX) * e->row_bytes);
  size_t at_out = take(&used, (size_t)e->o.max_rows * e->row_bytes);
  size_t at_logits = take(&used, (size_t)e->logit_rows * (size_t)e->d->n_hot * sizeof(float));
  size_t at_blocks = take(&used, (size_t)e->n_blocks * sizeof(int32_t));
  if (!e->memory) return used;
  e->kv = e->memory + at_kv;
  e->answer = e->memory + at_answer;
  e->kept = e->memory + at_kept;
  e->out = e->memory + at_out;
  e->logits = (float *)(void *)(e->memory + at_logits);
  e->blocks = (int32_t *)(void *)(e->memory + at_blocks);
  for (int i = 0; i < e->n_blocks; i++) e->blocks[i] = i;
  return used;
}

size_t tlt_eagle_bytes(const tlt_model *m, const tlt_drafter *d, const tlt_eagle_options *o) {
  tlt_eagle e = {.m = (tlt_model *)m, .d = (tlt_drafter *)d, .o = *o};
  size_t prompts = (size_t)o->batch * (size_t)o->max_positions;
  size_t rows = (size_t)o->max_rows * (sizeof *e.token + sizeof *e.hidden + sizeof *e.keep);
  size_t bytes = lay_out(&e) + rows + (size_t)o->batch * (sizeof *e.slot + sizeof *e.seq);
  return bytes + prompts * e.row_bytes +
         tlt_draft_forward_bytes(d, m->kernels, tlt_pool_threads(m->pool), o->max_rows,
                                 o->max_positions + TLT_DRAFT_MAX);
}

static tlt_status take_memory(tlt_eagle *e, tlt_err *err) {
  size_t rows = (size_t)e->o.max_rows, batch = (size_t)e->o.batch;
  e->bytes = lay_out(e);
  e->memory = tlt_pages_alloc(e->bytes);
  if (!e->memory) return tlt_fail_nomem(err, "draft source eagle", e->bytes);
  lay_out(e);
  e->slot = tlt_calloc(batch, sizeof *e->slot);
  e->seq = tlt_calloc(batch, sizeof *e->seq);
  e->token = tlt_calloc(rows, sizeof *e->token);
  e->hidden = tlt_calloc(rows, sizeof *e->hidden);
  e->keep = tlt_calloc(rows, sizeof *e->keep);
  if (!e->slot || !e->seq || !e->token || !e->hidden || !e->keep)
    return tlt_fail_nomem(err, "draft source eagle", batch * sizeof *e->slot);
  return tlt_draft_forward_init(&e->forward, e->d, e->m->kernels, e->m->pool, e->o.max_rows,
                                e->o.max_positions + TLT_DRAFT_MAX, err);
}

tlt_status tlt_eagle_create(tlt_model *m, tlt_drafter *d, const tlt_eagle_options *o,
                            tlt_source *out, tlt_err *err) {
  *out = (tlt_source){0};
  tlt_eagle *e = tlt_calloc(1, sizeof *e);
  if (!e) {
    tlt_drafter_free(d);
    return tlt_fail_nomem(err, "draft source eagle", sizeof *e);
  }
  *e = (tlt_eagle){.m = m, .d = d, .o = *o};
  tlt_status s = take_memory(e, err);
  if (s != TLT_OK) {
    on_free(e);
    return s;
  }
  *out = (tlt_source){
      .name = "eagle",
      .context = e,
      .wants_hidden = true,
      .group_open = on_group_open,
      .group_close = on_group_close,
      .prompt = on_prompt,
      .open = on_open,
      .close = on_close,
      .verified = on_verified,
      .begin = tlt__eagle_begin,
      .grow = tlt__eagle_grow,
      .behind = on_behind,
      .failed = on_failed,
      .refresh = on_refresh,
      .free = on_free,
  };
  return TLT_OK;
}

bool tlt_eagle_assign(const tlt_source *eagle, const tlt_drafter *d) {
  tlt_eagle *e = eagle->context;
  if (!tlt_drafter_assign(e->d, d, e->m->weights)) return false;
  e->failed = NULL;
  on_refresh(e);
  return true;
}
