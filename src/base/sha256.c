#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

static void must(int ok) {
  if (!ok) abort();
}

void tlt_sha256_begin(tlt_sha256 *h) {
  h->state = EVP_MD_CTX_new();
  must(h->state && EVP_DigestInit_ex(h->state, EVP_sha256(), NULL));
}

void tlt_sha256_add(tlt_sha256 *h, const void *data, size_t bytes) {
  must(EVP_DigestUpdate(h->state, data, bytes));
}

void tlt_sha256_end(tlt_sha256 *h, char hex[TLT_SHA256_HEX]) {
  unsigned char digest[32];
  must(EVP_DigestFinal_ex(h->state, digest, NULL));
  EVP_MD_CTX_free(h->state);
  h->state = NULL;
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

uint32_t tlt_crc32(uint32_t crc, const void *data, size_t bytes) {
  return (uint32_t)crc32_z(crc, data, bytes);
}
