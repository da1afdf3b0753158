/* Row-wise operations over sixteen lanes; contracts in kernels.h. Included once per instruction set,
 * which defines TLT_NAME(name) first. The same body everywhere is what makes the bits equal. */
#include "kernels/lanes.h"
#include "kernels/table.h"

/* 1 / sqrt(mean(x^2) + eps): lane i sums x[i], x[16 + i], ... by FMA, then the tree. */
static float inverse_rms(const float *x, int n, float eps) {
  tlt_vf sum = tlt_vf_set(0.0f);
  int i = 0;
  for (; i + TLT_LANES <= n; i += TLT_LANES) {
    tlt_vf v = tlt_vf_load(x + i);
    sum = tlt_vf_fma(v, v, sum);
  }
  if (i < n) {
    tlt_vf v = tlt_vf_load_n(x + i, n - i);
    sum = tlt_vf_fma(v, v, sum);
  }
  return 1.0f / sqrtf(tlt_vf_sum(sum) / (float)n + eps);
}

TLT_INLINE tlt_vf norm_lanes(const float *x, const float *gain, int m, tlt_vf inv) {
  return tlt_vf_mul(tlt_vf_mul(tlt_vf_load_n(x, m), inv), tlt_vf_load_n(gain, m));
}

float TLT_NAME(tlt_rmsnorm_f32)(const float *x, const float *gain, int n, float eps, float *out) {
  float inv = inverse_rms(x, n, eps);
  for (int i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(n - i));
    tlt_vf_store_n(out + i, m, norm_lanes(x + i, gain + i, m, tlt_vf_set(inv)));
  }
  return inv;
}

float TLT_NAME(tlt_rmsnorm_act_f32)(const float *x, const float *gain, int n, float eps, void *out) {
  return TLT_NAME(tlt_rmsnorm_f32)(x, gain, n, eps, out);
}

float TLT_NAME(tlt_rmsnorm_act_bf16)(const float *x, const float *gain, int n, float eps, void *out) {
  float inv = inverse_rms(x, n, eps);
  for (int i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(n - i));
    tlt_vf y = norm_lanes(x + i, gain + i, m, tlt_vf_set(inv));
    tlt_vf_store_bf16_n((tlt_bf16 *)out + i, m, y);
  }
  return inv;
}

void TLT_NAME(tlt_to_act_f32)(const float *x, size_t n, void *out) {
  memmove(out, x, n * sizeof *x);
}

void TLT_NAME(tlt_to_act_bf16)(const float *x, size_t n, void *out) {
  for (size_t i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of(n - i);
    tlt_vf_store_bf16_n((tlt_bf16 *)out + i, m, tlt_vf_load_n(x + i, m));
  }
}

void TLT_NAME(tlt_from_act_f32)(const void *x, size_t n, float *out) {
  memmove(out, x, n * sizeof *out);
}

void TLT_NAME(tlt_from_act_bf16)(const void *x, size_t n, float *out) {
  for (size_t i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of(n - i);
    tlt_vf_store_n(out + i, m, tlt_vf_load_bf16_n((const tlt_bf16 *)x + i, m));
  }
}

/* Rotate-half (Su et al. 2021 in the layout of the Hugging Face models): pair i is x[i], x[D/2 + i];
 * a = x1 cos - x2 sin, b = x2 cos + x1 sin, each one product and one FMA. */
void TLT_NAME(tlt_rope)(float *x, const float *cosine, const float *sine, int head_dim) {
  int half = head_dim / 2;
  for (int i = 0; i < half; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(half - i));
    tlt_vf c = tlt_vf_load_n(cosine + i, m), s = tlt_vf_load_n(sine + i, m);
    tlt_vf x1 = tlt_vf_load_n(x + i, m), x2 = tlt_vf_load_n(x + half + i, m);
    tlt_vf minus = tlt_vf_sub(tlt_vf_set(0.0f), tlt_vf_mul(x2, s));
    tlt_vf_store_n(x + i, m, tlt_vf_fma(x1, c, minus));
    tlt_vf_store_n(x + half + i, m, tlt_vf_fma(x2, c, tlt_vf_mul(x1, s)));
  }
}

TLT_INLINE tlt_vf silu_lanes(const float *gate, const float *up, int m) {
  tlt_vf g = tlt_vf_load_n(gate, m);
  tlt_vf e = tlt_vexp(tlt_vf_sub(tlt_vf_set(0.0f), g));
  return tlt_vf_mul(tlt_vf_div(g, tlt_vf_add(tlt_vf_set(1.0f), e)), tlt_vf_load_n(up, m));
}

void TLT_NAME(tlt_silu_mul_f32)(const float *gate, const float *up, int n, void *out) {
  for (int i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(n - i));
    tlt_vf_store_n((float *)out + i, m, silu_lanes(gate + i, up + i, m));
  }
}

void TLT_NAME(tlt_silu_mul_bf16)(const float *gate, const float *up, int n, void *out) {
  for (int i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(n - i));
    tlt_vf_store_bf16_n((tlt_bf16 *)out + i, m, silu_lanes(gate + i, up + i, m));
  }
}

/* NaN logits are skipped by the maximum and make the sum NaN; a chunk of -inf sums to 0. */
void TLT_NAME(tlt_lse_chunk)(const float *x, int n, float temperature, float *max, float *sum) {
  float scaled[TLT_VOCAB_CHUNK];
  tlt_vf low = tlt_vf_set(-INFINITY), top = low;
  tlt_vf t = tlt_vf_set(tlt_lse_temperature(temperature));
  bool divide = temperature != 1.0f;
  for (int i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(n - i));
    tlt_vf v = tlt_vf_first_n(m, tlt_vf_load_n(x + i, m), low);
    if (divide) v = tlt_vf_div(v, t);
    tlt_vf_store(scaled + i, v);
    top = tlt_vf_max(v, top);
  }
  *max = tlt_vf_hmax(top);
  tlt_vf shift = tlt_vf_set(*max == -INFINITY ? 0.0f : *max), s = tlt_vf_set(0.0f);
  for (int i = 0; i < n; i += TLT_LANES)
    s = tlt_vf_add(s, tlt_vexp(tlt_vf_sub(tlt_vf_load(scaled + i), shift)));
  *sum = tlt_vf_sum(s);
}
