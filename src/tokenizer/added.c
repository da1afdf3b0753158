/* Added tokens: a byte trie and the search for the next match. */
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/text.h"

typedef struct tlt_added_node {
  int32_t child, sibling; /* node indices; 0: none (the root is nobody's child) */
  int32_t token;          /* index into tokens, -1: none ends here */
  uint8_t byte;
} tlt_added_node;

static int32_t new_node(tlt_added *a, uint8_t byte) {
  tlt_added_node *nodes = tlt_array_grow(a->nodes, &a->cap_nodes, a->n_nodes + 1, sizeof *a->nodes);
  if (!nodes) return -1;
  a->nodes = nodes;
  a->nodes[a->n_nodes] = (tlt_added_node){.token = -1, .byte = byte};
  return (int32_t)a->n_nodes++;
}

static int32_t child_of(const tlt_added *a, int32_t node, uint8_t byte) {
  int32_t k = a->nodes[node].child;
  while (k && a->nodes[k].byte != byte) k = a->nodes[k].sibling;
  return k;
}

static int32_t child_or_new(tlt_added *a, int32_t node, uint8_t byte) {
  int32_t k = child_of(a, node, byte);
  if (k) return k;
  k = new_node(a, byte);
  if (k < 0) return k;
  a->nodes[k].sibling = a->nodes[node].child;
  a->nodes[node].child = k;
  return k;
}

tlt_status tlt_added_insert(tlt_added *a, const char *text, size_t n, tlt_added_token token,
                            tlt_err *err) {
  if (n == 0) return TLT_OK;
  tlt_added_token *tokens =
      tlt_array_grow(a->tokens, &a->cap_tokens, a->n_tokens + 1, sizeof *a->tokens);
  if (!tokens) return tlt_fail_nomem(err, "added tokens", sizeof token);
  a->tokens = tokens;
  int32_t node = a->n_nodes ? 0 : new_node(a, 0);
  for (size_t i = 0; i < n && node >= 0; i++) node = child_or_new(a, node, (uint8_t)text[i]);
  if (node < 0) return tlt_fail_nomem(err, "added tokens", n * sizeof *a->nodes);
  a->first[(uint8_t)text[0]] = 1;
  a->any_special |= token.special;
  if (a->nodes[node].token >= 0) {
    a->tokens[a->nodes[node].token] = token;
  } else {
    a->nodes[node].token = (int32_t)a->n_tokens;
    a->tokens[a->n_tokens++] = token;
  }
  return TLT_OK;
}

void tlt_added_free(tlt_added *a) {
  tlt_free(a->nodes);
  tlt_free(a->tokens);
  *a = (tlt_added){0};
}

static bool rule_allows(tlt_special_rule rule, size_t start, size_t end) {
  if (!rule.allow) return false;
  return !rule.mask || !memchr(rule.mask + start, 1, end - start);
}

/* Longest allowed token that starts at `start`; NULL: none. */
static const tlt_added_token *token_at(const tlt_added *a, const char *text, size_t n, size_t start,
                                       tlt_special_rule rule, size_t *end) {
  const tlt_added_token *best = NULL;
  int32_t node = 0;
  for (size_t i = start; i < n; i++) {
    node = child_of(a, node, (uint8_t)text[i]);
    if (!node) break;
    if (a->nodes[node].token < 0) continue;
    const tlt_added_token *token = &a->tokens[a->nodes[node].token];
    if (token->special && !rule_allows(rule, start, i + 1)) continue;
    best = token, *end = i + 1;
  }
  return best;
}

static bool word_before(const char *text, size_t n) {
  int size;
  return n > 0 && tlt_is_word(tlt_utf8_get(text + tlt_utf8_before(text, n), &size));
}

static bool word_after(const char *text, size_t n, size_t at) {
  int size;
  return at < n && tlt_is_word(tlt_utf8_get(text + at, &size));
}

static size_t strip_left(const char *text, size_t from, size_t start) {
  int size;
  while (start > from) {
    size_t before = tlt_utf8_before(text, start);
    if (before < from || !tlt_is_space(tlt_utf8_get(text + before, &size))) break;
    start = before;
  }
  return start;
}

static size_t strip_right(const char *text, size_t n, size_t end) {
  int size;
  while (end < n && tlt_is_space(tlt_utf8_get(text + end, &size))) end += (size_t)size;
  return end;
}

bool tlt_added_next(const tlt_added *a, const char *text, size_t n, size_t from,
                    tlt_special_rule rule, size_t *start, size_t *end, int32_t *id) {
  if (a->n_tokens == 0) return false;
  for (size_t i = from; i < n; i++) {
    if (!a->first[(uint8_t)text[i]]) continue;
    size_t stop = i;
    const tlt_added_token *token = token_at(a, text, n, i, rule, &stop);
    if (!token) continue;
    if (token->single_word && (word_before(text, i) || word_after(text, n, stop))) {
      i = stop - 1; /* the rejected text is passed over, as the reference does */
      continue;
    }
    *start = token->lstrip ? strip_left(text, from, i) : i;
    *end = token->rstrip ? strip_right(text, n, stop) : stop;
    *id = token->id;
    return true;
  }
  return false;
}
