/* Rotary embedding tables. The inverse frequencies follow transformers operation by operation in
 * fp32 (1 / theta^(2i/D), then the scaling); power, sine and cosine are our own in double. */
#include "base/fmath.h"
#include "model/config.h"

static float scale_llama3(const tlt_config *c, float inv) {
  const double two_pi = 6.283185307179586;
  float wave = (float)two_pi / inv;
  float longest = (float)(c->rope_original / c->rope_low);
  float shortest = (float)(c->rope_original / c->rope_high);
  float factor = (float)c->rope_factor;
  if (wave > longest) return inv / factor;
  if (wave < shortest) return inv;
  float smooth =
      ((float)c->rope_original / wave - (float)c->rope_low) / (float)(c->rope_high - c->rope_low);
  return (1 - smooth) * inv / factor + smooth * inv;
}

static float inverse_frequency(const tlt_config *c, int i) {
  float exponent = (float)(2 * i) / (float)c->head_dim;
  float inv = 1.0f / (float)tlt_pow(c->rope_theta, (double)exponent);
  if (c->rope == TLT_ROPE_LINEAR) return inv / (float)c->rope_factor;
  return c->rope == TLT_ROPE_LLAMA3 ? scale_llama3(c, inv) : inv;
}

void tlt_rope_table(const tlt_config *c, int positions, float *cosine, float *sine) {
  int half = c->head_dim / 2;
  for (int i = 0; i < half; i++) {
    float inv = inverse_frequency(c, i);
    for (int p = 0; p < positions; p++) {
      double s, k;
      tlt_sincos((double)((float)p * inv), &s, &k);
      sine[(size_t)p * (size_t)half + (size_t)i] = (float)s;
      cosine[(size_t)p * (size_t)half + (size_t)i] = (float)k;
    }
  }
}
