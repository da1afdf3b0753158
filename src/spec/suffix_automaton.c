#include "spec/suffix_automaton.h"

#include "base/mem.h"

enum { CHUNK = TLT_CHUNK_CELLS * (int)sizeof(tlt_cell) };

/* ---- Cells ---- */

tlt_status tlt_cells_init(tlt_cells *p, size_t bytes, tlt_err *err) {
  size_t chunks = bytes / CHUNK, most = INT32_MAX / TLT_CHUNK_CELLS;
  if (chunks < 1) chunks = 1;
  if (chunks > most) chunks = most;
  *p = (tlt_cells){.bytes = chunks * CHUNK, .chunks = (int32_t)chunks, .returned = -1};
  p->cell = tlt_pages_alloc(p->bytes);
  return p->cell ? TLT_OK : tlt_fail_nomem(err, "suffix automata", p->bytes);
}

void tlt_cells_deinit(tlt_cells *p) {
  tlt_pages_free(p->cell, p->bytes);
  *p = (tlt_cells){.returned = -1};
}

static int32_t take_chunk(tlt_cells *p) {
  int32_t chunk = p->returned;
  if (chunk >= 0) p->returned = p->cell[(size_t)chunk * TLT_CHUNK_CELLS].next_chunk;
  else if (p->fresh < p->chunks) chunk = p->fresh++;
  if (chunk >= 0) p->cell[(size_t)chunk * TLT_CHUNK_CELLS].next_chunk = -1;
  return chunk;
}

/* Contents are whatever was there. */
static tlt_cell_id take_cell(tlt_automaton *a) {
  if (a->used == TLT_CHUNK_CELLS) {
    int32_t chunk = take_chunk(a->pool);
    if (chunk < 0) {
      a->full = true;
      return 0;
    }
    if (a->first < 0) a->first = chunk;
    else a->pool->cell[(size_t)a->last * TLT_CHUNK_CELLS].next_chunk = chunk;
    a->last = chunk;
    a->used = 1; /* behind the chunk's own link: no cell has id 0 */
  }
  return a->last * TLT_CHUNK_CELLS + a->used++;
}

/* ---- Edges ---- */

static tlt_suffix_state *state_at(const tlt_automaton *a, tlt_cell_id id) {
  return &a->pool->cell[id].state;
}

static uint32_t hash(int32_t token) {
  return (uint32_t)token * 0x9e3779b1u;
}

static tlt_cell_id *find(const tlt_automaton *a, tlt_suffix_state *s, int32_t token) {
  if (!s->edges) return NULL;
  if (s->token == token) return &s->target;
  uint32_t h = hash(token);
  for (tlt_cell_id id = s->more; id; h <<= 2) {
    tlt_suffix_edge *e = &a->pool->cell[id].edge;
    if (e->token == token) return &e->target;
    id = e->child[h >> 30];
  }
  return NULL;
}

/* The target of an edge, made with target 0 where it is missing. NULL: no memory. */
static tlt_cell_id *find_or_add(tlt_automaton *a, tlt_suffix_state *s, int32_t token) {
  if (!s->edges) {
    s->edges = 1;
    s->token = token;
    s->target = 0;
    return &s->target;
  }
  if (s->token == token) return &s->target;
  tlt_cell_id *place = &s->more;
  for (uint32_t h = hash(token); *place; h <<= 2) {
    tlt_suffix_edge *e = &a->pool->cell[*place].edge;
    if (e->token == token) return &e->target;
    place = &e->child[h >> 30];
  }
  tlt_cell_id id = take_cell(a);
  if (!id) return NULL;
  tlt_suffix_edge *e = &a->pool->cell[id].edge;
  *e = (tlt_suffix_edge){.token = token};
  if (place != &s->more) { /* the list starts with the root of the tree */
    tlt_suffix_edge *head = &a->pool->cell[s->more].edge;
    e->next = head->next;
    head->next = id;
  }
  *place = id;
  s->edges++;
  return &e->target;
}

/* ---- States ---- */

static tlt_cell_id add_state(tlt_automaton *a, int32_t len) {
  tlt_cell_id id = take_cell(a);
  if (id) *state_at(a, id) = (tlt_suffix_state){.len = len};
  return id;
}

void tlt_automaton_init(tlt_automaton *a, tlt_cells *pool) {
  *a = (tlt_automaton){.pool = pool, .first = -1, .last = -1, .used = TLT_CHUNK_CELLS};
  a->root = add_state(a, 0);
}

void tlt_automaton_deinit(tlt_automaton *a) {
  if (a->first >= 0) {
    a->pool->cell[(size_t)a->last * TLT_CHUNK_CELLS].next_chunk = a->pool->returned;
    a->pool->returned = a->first;
  }
  *a = (tlt_automaton){
      .pool = a->pool, .first = -1, .last = -1, .used = TLT_CHUNK_CELLS, .full = true};
}

static bool copy_edges(tlt_automaton *a, const tlt_suffix_state *from, tlt_suffix_state *to) {
  to->edges = from->edges > 0;
  to->token = from->token;
  to->target = from->target;
  for (tlt_cell_id id = from->more; id;) {
    const tlt_suffix_edge *e = &a->pool->cell[id].edge;
    tlt_cell_id *target = find_or_add(a, to, e->token);
    if (!target) return false;
    *target = e->target;
    id = e->next;
  }
  return true;
}

/* q holds strings of p followed by token, and longer ones: give the shorter ones a state of their
 * own. 0: no memory, nothing changed. */
static tlt_cell_id split(tlt_automaton *a, tlt_cell_id p, int32_t token, tlt_cell_id q) {
  tlt_cell_id id = add_state(a, state_at(a, p)->len + 1);
  if (!id) return 0;
  tlt_suffix_state *from = state_at(a, q), *shorter = state_at(a, id);
  if (!copy_edges(a, from, shorter)) return 0;
  shorter->link = from->link;
  shorter->count = from->count;
  from->link = id;
  for (; p; p = state_at(a, p)->link) {
    tlt_cell_id *target = find(a, state_at(a, p), token);
    if (!target || *target != q) break;
    *target = id;
  }
  return id;
}

/* The state of (longest string of p) + token, given an edge p -token-> q. */
static tlt_cell_id exactly(tlt_automaton *a, tlt_cell_id p, int32_t token, tlt_cell_id q) {
  return state_at(a, q)->len == state_at(a, p)->len + 1 ? q : split(a, p, token, q);
}

static void count_place(tlt_automaton *a, tlt_cell_id id) {
  for (int i = 0; i <= TLT_COUNT_LINKS && id != a->root; i++) {
    tlt_suffix_state *s = state_at(a, id);
    s->count++;
    id = s->link;
  }
}

/* Edges from `end` and its suffixes, and the link. 0: no memory. */
static tlt_cell_id link_of_new(tlt_automaton *a, tlt_cell_id end, int32_t token, tlt_cell_id made) {
  for (tlt_cell_id p = end; p; p = state_at(a, p)->link) {
    tlt_cell_id *target = find_or_add(a, state_at(a, p), token);
    if (!target) return 0;
    if (*target) return exactly(a, p, token, *target);
    *target = made;
  }
  return a->root;
}

tlt_cell_id tlt_automaton_extend(tlt_automaton *a, tlt_cell_id end, int32_t token) {
  if (a->full) return 0;
  tlt_cell_id *there = find(a, state_at(a, end), token), id;
  if (there) {
    id = exactly(a, end, token, *there);
  } else {
    id = add_state(a, state_at(a, end)->len + 1);
    if (!id) return 0;
    tlt_cell_id link = link_of_new(a, end, token, id);
    state_at(a, id)->link = link ? link : a->root; /* out of memory: at least a link */
  }
  if (id) count_place(a, id);
  return a->full ? 0 : id;
}

/* ---- Reading ---- */

tlt_cursor tlt_automaton_follow(const tlt_automaton *a, tlt_cursor at, int32_t token) {
  for (int i = 0; i <= TLT_COUNT_LINKS && at.state; i++) {
    const tlt_cell_id *target = find(a, state_at(a, at.state), token);
    if (target) return (tlt_cursor){*target, at.match + 1};
    at = tlt_automaton_shorter(a, at);
  }
  return (tlt_cursor){a->root, 0};
}

tlt_cursor tlt_automaton_shorter(const tlt_automaton *a, tlt_cursor at) {
  tlt_cell_id link = state_at(a, at.state)->link;
  return link ? (tlt_cursor){link, state_at(a, link)->len} : (tlt_cursor){0, 0};
}

tlt_cursor tlt_automaton_continued(const tlt_automaton *a, tlt_cursor at) {
  while (at.state && at.state != a->root && !state_at(a, at.state)->edges)
    at = tlt_automaton_shorter(a, at);
  return at;
}

int tlt_automaton_continuations(const tlt_automaton *a, tlt_cell_id state, int32_t *token,
                                uint32_t *count) {
  const tlt_suffix_state *s = state_at(a, state);
  if (!s->edges || s->edges > TLT_CROWDED) return 0;
  uint32_t least = (s->count + TLT_CONTINUATIONS - 1) / TLT_CONTINUATIONS;
  tlt_cell_id target = s->target, next = s->more;
  int32_t word = s->token;
  for (int n = 0;;) {
    uint32_t seen = state_at(a, target)->count;
    if (seen >= least) {
      token[n] = word;
      count[n++] = seen;
    }
    if (!next || n == TLT_CONTINUATIONS) return n;
    const tlt_suffix_edge *e = &a->pool->cell[next].edge;
    word = e->token;
    target = e->target;
    next = e->next;
  }
}
