// The small products of styles: tau s, the demodulation factors, and the gradient of both. And the weight's own
// preparation. All of it is tiny beside a convolution.
#pragma once

#include "types.cuh"

namespace flexpose {

enum class StyleProduct {
  kModulate,    // y[n, j] = sum_i a[n, i] b[j, i]
  kDemodulate,  // y[n, o] = (sum_i a[n, i]^2 b[o, i] + epsilon)^(-1/2)
  kGradient,    // y[n, i] = direct[n, i] - scale[n, i] sum_o a[n, o] factor[n, o]^2 b[o, i]
};

constexpr double kDemodulationEpsilon = 1e-8;

template <class A>
struct StyleParams {
  StyleProduct product;
  int n, rows, inner;  // y is [n, rows]
  int parts;           // kGradient: a and direct are [n, parts, ...], to be summed over the parts
  int direct_parts;
  const A* a;
  const A* b;  // [rows, inner]; for kGradient [inner, rows]
  const A* factor;
  const A* direct;
  const A* scale;
  A* y;
};

FLEXPOSE_HD float inverse_root(float value) {
#if defined(__CUDA_ARCH__)
  return rsqrtf(value);
#else
  return 1.f / __builtin_sqrtf(value);
#endif
}

FLEXPOSE_HD double inverse_root(double value) {
#if defined(__CUDA_ARCH__)
  return rsqrt(value);
#else
  return 1. / __builtin_sqrt(value);
#endif
}

template <class Element>
struct Styles {
  using A = Element;
  using Params = StyleParams<A>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;
  static constexpr int kTile = 16;
  static constexpr int kPitch = kTile + 1;

  static std::int64_t shared_bytes() { return std::int64_t{sizeof(A)} * 2 * kTile * kPitch; }
  static std::int64_t blocks(const Params& p) { return ceil_div(p.n, kTile) * ceil_div(p.rows, kTile); }

  static FLEXPOSE_HD A summed(const A* values, int parts, int size, int n, int i) {
    A sum = 0;
    for (int part = 0; part < parts; ++part) sum += values[(static_cast<std::int64_t>(n) * parts + part) * size + i];
    return sum;
  }

  static FLEXPOSE_HD A left(const Params& p, int n, int k) {
    if (p.product == StyleProduct::kGradient) {
      const A factor = p.factor[static_cast<std::int64_t>(n) * p.inner + k];
      return summed(p.a, p.parts, p.inner, n, k) * factor * factor;
    }
    const A value = p.a[static_cast<std::int64_t>(n) * p.inner + k];
    return p.product == StyleProduct::kDemodulate ? value * value : value;
  }

  static FLEXPOSE_HD A right(const Params& p, int row, int k) {
    const bool turned = p.product == StyleProduct::kGradient;
    return p.b[turned ? static_cast<std::int64_t>(k) * p.rows + row : static_cast<std::int64_t>(row) * p.inner + k];
  }

  static FLEXPOSE_HD A result(const Params& p, int n, int row, A sum) {
    if (p.product == StyleProduct::kModulate) return sum;
    if (p.product == StyleProduct::kDemodulate) return inverse_root(sum + A(kDemodulationEpsilon));
    const A direct = summed(p.direct, p.direct_parts, p.rows, n, row);
    return direct - p.scale[static_cast<std::int64_t>(n) * p.rows + row] * sum;
  }

  template <class Context>
  static FLEXPOSE_HD void run(Context& ctx, const Params& p) {
    A* const a = reinterpret_cast<A*>(ctx.shared());
    A* const b = a + kTile * kPitch;
    const int x = ctx.thread() % kTile, y = ctx.thread() / kTile, across = static_cast<int>(ceil_div(p.rows, kTile));
    const int first_row = static_cast<int>(ctx.block() % across) * kTile;
    const int n = static_cast<int>(ctx.block() / across) * kTile + y, row = first_row + x;
    A sum = 0;
    for (int k = 0; k < p.inner; k += kTile) {
      a[y * kPitch + x] = n < p.n && k + x < p.inner ? left(p, n, k + x) : A(0);
      b[y * kPitch + x] = first_row + y < p.rows && k + x < p.inner ? right(p, first_row + y, k + x) : A(0);
      ctx.sync();
      for (int i = 0; i < kTile; ++i) sum += a[y * kPitch + i] * b[x * kPitch + i];
      ctx.sync();
    }
    if (n < p.n && row < p.rows) p.y[static_cast<std::int64_t>(n) * p.rows + row] = result(p, n, row, sum);
  }
};

template <class From, class To>
struct PackParams {
  int out_c, in_c, taps;
  const From* weight;        // [out_c, in_c, taps]
  To* packed;                // [taps, out_c, in_c], or null
  To* transposed;            // [taps, in_c, out_c], or null
  Accumulator<To>* energy;   // [out_c, in_c], the sum of squares over the taps, or null
};

template <class From, class To>
struct Pack {
  using Params = PackParams<From, To>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;

  static std::int64_t blocks(const Params& p) { return ceil_div(std::int64_t{p.out_c} * p.in_c, kThreads); }

  template <class Context>
  static FLEXPOSE_HD void run(Context& ctx, const Params& p) {
    using A = Accumulator<To>;
    const std::int64_t size = std::int64_t{p.out_c} * p.in_c, index = ctx.block() * kThreads + ctx.thread();
    if (index >= size) return;
    const std::int64_t turned = index % p.in_c * p.out_c + index / p.in_c;
    A energy = 0;
    for (int t = 0; t < p.taps; ++t) {
      const A value = widen(p.weight[index * p.taps + t]);
      energy += value * value;
      if (p.packed != nullptr) p.packed[t * size + index] = Narrow<To>::from(value);
      if (p.transposed != nullptr) p.transposed[t * size + turned] = Narrow<To>::from(value);
    }
    if (p.energy != nullptr) p.energy[index] = energy;
  }
};

}  // namespace flexpose
