// The kernels for Half.
#include "kernels.cuh"

FLEXPOSE_KERNELS_16_BITS(flexpose::Half)
