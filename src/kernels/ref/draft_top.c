#define TLT_NAME(name) name##_scalar
#include "kernels/draft_top.inc.h"
