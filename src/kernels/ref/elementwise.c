#define TLT_NAME(name) name##_scalar
#include "kernels/elementwise.inc.h"
