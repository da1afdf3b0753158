/* A generalised suffix automaton that grows online: many texts at once, each from its own end.
 * (Blumer et al. 1985; for several texts the end state of a text is found, split off or made.)
 *
 * A state is a set of substrings that occur at the same places; `count` is how many places. Strings
 * of a state have lengths len(link) + 1 .. len, each the suffix of the next; link leads to the
 * state of the next shorter suffix. The continuations of a substring are the edges of its state,
 * and the count of an edge's target is the number of times that the substring was continued so.
 *
 * Counts are kept by walking up the links from each new place, TLT_COUNT_LINKS of them at most.
 * Longer chains only come from periodic text: there the counts of suffixes that are more than so
 * many repetitions shorter than the text's own end stay too low, and they remain >= 1.
 *
 * Memory: cells of 32 bytes, in chunks of a pool that all automata of a source share. Nothing here
 * allocates but tlt_cells_init. One thread. */
#ifndef TLT_SPEC_SUFFIX_AUTOMATON_H
#define TLT_SPEC_SUFFIX_AUTOMATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

enum {
  TLT_COUNT_LINKS = 64,
  TLT_CHUNK_CELLS = 2048, /* 64 KiB */
  TLT_CONTINUATIONS = 32, /* most that are listed of one state */
  TLT_CROWDED = 256,      /* a state with more edges lists none */
};

/* Address of a cell: index into the pool; 0 is none. */
typedef int32_t tlt_cell_id;

typedef struct tlt_suffix_state {
  int32_t len; /* of the longest string */
  tlt_cell_id link;
  uint32_t count;
  int32_t edges;
  int32_t token; /* the first edge; the others in a tree of cells */
  tlt_cell_id target, more;
  int32_t unused;
} tlt_suffix_state;

/* Edges of a state after its first: a list, and a tree in which two bits of the token's hash choose
 * the child on each level (the hash is a bijection, so 16 levels part any two tokens). No table
 * ever grows, so nothing is copied or left behind. */
typedef struct tlt_suffix_edge {
  int32_t token;
  tlt_cell_id target, next, child[4];
  int32_t unused;
} tlt_suffix_edge;

typedef union tlt_cell {
  tlt_suffix_state state;
  tlt_suffix_edge edge;
  int32_t next_chunk; /* first cell of a chunk */
} tlt_cell;

_Static_assert(sizeof(tlt_cell) == 32, "cells are half a cache line");

typedef struct tlt_cells {
  tlt_cell *cell; /* address space is reserved, memory taken on first use */
  size_t bytes;
  int32_t chunks, fresh, returned; /* fresh: first chunk never used; returned: list, -1 ends */
} tlt_cells;

/* bytes is rounded down to whole chunks, at least one, at most what 32-bit ids reach. */
tlt_status tlt_cells_init(tlt_cells *p, size_t bytes, tlt_err *err);
void tlt_cells_deinit(tlt_cells *p);

typedef struct tlt_automaton {
  tlt_cells *pool;
  tlt_cell_id root;          /* state of the empty string; 0: there was no memory, of no use */
  int32_t first, last, used; /* chunks; cells used of the last */
  bool full;                 /* the pool ran out: nothing more can be inserted */
} tlt_automaton;

/* A place in the automaton: the `match` last tokens of a text as far as they occur. */
typedef struct tlt_cursor {
  tlt_cell_id state; /* 0: nowhere */
  int32_t match;     /* len(link(state)) < match <= len(state); 0 at the root */
} tlt_cursor;

static inline const tlt_suffix_state *tlt_automaton_state(const tlt_automaton *a, tlt_cell_id id) {
  return &a->pool->cell[id].state;
}

void tlt_automaton_init(tlt_automaton *a, tlt_cells *pool);
void tlt_automaton_deinit(tlt_automaton *a); /* gives its chunks back */

/* Append a token to the text that ends in state `end` (the root: a new text). The state of the
 * longer text, where match = len; or 0 and a->full when memory ran out: `end` stays a valid place,
 * and the automaton remains fit for all reading. */
tlt_cell_id tlt_automaton_extend(tlt_automaton *a, tlt_cell_id end, int32_t token);

/* The place after one more token, without inserting it: the longest suffix that occurs. Gives up
 * with the root after TLT_COUNT_LINKS shorter suffixes. */
tlt_cursor tlt_automaton_follow(const tlt_automaton *a, tlt_cursor at, int32_t token);

/* The longest suffix of `at` that continues somewhere; at the root there may be no edges either. */
tlt_cursor tlt_automaton_continued(const tlt_automaton *a, tlt_cursor at);

/* The next shorter suffix with other places; nowhere behind the root. */
tlt_cursor tlt_automaton_shorter(const tlt_automaton *a, tlt_cursor at);

/* Continuations of a state that make up at least 1/TLT_CONTINUATIONS of its places (hence no more
 * than TLT_CONTINUATIONS, the size of token and count). Returns how many; 0 for crowded states. */
int tlt_automaton_continuations(const tlt_automaton *a, tlt_cell_id state, int32_t *token,
                                uint32_t *count);

#endif
