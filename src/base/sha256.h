/* SHA-256 (libcrypto) and CRC-32 (zlib). */
#ifndef TLT_BASE_SHA256_H
#define TLT_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct tlt_sha256 {
  void *state; /* EVP_MD_CTX */
} tlt_sha256;

enum { TLT_SHA256_HEX = 65 }; /* bytes of the text form, NUL included */

void tlt_sha256_begin(tlt_sha256 *h); /* aborts only if libcrypto itself is broken */
void tlt_sha256_add(tlt_sha256 *h, const void *data, size_t bytes);
void tlt_sha256_end(tlt_sha256 *h, char hex[TLT_SHA256_HEX]); /* also frees h */

/* CRC-32 of data continued from crc; start with 0. */
uint32_t tlt_crc32(uint32_t crc, const void *data, size_t bytes);

#endif
