#define TLT_NAME(name) name##_avx512
#include "kernels/draft_top.inc.h"
