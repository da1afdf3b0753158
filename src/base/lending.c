#define _GNU_SOURCE
#include "base/lending.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/mem.h"

/* Values of a worker's word; BORROWED + r: by worker r. */
enum { IN_USE, OFFERED, BORROWED };

/* What a worker tells about its cores; written once, before the barrier of tlt_lending_open. */
typedef struct entry {
  cpu_set_t cpus;
  int32_t threads;
} entry;

struct tlt_lending {
  const tlt_team *team;
  void *memory; /* words [size], then entries [size] */
  size_t bytes;
  _Atomic uint32_t *word;
  const entry *of;
  bool offered;
  int most, used;
  int lender[TLT_LENDING_MOST], cpu[TLT_LENDING_MOST]; /* of a slot; -1: not in use */
};

static size_t words_bytes(int workers) {
  return ((size_t)workers * sizeof(uint32_t) + 63) / 64 * 64;
}

/* The i-th processor of a set; -1: it has fewer. */
static int processor(const cpu_set_t *set, int i) {
  for (int c = 0; c < CPU_SETSIZE; c++)
    if (CPU_ISSET(c, set) && i-- == 0) return c;
  return -1;
}

/* A worker whose processors are its own, and enough for its threads. */
static bool may_lend(const tlt_lending *l, int worker) {
  const entry *e = &l->of[worker];
  cpu_set_t both;
  if (CPU_COUNT(&e->cpus) < e->threads) return false;
  for (int w = 0; w < l->team->size; w++) {
    CPU_AND(&both, &e->cpus, &l->of[w].cpus);
    if (w != worker && CPU_COUNT(&both)) return false;
  }
  return true;
}

static void count_most(tlt_lending *l) {
  for (int w = 0; w < l->team->size; w++)
    if (w != l->team->rank && may_lend(l, w)) l->most += l->of[w].threads;
  if (l->most > TLT_LENDING_MOST) l->most = TLT_LENDING_MOST;
}

tlt_status tlt_lending_open(const tlt_team *team, int threads, tlt_lending **out, tlt_err *err) {
  *out = NULL;
  if (!tlt_team_shares(team)) return TLT_OK;
  tlt_lending *l = tlt_calloc(1, sizeof *l);
  tlt_status s = l ? TLT_OK : tlt_fail_nomem(err, "lending of cores", sizeof *l);
  s = tlt_team_agree(team, s, err);
  if (s == TLT_OK) {
    l->team = team;
    l->bytes = words_bytes(team->size) + (size_t)team->size * sizeof(entry);
    s = team->share(team->context, l->bytes, &l->memory, err);
  }
  if (s == TLT_OK) {
    entry *of = (entry *)((unsigned char *)l->memory + words_bytes(team->size));
    l->word = l->memory;
    l->of = of;
    of[team->rank].threads = threads;
    sched_getaffinity(0, sizeof of->cpus, &of[team->rank].cpus);
    for (int i = 0; i < TLT_LENDING_MOST; i++) l->lender[i] = l->cpu[i] = -1;
    s = team->barrier(team->context, err);
  }
  if (s == TLT_OK) {
    count_most(l);
    *out = l;
  } else {
    tlt_lending_close(l);
  }
  return s;
}

void tlt_lending_close(tlt_lending *l) {
  if (!l) return;
  if (l->memory) {
    tlt_lending_offer(l);
    tlt_lending_resume(l);
    l->team->unshare(l->team->context, l->memory, l->bytes);
  }
  tlt_free(l);
}

int tlt_lending_most(const tlt_lending *l) {
  return l->most;
}

/* ---- own cores --------------------------------------------------------------------------------
 */

static void let_go(tlt_lending *l, int lender) {
  for (int i = 0; i < l->most; i++) {
    if (l->lender[i] != lender) continue;
    l->lender[i] = l->cpu[i] = -1;
    l->used--;
  }
}

static uint32_t mark_of(const tlt_lending *l) {
  return BORROWED + (uint32_t)l->team->rank;
}

static void give_back(tlt_lending *l, int lender) {
  uint32_t mine = mark_of(l);
  let_go(l, lender);
  atomic_compare_exchange_strong(&l->word[lender], &mine, OFFERED);
}

void tlt_lending_offer(tlt_lending *l) {
  for (int i = 0; l->used && i < l->most; i++)
    if (l->lender[i] >= 0) give_back(l, l->lender[i]);
  if (l->offered) return;
  l->offered = true;
  if (may_lend(l, l->team->rank)) atomic_store(&l->word[l->team->rank], OFFERED);
}

void tlt_lending_resume(tlt_lending *l) {
  if (!l->offered) return;
  l->offered = false;
  atomic_store(&l->word[l->team->rank], IN_USE);
}

bool tlt_lending_is_taken(const tlt_lending *l) {
  return atomic_load(&l->word[l->team->rank]) >= BORROWED;
}

/* ---- others' cores ----------------------------------------------------------------------------
 */

static void borrow(tlt_lending *l, int lender) {
  uint32_t offered = OFFERED;
  int n = l->of[lender].threads, room = l->most - l->used;
  if (room == 0) return;
  if (!atomic_compare_exchange_strong(&l->word[lender], &offered, mark_of(l))) return;
  for (int i = 0, taken = 0; i < l->most && taken < n; i++) {
    if (l->lender[i] >= 0) continue;
    l->lender[i] = lender;
    l->cpu[i] = processor(&l->of[lender].cpus, taken++);
    l->used++;
  }
}

int tlt_lending_settle(tlt_lending *l) {
  tlt_lending_resume(l);
  int free = 0, mine = 0;
  for (int w = 0; w < l->team->size; w++) {
    uint32_t now = atomic_load_explicit(&l->word[w], memory_order_relaxed);
    free += now != IN_USE;
    mine += now == mark_of(l);
  }
  for (int i = 0; l->used && i < l->most; i++) {
    int w = l->lender[i];
    if (w >= 0 && atomic_load_explicit(&l->word[w], memory_order_relaxed) != mark_of(l))
      let_go(l, w);
  }
  if (free == 0) return l->used;
  int busy = l->team->size - free, share = (free + busy - 1) / busy; /* this worker is */
  for (int i = 0; mine > share && i < l->most; i++) {
    if (l->lender[i] < 0) continue;
    give_back(l, l->lender[i]);
    mine--;
  }
  for (int w = 0; mine < share && w < l->team->size; w++) {
    if (atomic_load_explicit(&l->word[w], memory_order_relaxed) != OFFERED) continue;
    int before = l->used;
    borrow(l, w);
    mine += l->used > before;
  }
  return l->used;
}

int tlt_lending_cpu(const tlt_lending *l, int slot) {
  return l->cpu[slot];
}
