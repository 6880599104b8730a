// Passes over two pictures that make a third and sum over the pixels: what a gradient needs beside convolutions.
#pragma once

#include "epilogue.cuh"

namespace flexpose {

template <class T>
struct ReduceParams {
  using A = Accumulator<T>;
  int n, h, w, c;
  int parts;      // pieces that a sample's pixels are cut into
  const T* a;     // [n, h, w, c]
  const T* b;     // the same
  T* y;           // the same, or null; may be b
  A* sums;        // [n, parts, c], or null
  const A* scale; // [n, c], or null: of the step that needs it
  Epilogue<A> epilogue;
};

// From the gradient a of an epilogue's result b: y is the gradient of what the activation is given, and the sum is
// that of y times the activation's input without its offset.
template <class T>
struct ActivationGradient {
  using A = Accumulator<T>;
  static FLEXPOSE_HD A step(const ReduceParams<T>& p, A a, A b, int, int c, A noise, A& y) {
    y = a * p.epilogue.slope(b);
    return y * (p.epilogue.before(b) - p.epilogue.offset(noise, c));
  }
};

// The sum is that of a times b, and y is b times the factor of its sample and channel.
template <class T>
struct ScaledProduct {
  using A = Accumulator<T>;
  static FLEXPOSE_HD A step(const ReduceParams<T>& p, A a, A b, int n, int c, A, A& y) {
    y = p.scale == nullptr ? b : b * p.scale[static_cast<std::int64_t>(n) * p.c + c];
    return a * b;
  }
};

template <class Element, int V, template <class> class Step>
struct Reduce {
  using T = Element;
  using A = Accumulator<T>;
  using Params = ReduceParams<T>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;
  static constexpr int kLanes = 16;  // vectors of channels a block has side by side
  static constexpr int kRows = kThreads / kLanes;

  static std::int64_t shared_bytes() { return std::int64_t{sizeof(A)} * kThreads * V; }
  static std::int64_t blocks(const Params& p) {
    return std::int64_t{p.n} * p.parts * ceil_div(p.c, kLanes * V);
  }

  // Enough parts to fill a large card, and no part below a few pixels a thread.
  static int parts_for(int n, int h, int w, int c) {
    const std::int64_t most = ceil_div(std::int64_t{h} * w, kRows * 4), blocks = n * ceil_div(c, kLanes * V);
    const std::int64_t wanted = ceil_div(1024, blocks < 1 ? 1 : blocks);
    return static_cast<int>(smaller(most < 1 ? 1 : most, wanted));
  }

  template <class Context>
  static FLEXPOSE_HD void run(Context& ctx, const Params& p) {
    const int pieces = static_cast<int>(ceil_div(p.c, kLanes * V)), lane = ctx.thread() % kLanes;
    const int row = ctx.thread() / kLanes, c = (static_cast<int>(ctx.block() % pieces) * kLanes + lane) * V;
    const int part = static_cast<int>(ctx.block() / pieces % p.parts);
    const int n = static_cast<int>(ctx.block() / pieces / p.parts);
    const std::int64_t pixels = std::int64_t{p.h} * p.w;
    const std::int64_t last = pixels * (part + 1) / p.parts;

    A sums[V] = {};
    if (c < p.c) {
      for (std::int64_t pixel = pixels * part / p.parts + row; pixel < last; pixel += kRows) {
        const std::int64_t at = (n * pixels + pixel) * p.c + c;
        const Vec<T, V> a = *reinterpret_cast<const Vec<T, V>*>(p.a + at);
        const Vec<T, V> b = *reinterpret_cast<const Vec<T, V>*>(p.b + at);
        const A noise = p.epilogue.noise.at(n, static_cast<int>(pixel / p.w), static_cast<int>(pixel % p.w));
        Vec<T, V> result;
        FLEXPOSE_UNROLL
        for (int v = 0; v < V; ++v) {
          A y;
          sums[v] += Step<T>::step(p, widen(a.at[v]), widen(b.at[v]), n, c + v, noise, y);
          result.at[v] = Narrow<T>::from(y);
        }
        if (p.y != nullptr) *reinterpret_cast<Vec<T, V>*>(p.y + at) = result;
      }
    }
    if (p.sums == nullptr) return;

    A* const table = reinterpret_cast<A*>(ctx.shared());  // [kRows][kLanes * V]
    FLEXPOSE_UNROLL
    for (int v = 0; v < V; ++v) table[(row * kLanes + lane) * V + v] = sums[v];
    ctx.sync();
    // Always in the same order, so that the sums are the same in every run.
    for (int i = ctx.thread(); i < kLanes * V; i += kThreads) {
      const int channel = static_cast<int>(ctx.block() % pieces) * kLanes * V + i;
      if (channel >= p.c) continue;
      A sum = 0;
      for (int r = 0; r < kRows; ++r) sum += table[r * kLanes * V + i];
      p.sums[(static_cast<std::int64_t>(n) * p.parts + part) * p.c + channel] = sum;
    }
  }
};

}  // namespace flexpose
