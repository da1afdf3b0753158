/* Split patterns of tokenizer.json. They are written for Oniguruma; compile() accepts the subset
 * that means the same under PCRE2 after translation, and refuses the rest.
 *
 * Translated: \s \S (White_Space), \d, \w, \h is refused; plain groups do not capture; ^ and $ are
 * line anchors; \p{Name} of a script means Script, not Script_Extensions. Refused: nested and
 * intersected classes, back references, options without a group, \b and other rare escapes. */
#ifndef TLT_TOKENIZER_REGEX_H
#define TLT_TOKENIZER_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "tlt/status.h"

enum { TLT_REGEX_MAX = 16384 }; /* bytes of a pattern */

typedef struct tlt_regex tlt_regex; /* immutable, shared by threads */

/* pattern[0..n) valid UTF-8. Errors: TLT_EDATA with the offset inside the pattern, TLT_ENOMEM. */
tlt_status tlt_regex_compile(const char *pattern, size_t n, tlt_regex **out, tlt_err *err);
void tlt_regex_free(tlt_regex *r);

/* Per-thread working memory of one pattern. */
typedef struct tlt_regex_scratch tlt_regex_scratch;
tlt_status tlt_regex_scratch_create(const tlt_regex *r, tlt_regex_scratch **out, tlt_err *err);
void tlt_regex_scratch_free(tlt_regex_scratch *s);

/* First match in text[from..n), whose start and end go to *start, *end (they may be equal). The
 * text is valid UTF-8 and look-around sees all of it. *found is false without a match. A pattern
 * that exceeds the match limit is TLT_EDATA. */
tlt_status tlt_regex_find(const tlt_regex *r, tlt_regex_scratch *s, const char *text, size_t n,
                          size_t from, bool *found, size_t *start, size_t *end, tlt_err *err);

#endif
