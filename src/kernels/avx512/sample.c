#define TLT_NAME(name) name##_avx512
#include "kernels/sample.inc.h"
