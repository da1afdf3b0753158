/* Vector loops of training whose bits do not depend on the instruction set: elementwise IEEE
 * operations, explicit fma, sums over 16 strided lanes and a fixed tree. */
#ifndef TLT_TRAIN_ELEMENTWISE_H
#define TLT_TRAIN_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

/* Entropy in nats of softmax(logits / T) given its log-sum-exp (T < 1e-3: T = 1): the sum of
 * p (lse - logit / T), lanes in fp32 over chunks of TLT_VOCAB_CHUNK, chunks in double. */
float tlt_entropy(const float *logits, int n, float temperature, float lse);

/* Sum of a[i] b[i]. */
float tlt_dot(const float *a, const float *b, int n);

/* to[i] += by * x[i]. */
void tlt_add_scaled(float *to, float by, const float *x, int n);

/* First index of the largest value; n >= 1. NaN never wins. */
int32_t tlt_argmax(const float *x, int n);

/* x becomes exp(x / T - lse); returns the entropy of that in nats. T > 0 (below 1e-3: 1). */
float tlt_softmax(float *x, int n, float temperature, float lse);

/* Soft cross-entropy -sum p ln q of a teacher p and q = exp(logits / T - lse). logits become its
 * gradient by themselves times `weight`: weight (q - p) / T. *overlap = sum min(p, q). */
float tlt_soft_cross_entropy(const float *p, float *logits, int n, float temperature, float lse,
                             float weight, float *overlap);

/* Sum over i of smooth-L1(x - y) with beta 1; dx += scale * its slope. */
float tlt_smooth_l1(const float *x, const float *y, int n, float scale, float *dx);

/* to[i] = (float)acc[i] * factor, one rounding each. */
void tlt_grad_scale(const int64_t *acc, size_t n, float factor, float *to);

/* Sum of squares in double over 16 strided lanes. */
double tlt_sum_squares(const float *x, size_t n);

/* Constants of one AdamW step, as torch.optim.AdamW rounds them. */
typedef struct tlt_adamw_constants {
  float factor; /* gradient = (float)acc * factor * clip */
  float clip;
  float keep; /* 1 - lr * decay, or 1 */
  float beta2, one_beta1, one_beta2;
  float step_size;       /* lr / (1 - beta1^t) */
  float root_correction; /* sqrt(1 - beta2^t) */
  float eps;
} tlt_adamw_constants;

/* master, moments of n elements; acc is cleared. */
void tlt_adamw_elements(const tlt_adamw_constants *c, size_t n, int64_t *acc, float *master,
                        float *moment1, float *moment2);

#endif
