/* Vector loops of training whose bits do not depend on the instruction set: elementwise IEEE
 * operations, explicit fma, sums over 16 strided lanes and a fixed tree. */
#ifndef TLT_TRAIN_ELEMENTWISE_H
#define TLT_TRAIN_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

/* Entropy in nats of softmax(logits / T) given its log-sum-exp (T < 1e-3: T = 1): the sum of
 * p (lse - logit / T), lanes in fp32 over chunks of TLT_VOCAB_CHUNK, chunks in double. */
float tlt_entropy(const float *logits, int n, float temperature, float lse);

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
