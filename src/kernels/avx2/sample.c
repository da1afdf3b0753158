#define TLT_NAME(name) name##_avx2
#include "kernels/sample.inc.h"
