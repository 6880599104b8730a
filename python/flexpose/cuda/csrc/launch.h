// What the host code needs to start kernels, without a word of CUDA.
#pragma once

#include <cstdint>

#include "flexpose_cuda.h"

namespace flexpose {

// Start `blocks` blocks on the stream; FLEXPOSE_OK, another flexpose_status, or the error of the CUDA runtime.
template <class Kernel>
int launch(const typename Kernel::Params& params, std::int64_t blocks, std::int64_t shared_bytes, void* stream);

// What the current card can do.
struct Card {
  int processors;
  std::int64_t shared_limit;  // bytes of shared memory that one block may ask for
};

// FLEXPOSE_OK, or the error of the CUDA runtime.
int current_card(Card& card);

}  // namespace flexpose
