// The kernels for BFloat.
#include "kernels.cuh"

FLEXPOSE_KERNELS_16_BITS(flexpose::BFloat)
