// What the CUDA runtime says: the card, and its errors.
#include <cuda_runtime_api.h>

#include "launch.h"

int flexpose::current_card(Card& card) {
  int device = 0, shared = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&card.processors, cudaDevAttrMultiProcessorCount, device))
    return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device))
    return error;
  card.shared_limit = shared;
  return FLEXPOSE_OK;
}

const char* flexpose_error_text(int status) {
  switch (status) {
    case FLEXPOSE_OK: return "done";
    case FLEXPOSE_BAD_ARGUMENT: return "an argument is wrong";
    case FLEXPOSE_TOO_LARGE: return "the work needs more blocks than a grid has";
    case FLEXPOSE_SMALL_WORKSPACE: return "the workspace is too small";
    default: return cudaGetErrorString(static_cast<cudaError_t>(status));
  }
}
