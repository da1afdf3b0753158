#define TLT_NAME(name) name##_avx2
#include "kernels/elementwise.inc.h"
