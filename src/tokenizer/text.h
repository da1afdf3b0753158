/* Text primitives of the tokenizer: UTF-8, the byte alphabet of byte-level BPE, character classes
 * as the reference implementation defines them, and NFC. */
#ifndef TLT_TOKENIZER_TEXT_H
#define TLT_TOKENIZER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenizer/buffer.h"

/* Offset of the first byte that is not valid UTF-8 (overlong forms, surrogates and values above
 * U+10FFFF are invalid); n when all is valid. */
size_t tlt_utf8_check(const char *s, size_t n);

/* Code point at s, which must lie in valid UTF-8 with at least one character left; *size gets its
 * 1 to 4 bytes. */
uint32_t tlt_utf8_get(const char *s, int *size);

/* Start of the character that ends at s + n; valid UTF-8, n > 0. */
size_t tlt_utf8_before(const char *s, size_t n);

/* Write a code point as UTF-8; number of bytes, 1 to 4. */
int tlt_utf8_put(uint32_t code, char out[4]);

/* The alphabet of byte-level BPE: printable Latin-1 bytes stand for themselves, the 68 others for
 * U+0100 + (their rank among them). */
uint32_t tlt_byte_char(uint8_t byte);
int tlt_char_byte(uint32_t code); /* -1 when outside the alphabet */

/* Unicode White_Space. */
bool tlt_is_space(uint32_t code);
/* Nd, Nl or No. */
bool tlt_is_numeric(uint32_t code);
/* \w of Unicode regular expressions: alphabetic, mark, decimal digit, connector, joiner. */
bool tlt_is_word(uint32_t code);

/* Append the NFC form of valid UTF-8 to out in O(n log n), whatever the text; false when out of
 * memory. */
bool tlt_nfc(const char *s, size_t n, tlt_bytes *out);

#endif
