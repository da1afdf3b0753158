#define TLT_NAME(name) name##_avx2
#include "kernels/draft_top.inc.h"
