// The list of kernels for an element type; a file for each type makes them, so that they compile side by side.
#pragma once

#include "conv_mma.cuh"
#include "conv_plain.cuh"
#include "filter.cuh"
#include "launch.cuh"
#include "reduce.cuh"
#include "styles.cuh"

#define FLEXPOSE_KERNEL(...)                                                                                  \
  template int flexpose::launch<__VA_ARGS__>(const typename __VA_ARGS__::Params&, std::int64_t, std::int64_t, \
                                             void*);

#define FLEXPOSE_KERNELS(T)                                                                \
  FLEXPOSE_KERNEL(flexpose::ConvPlain<T>)                                                  \
  FLEXPOSE_KERNEL(flexpose::Filter<T, 1>)                                                  \
  FLEXPOSE_KERNEL(flexpose::Filter<T, flexpose::kVector<T>>)                               \
  FLEXPOSE_KERNEL(flexpose::Reduce<T, 1, flexpose::ActivationGradient>)                    \
  FLEXPOSE_KERNEL(flexpose::Reduce<T, flexpose::kVector<T>, flexpose::ActivationGradient>) \
  FLEXPOSE_KERNEL(flexpose::Reduce<T, 1, flexpose::ScaledProduct>)                         \
  FLEXPOSE_KERNEL(flexpose::Reduce<T, flexpose::kVector<T>, flexpose::ScaledProduct>)      \
  FLEXPOSE_KERNEL(flexpose::Pack<T, T>)

#define FLEXPOSE_KERNELS_16_BITS(T)             \
  FLEXPOSE_KERNELS(T)                           \
  FLEXPOSE_KERNEL(flexpose::ConvMma<T, 64>)     \
  FLEXPOSE_KERNEL(flexpose::ConvMma<T, 128>)    \
  FLEXPOSE_KERNEL(flexpose::Pack<float, T>)

#define FLEXPOSE_KERNELS_WIDE(T) \
  FLEXPOSE_KERNELS(T)            \
  FLEXPOSE_KERNEL(flexpose::Styles<T>)
