// The kernels for float.
#include "kernels.cuh"

FLEXPOSE_KERNELS_WIDE(float)
