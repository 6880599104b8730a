// The kernels for double.
#include "kernels.cuh"

FLEXPOSE_KERNELS_WIDE(double)
