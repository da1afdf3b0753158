/* The table of compute kernels, chosen once at run time.
 *
 * Determinism (docs/architecture.md): every output element is computed by a sequence of operations
 * fixed by the shapes of the weights alone, or, in attention, by the row's own position. The number
 * of rows in a call, blocking, threads and the mix of sequences never change a bit. Within the
 * `portable` path scalar, AVX2 and AVX-512 code give the same bits.
 *
 * Every kernel is single-threaded and works on a caller-chosen range of its outputs; callers spread
 * ranges over a tlt_pool. No kernel allocates, fails or keeps state.
 *
 * Letters: R rows, H hidden, K input width, N output width, D head_dim, V vocabulary,
 * G query heads per KV head.
 *
 * "act" is the element type of GEMM inputs, of Q and of KV: fp32 in `portable`, bf16 in
 * `avx512bf16` and `amx`. Rows of act matrices have a stride ldx that is a multiple of 32 elements
 * and start 64-byte aligned; the elements from K up to the next multiple of 2 must be zero
 * (tlt_act_stride gives the stride; buffers are allocated zeroed and kernels write only [0, K)). */
#ifndef TLT_KERNELS_KERNELS_H
#define TLT_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bf16.h"
#include "tlt/status.h"

typedef enum tlt_numerics {
  TLT_NUMERICS_PORTABLE,
  TLT_NUMERICS_AVX512BF16,
  TLT_NUMERICS_AMX
} tlt_numerics;

/* Instruction set of a table. SCALAR of the avx512bf16 path is its oracle (slow). */
typedef enum tlt_isa {
  TLT_ISA_SCALAR,
  TLT_ISA_AVX2,
  TLT_ISA_AVX512,
  TLT_ISA_AVX512BF16,
  TLT_ISA_AMX
} tlt_isa;

enum {
  TLT_PANEL = 16,        /* outputs per weight panel */
  TLT_KV_BLOCK = 16,     /* positions per KV block */
  TLT_ATTN_SPAN = 128,   /* positions per partial result of attention */
  TLT_ATTN_QUERIES = 12, /* most query vectors in one attention call */
  TLT_VOCAB_CHUNK = 1024, /* logits per partial sum over the vocabulary */
};

static inline size_t tlt_act_stride(size_t k) { return (k + 31) & ~(size_t)31; }

/* ---- packed weights ------------------------------------------------------------------------ */

/* W[N][K] in bf16 as panels: data[p][k / 2][lane][k % 2], output n = 16 p + lane. Lanes beyond N and
 * an odd last k are zero. bias: fp32 [N], added after the chain, or NULL. */
typedef struct tlt_packed {
  int n, k;
  int panels;    /* ceil(n / 16) */
  int pairs;     /* ceil(k / 2) */
  tlt_bf16 *data; /* [panels][pairs][16][2], 64-byte aligned */
  const float *bias;
} tlt_packed;

size_t tlt_packed_bytes(int n, int k);
void tlt_packed_init(tlt_packed *w, int n, int k, void *memory); /* memory zeroed, 64-aligned */
/* Rows row0 .. row0+rows-1 from fp32 [rows][k], rounded to bf16; and back. */
void tlt_packed_set_rows(tlt_packed *w, int row0, int rows, const float *from);
void tlt_packed_get_rows(const tlt_packed *w, int row0, int rows, float *to);

/* ---- KV blocks ------------------------------------------------------------------------------- */

/* One block holds TLT_KV_BLOCK positions of all layers and KV heads:
 *   [layer][kv head] { K panel | V panel }
 * act = fp32: K as [D][16 positions], V as [16 positions][Dp];
 * act = bf16: K as [ceil(D/2)][16 positions][2], V as [8 position pairs][Dp][2];
 * Dp = D rounded up to 16. Unused slots hold finite values (blocks start zeroed). */
typedef struct tlt_kv_layout {
  int layers, kv_heads, head_dim;
  size_t act_size;
  size_t k_bytes, v_bytes;        /* one panel; multiples of 64 */
  size_t head_bytes, layer_bytes; /* k + v; kv_heads * head_bytes */
  size_t block_bytes;
} tlt_kv_layout;

tlt_kv_layout tlt_kv_layout_of(int layers, int kv_heads, int head_dim, size_t act_size);

/* Key and value of one position of one layer and KV head: slot `from_slot` of the panels at `from`
 * into slot `to_slot` of those at `to`; these may be the same panels. Bits are kept. */
void tlt_kv_copy(const tlt_kv_layout *l, unsigned char *to, int to_slot, const unsigned char *from,
                 int from_slot);

/* ---- attention ------------------------------------------------------------------------------- */

/* Queries that share one KV head of one sequence, each with its own number of visible keys.
 * Blocks are given as pointers, so that the last ones may be gathered copies (draft trees): positions
 * from tail_first on can differ between groups of adjacent queries. A query's result is that of a
 * plain call over the panels that it sees, bit for bit. */
typedef struct tlt_attn {
  int n_q;                    /* 1 .. TLT_ATTN_QUERIES */
  int head_dim;
  float scale;                /* multiplies q.k in fp32 */
  const void *const *q;       /* [n_q] pointers to act[D] */
  const int32_t *visible;     /* [n_q] keys 0 .. visible-1 are attended; >= 1 */
  const unsigned char *const *panels; /* [ceil(max visible / 16)] K panel of this layer and head;
                                         the V panel follows at k_bytes */
  int n_groups;             /* 0: none, and the next three are not looked at */
  int tail_first;           /* position, a multiple of TLT_ATTN_SPAN; `panels` end there */
  const int32_t *group_end; /* [n_groups] ascending, the last is n_q: group g is queries
                               group_end[g - 1] .. group_end[g] - 1 */
  const unsigned char *const *const *group_panels; /* [n_groups] panels from tail_first on */
  size_t k_bytes;
  void *const *out;           /* [n_q] act[D], rounded to act */
  float *lse;                 /* [n_q] ln sum exp(scale q.k), or NULL */
  float *scratch;             /* tlt_attn_scratch_floats floats, 64-aligned, per thread */
} tlt_attn;

size_t tlt_attn_scratch_floats(int head_dim);

/* ---- sampling -------------------------------------------------------------------------------- */

typedef struct tlt_sampling {
  float temperature; /* below 1e-3: greedy */
  int top_k;         /* 0: off */
  float top_p;       /* 1: off */
  float min_p;       /* 0: off */
} tlt_sampling;

/* Counter of the draw (design: rollout index, sample, position) under (seed, TLT_PURPOSE_SAMPLE). */
typedef struct tlt_draw {
  uint32_t seed, rollout, sample, position;
} tlt_draw;

/* A token of a drafter's slice of the vocabulary and its logit / T + noise. */
typedef struct tlt_draft_choice {
  int32_t index; /* into the slice */
  float score;
} tlt_draft_choice;

/* ---- the table --------------------------------------------------------------------------------- */

typedef struct tlt_kernels {
  tlt_numerics numerics;
  tlt_isa isa;
  size_t act_size; /* 4 or 2 */

  /* y[r][n] = bias[n] + sum_k x[r][k] W[n][k] for panels panel0 .. panel1-1, r < rows; with add:
   * y += that. One chain over ascending k per output. x act [rows][ldx]; y fp32 [rows][ldy], only
   * [0, N) of each row is written. */
  void (*gemm)(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx, int rows,
               float *y, size_t ldy, bool add);

  /* out = x / sqrt(mean(x^2) + eps) * gain, as act [n]. The sum of squares runs over 16 strided
   * lanes and a fixed tree. Returns 1 / sqrt(mean + eps). */
  float (*rmsnorm)(const float *x, const float *gain, int n, float eps, void *out);
  /* The same with fp32 output; out may be x (QK-norm). */
  float (*rmsnorm_f32)(const float *x, const float *gain, int n, float eps, float *out);

  void (*to_act)(const float *x, size_t n, void *out);
  void (*from_act)(const void *x, size_t n, float *out);

  /* Rotate-half rotary embedding in place: x [D] fp32; cosine, sine [D/2] of this position. */
  void (*rope)(float *x, const float *cosine, const float *sine, int head_dim);

  /* out = silu(gate) * up as act [n]; silu(g) = g / (1 + exp(-g)). */
  void (*silu_mul)(const float *gate, const float *up, int n, void *out);

  void (*embed)(const tlt_packed *w, int32_t token, float *out); /* row of W as fp32 [K] */

  /* Put one position's key and value (fp32 [D], rounded to act) into slot 0..15 of a K panel and
   * the V panel behind it. */
  void (*kv_store)(unsigned char *panel, size_t k_bytes, int head_dim, int slot, const float *key,
                   const float *value);
  void (*attention)(const tlt_attn *a);

  /* Partial log-sum-exp of x[i] / temperature over at most TLT_VOCAB_CHUNK logits: max and
   * sum exp(x/T - max), sum over 16 strided lanes and a fixed tree. T by tlt_lse_temperature. */
  void (*lse_chunk)(const float *x, int n, float temperature, float *max, float *sum);

  /* argmax over v of logits[v] / T + gumbel(draw, v) after the filters; lowest id on ties; greedy
   * when T < 1e-3. logits [n] fp32; scratch: tlt_sample_scratch_bytes(n), 64-aligned. Equal to the
   * brute-force definition (tlt_sample_reference) on every input. */
  int32_t (*sample)(const float *logits, int n, const tlt_sampling *how, const tlt_draw *draw,
                    void *scratch);

  /* The k best of a drafter's logits [n] for the tokens id [n] (ascending, distinct), by
   * logits[i] / T + gumbel(draw, id[i]); by logits[i] when T < 1e-3. best [k] descending, on ties the
   * lower index first; returns how many there are. The filters of `how` first restrict the drafter's
   * own distribution. Never among the best: NaN, and at T >= 1e-3 what is more than 100 nats below
   * the largest. 0 when the largest is not finite. scratch: tlt_sample_scratch_bytes(n), 64-aligned. */
  int (*draft_top)(const float *logits, const int32_t *id, int n, const tlt_sampling *how,
                   const tlt_draw *draw, int k, tlt_draft_choice *best, void *scratch);
} tlt_kernels;

size_t tlt_sample_scratch_bytes(int vocab);

/* The definition of sampling, in scalar code: noise for every token, filters by sorting. Slow. */
int32_t tlt_sample_reference(const float *logits, int n, const tlt_sampling *how,
                             const tlt_draw *draw, void *scratch);

/* Temperature of log-probabilities: greedy sampling reports them at T = 1. */
static inline float tlt_lse_temperature(float temperature) {
  return temperature < 1e-3f ? 1.0f : temperature;
}

/* Fold chunk results in ascending order: after the last chunk ln sum exp = max + ln(sum). A chunk of
 * nothing but -inf changes nothing. */
typedef struct tlt_lse {
  float max, sum; /* start: -inf, 0 */
} tlt_lse;
static inline void tlt_lse_fold(tlt_lse *l, float max, float sum) {
  if (max > l->max) {
    l->sum = fmaf(l->sum, tlt_expf(l->max - max), sum);
    l->max = max;
  } else if (sum != 0) {
    l->sum = fmaf(sum, tlt_expf(max - l->max), l->sum);
  }
}
/* NaN when a logit was NaN or +inf, -inf when all were -inf. */
static inline float tlt_lse_value(const tlt_lse *l) {
  if (l->sum > 0) return l->max + tlt_logf(l->sum);
  return l->sum == 0 ? -INFINITY : l->sum;
}

/* log-softmax(logits / T)[token] over the full vocabulary (T < 1e-3: with T = 1) by lse_chunk and
 * tlt_lse_fold; lse (may be NULL) gets the log-sum-exp. */
float tlt_logprob(const tlt_kernels *k, const float *logits, int n, float temperature, int32_t token,
                  float *lse);

/* ---- choice ------------------------------------------------------------------------------------ */

/* "auto" (fastest the processor has), "portable", "avx512bf16", "amx". TLT_ISA=scalar|avx2|avx512 in
 * the environment forces the code of the portable path. A path or instruction set that this
 * processor lacks: TLT_EUSAGE naming what is missing. */
tlt_status tlt_kernels_choose(const char *numerics, const tlt_kernels **out, tlt_err *err);

/* A given table, or NULL where the processor lacks it. For tests and benches. */
const tlt_kernels *tlt_kernels_get(tlt_numerics numerics, tlt_isa isa);

const char *tlt_numerics_name(tlt_numerics n);
const char *tlt_isa_name(tlt_isa isa);

#endif
