// What follows a convolution or a filter: factor, noise, bias, activation, gain, clamp.
#pragma once

#include "types.cuh"

namespace flexpose {

constexpr double kSlope = 0.2;  // of the leaky ReLU, StyleGAN2's

// Noise has one value a pixel, and a stride of zero where it is the same along an axis.
template <class A>
struct Noise {
  const A* values;  // or null
  std::int64_t stride_n, stride_y, stride_x;

  FLEXPOSE_HD A at(int n, int y, int x) const {
    return values == nullptr ? A(0) : values[n * stride_n + y * stride_y + x * stride_x];
  }
};

template <class A>
struct Epilogue {
  const A* scale;  // [N, C], or null for one
  Noise<A> noise;
  const A* bias;  // [C], or null
  bool leaky;
  A gain;
  A clamp;  // infinite for none

  FLEXPOSE_HD A offset(A noise_here, int c) const { return bias == nullptr ? noise_here : noise_here + bias[c]; }

  // The result for `value` at channel `c` of sample `n` of `channels`, where the noise is `noise_here`.
  FLEXPOSE_HD A operator()(A value, int n, int c, int channels, A noise_here) const {
    if (scale != nullptr) value *= scale[static_cast<std::int64_t>(n) * channels + c];
    value += offset(noise_here, c);
    if (leaky && value < A(0)) value *= A(kSlope);
    value *= gain;
    // A comparison with NaN is false, so that NaN goes through, as it does in torch.
    if (value > clamp) value = clamp;
    if (value < -clamp) value = -clamp;
    return value;
  }

  // The derivative of the result by what the activation is given, from the result alone.
  FLEXPOSE_HD A slope(A result) const {
    if (result >= clamp || result <= -clamp) return A(0);
    // A gain below zero turns the sign of the result around.
    const bool positive = gain < A(0) ? result < A(0) : result > A(0);
    return leaky && !positive ? gain * A(kSlope) : gain;
  }

  // What the activation was given, from a result that was not clamped.
  FLEXPOSE_HD A before(A result) const {
    const A slope_here = slope(result);
    return slope_here == A(0) ? A(0) : result / slope_here;
  }
};

}  // namespace flexpose
