// Starts a kernel: on the card, or in the emulator. Include it where kernels are made; others see launch.h alone.
#pragma once

#include "launch.h"

#if defined(FLEXPOSE_EMULATE)
#include <typeinfo>

#include "emulator/context.h"
#else
#include "device.cuh"
#endif

namespace flexpose {

constexpr std::int64_t kMostBlocks = 0x7fffffff;

#if defined(FLEXPOSE_EMULATE)

template <class Kernel>
int launch(const typename Kernel::Params& params, std::int64_t blocks, std::int64_t shared_bytes, void*) {
  emulator::Settings& settings = emulator::settings();
  if (blocks > kMostBlocks || shared_bytes > settings.shared_limit) return FLEXPOSE_TOO_LARGE;
  settings.launches.push_back({typeid(Kernel).name(), blocks, shared_bytes});
  if (settings.dry) return FLEXPOSE_OK;
  emulator::Block block(Kernel::kThreads, static_cast<std::size_t>(shared_bytes), settings.seed);
  for (std::int64_t index = 0; index < blocks; ++index) {
    settings.failure = block.run(index, [&](emulator::Context& context) { Kernel::run(context, params); });
    if (!settings.failure.empty()) return FLEXPOSE_EMULATOR_FAILURE;
  }
  return FLEXPOSE_OK;
}

#else

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocksPerProcessor)
    entry(const __grid_constant__ typename Kernel::Params params) {
  DeviceContext context;
  Kernel::run(context, params);
}

template <class Kernel>
int launch(const typename Kernel::Params& params, std::int64_t blocks, std::int64_t shared_bytes, void* stream) {
  if (blocks == 0) return FLEXPOSE_OK;
  if (blocks > kMostBlocks) return FLEXPOSE_TOO_LARGE;
  const auto kernel = reinterpret_cast<const void*>(&entry<Kernel>);
  constexpr std::int64_t kWithoutAsking = 48 * 1024;
  if (shared_bytes > kWithoutAsking) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error;
  }
  void* arguments[] = {const_cast<typename Kernel::Params*>(&params)};
  return cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(blocks)), dim3(Kernel::kThreads), arguments,
                          static_cast<std::size_t>(shared_bytes), static_cast<cudaStream_t>(stream));
}

#endif

}  // namespace flexpose
