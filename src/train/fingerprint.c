/* Fingerprint of a numerics path: SHA-256 over outputs of its kernels on fixed inputs. Shapes are
 * odd, longer than one attention span and wider than one vocabulary chunk, so that a change of any
 * blocking or accumulation order shows. */
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "base/sha256.h"
#include "train/trainer.h"

enum {
  ROWS = 150,
  WIDTH = 162, /* K of the GEMM; Q of the attention: 3 heads */
  OUTPUTS = 1100,
  HEAD_DIM = 54,
  GROUP = 3,
  STRIDE = 192,      /* tlt_act_stride(WIDTH) */
  OUT_STRIDE = 1120, /* tlt_act_stride(OUTPUTS) */
};

/* Everything in one block; act arrays have room for fp32. */
typedef struct bench {
  _Alignas(64) float x[ROWS][STRIDE], dy_act[ROWS][OUT_STRIDE], q[ROWS][STRIDE], out[ROWS][STRIDE];
  _Alignas(64) float y[ROWS][OUTPUTS], dx[ROWS][WIDTH], kv[ROWS][64 * 2], lse[ROWS][GROUP];
  _Alignas(64) float dq[ROWS][WIDTH], dk[ROWS][64], dv[ROWS][64], random[ROWS * OUT_STRIDE];
  _Alignas(64) int64_t acc[OUTPUTS * WIDTH];
  tlt_packed w;
  tlt_stream noise;
  tlt_sha256 hash;
  void *scratch;
  unsigned char *panels;
} bench;

/* n values in (-1, 1), a quarter of them small. */
static const float *draw(bench *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t u = tlt_stream_u32(&b->noise);
    float v = (float)(int32_t)u * 0x1p-31f;
    b->random[i] = u % 4 ? v : v * 0x1p-10f;
  }
  return b->random;
}

/* Random act rows at a stride of `stride` act elements. */
static void draw_act(bench *b, const tlt_kernels *k, void *to, int width, size_t stride) {
  for (int r = 0; r < ROWS; r++)
    k->to_act(draw(b, (size_t)width), (size_t)width,
              (unsigned char *)to + (size_t)r * stride * k->act_size);
}

static void gemms(bench *b, const tlt_kernels *k, const tlt_backward *back) {
  draw_act(b, k, b->x, WIDTH, STRIDE);
  draw_act(b, k, b->dy_act, OUTPUTS, OUT_STRIDE);
  for (int r = 0; r < OUTPUTS; r++) tlt_packed_set_rows(&b->w, r, 1, draw(b, WIDTH));
  k->gemm(&b->w, 0, b->w.panels, b->x, STRIDE, ROWS, &b->y[0][0], OUTPUTS, false);
  for (int i = 0; i < back->dx_tiles(&b->w); i++)
    back->dx(&b->w, i, b->dy_act, OUT_STRIDE, ROWS, &b->dx[0][0], WIDTH, b->scratch);
  for (int i = 0; i < back->dw_tiles(OUTPUTS, WIDTH); i++) {
    float max = 0;
    bool bad = false;
    back->dw(OUTPUTS, WIDTH, i, b->dy_act, OUT_STRIDE, b->x, STRIDE, ROWS, b->acc, NULL, &max, &bad,
             b->scratch);
  }
  tlt_sha256_add(&b->hash, b->y, sizeof b->y);
  tlt_sha256_add(&b->hash, b->dx, sizeof b->dx);
  tlt_sha256_add(&b->hash, b->acc, sizeof b->acc);
  float lse, logp = tlt_logprob(k, b->y[0], OUTPUTS, 0.7f, 3, &lse);
  back->dlogits(b->y[0], OUTPUTS, 0.7f, lse, 3, logp);
  tlt_sha256_add(&b->hash, b->y[0], sizeof b->y[0]);
}

/* Keys and values as act rows (b->kv) and as panels. */
static void fill_kv(bench *b, const tlt_kernels *k, const tlt_kv_layout *layout) {
  for (int r = 0; r < ROWS; r++) {
    const float *kv = draw(b, 2 * HEAD_DIM);
    unsigned char *row = (unsigned char *)b->kv + (size_t)r * 128 * k->act_size;
    k->to_act(kv, HEAD_DIM, row);
    k->to_act(kv + HEAD_DIM, HEAD_DIM, row + 64 * k->act_size);
    k->kv_store(b->panels + (size_t)(r / TLT_KV_BLOCK) * layout->block_bytes, layout->k_bytes,
                HEAD_DIM, r % TLT_KV_BLOCK, kv, kv + HEAD_DIM);
  }
}

static void attend_row(bench *b, const tlt_kernels *k, const tlt_kv_layout *layout, int r) {
  const void *q[GROUP];
  void *out[GROUP];
  int32_t visible[GROUP];
  const unsigned char *panels[ROWS / TLT_KV_BLOCK + 1];
  for (int h = 0; h < GROUP; h++) {
    size_t at = ((size_t)r * STRIDE + (size_t)(h * HEAD_DIM)) * k->act_size;
    q[h] = (unsigned char *)b->q + at;
    out[h] = (unsigned char *)b->out + at;
    visible[h] = r + 1;
  }
  for (int i = 0; i <= r / TLT_KV_BLOCK; i++)
    panels[i] = b->panels + (size_t)i * layout->block_bytes;
  tlt_attn a = {.n_q = GROUP,
                .head_dim = HEAD_DIM,
                .scale = 0.125f,
                .q = q,
                .visible = visible,
                .panels = panels,
                .k_bytes = layout->k_bytes,
                .out = out,
                .lse = b->lse[r],
                .scratch = b->scratch};
  k->attention(&a);
}

static void attention(bench *b, const tlt_kernels *k, const tlt_backward *back) {
  tlt_kv_layout layout = tlt_kv_layout_of(1, 1, HEAD_DIM, k->act_size);
  draw_act(b, k, b->q, WIDTH, STRIDE);
  fill_kv(b, k, &layout);
  for (int r = 0; r < ROWS; r++) attend_row(b, k, &layout, r);
  const float *dout = draw(b, (size_t)ROWS * WIDTH);
  back->attention(ROWS, 0, ROWS, GROUP, HEAD_DIM, 0.125f, b->q, STRIDE, b->kv,
                  (unsigned char *)b->kv + 64 * k->act_size, 128, &b->lse[0][0], GROUP, b->out,
                  STRIDE, dout, WIDTH, &b->dq[0][0], WIDTH, &b->dk[0][0], &b->dv[0][0], 64,
                  b->scratch);
  tlt_sha256_add(&b->hash, b->out, (size_t)ROWS * STRIDE * k->act_size);
  tlt_sha256_add(&b->hash, b->lse, sizeof b->lse);
  tlt_sha256_add(&b->hash, b->dq, sizeof b->dq);
  tlt_sha256_add(&b->hash, b->dk, sizeof b->dk);
  tlt_sha256_add(&b->hash, b->dv, sizeof b->dv);
}

static void elementwise(bench *b, const tlt_kernels *k, const tlt_backward *back) {
  float gain[WIDTH], dgain[WIDTH] = {0};
  memcpy(gain, draw(b, WIDTH), sizeof gain);
  float inv = k->rmsnorm(b->dx[0], gain, WIDTH, 1e-5f, b->x);
  back->rmsnorm(b->dq[0], b->dx[0], gain, inv, WIDTH, b->dx[1], dgain);
  k->silu_mul(b->dx[2], b->dx[3], WIDTH, b->x[1]);
  back->silu_mul(b->dx[4], b->dx[2], b->dx[3], WIDTH, b->dx[2], b->dx[3]);
  tlt_sha256_add(&b->hash, dgain, sizeof dgain);
  tlt_sha256_add(&b->hash, b->x, 2 * sizeof b->x[0]);
  tlt_sha256_add(&b->hash, b->dx, sizeof b->dx);
}

static size_t scratch_bytes(const tlt_backward *back, const tlt_packed *w) {
  size_t bytes = tlt_attn_scratch_floats(HEAD_DIM) * sizeof(float);
  size_t more[] = {back->dx_scratch(w, ROWS), back->dw_scratch(OUTPUTS, WIDTH, ROWS),
                   back->attention_scratch(ROWS, GROUP, HEAD_DIM)};
  for (int i = 0; i < 3; i++) bytes = more[i] > bytes ? more[i] : bytes;
  return bytes;
}

void tlt_numerics_fingerprint(const tlt_kernels *k, char hex[65]) {
  hex[0] = 0;
  const tlt_backward *back = tlt_backward_of(k);
  tlt_kv_layout layout = tlt_kv_layout_of(1, 1, HEAD_DIM, k->act_size);
  bench *b = tlt_calloc_aligned(1, sizeof *b);
  void *weights = tlt_calloc_aligned(1, tlt_packed_bytes(OUTPUTS, WIDTH));
  void *panels = tlt_calloc_aligned(ROWS / TLT_KV_BLOCK + 1, layout.block_bytes), *scratch = NULL;
  if (!b || !weights || !panels) goto done;
  tlt_packed_init(&b->w, OUTPUTS, WIDTH, weights);
  scratch = tlt_calloc_aligned(1, scratch_bytes(back, &b->w));
  if (!scratch) goto done;
  b->scratch = scratch;
  b->panels = panels;
  b->noise = tlt_stream_open(0, TLT_PURPOSE_INIT, UINT32_MAX, 0, 0);
  tlt_sha256_begin(&b->hash);
  tlt_sha256_add(&b->hash, tlt_numerics_name(k->numerics), strlen(tlt_numerics_name(k->numerics)));
  gemms(b, k, back);
  attention(b, k, back);
  elementwise(b, k, back);
  tlt_sha256_end(&b->hash, hex);
done:
  tlt_free(scratch);
  tlt_free(panels);
  tlt_free(weights);
  tlt_free(b);
}
