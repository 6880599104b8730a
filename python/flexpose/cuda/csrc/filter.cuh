// Zero insertion, the [1, 3, 3, 1] filter, decimation, and the epilogue, in one pass over [N, H, W, C].
//
// A thread makes V channels of kRun results of one column. It filters each row that it needs once along x, and adds
// it to the results above and below; so the filter costs 4 reads a result and not 16. Without a filter (taps = 1) the
// pass is the epilogue alone.
#pragma once

#include "epilogue.cuh"

namespace flexpose {

template <class T>
struct FilterParams {
  using A = Accumulator<T>;
  int n, c, in_h, in_w, out_h, out_w;
  int up, down, before;  // zeros in front of the first row and column, after insertion
  int taps;              // 4 or 1
  A gain;                // of the filter
  const T* x;
  T* y;
  Epilogue<A> epilogue;
};

// Weight of tap t of the filter along one axis; its sum is one.
template <class A>
FLEXPOSE_HD A filter_tap(int t) {
  return t == 0 || t == 3 ? A(0.125) : A(0.375);
}

// The input row (or column) at position `at` of the spread and padded axis, or -1 for a zero.
FLEXPOSE_HD int filter_source(int at, int before, int up, int size) {
  const int spread = at - before;
  return spread >= 0 && spread % up == 0 && spread / up < size ? spread / up : -1;
}

template <class Element, int V>
struct Filter {
  using T = Element;
  using A = Accumulator<T>;
  using Params = FilterParams<T>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;
  static constexpr int kRun = 4;

  static std::int64_t blocks(const Params& p) {
    return ceil_div(std::int64_t{p.n} * ceil_div(p.out_h, kRun) * p.out_w * (p.c / V), kThreads);
  }

  template <class Context>
  static FLEXPOSE_HD void run(Context& ctx, const Params& p) {
    const int pieces = p.c / V, runs = static_cast<int>(ceil_div(p.out_h, kRun));
    std::int64_t index = ctx.block() * kThreads + ctx.thread();
    if (index >= std::int64_t{p.n} * runs * p.out_w * pieces) return;
    const int c = static_cast<int>(index % pieces) * V;
    index /= pieces;
    const int x = static_cast<int>(index % p.out_w);
    index /= p.out_w;
    const int y = static_cast<int>(index % runs) * kRun, n = static_cast<int>(index / runs);
    const T* const sample = p.x + static_cast<std::int64_t>(n) * p.in_h * p.in_w * p.c + c;

    A sums[kRun][V] = {};
    for (int row = 0; row < (kRun - 1) * p.down + p.taps; ++row) {
      const int from_y = filter_source(y * p.down + row, p.before, p.up, p.in_h);
      if (from_y < 0) continue;
      A line[V] = {};
      for (int t = 0; t < p.taps; ++t) {
        const int from_x = filter_source(x * p.down + t, p.before, p.up, p.in_w);
        if (from_x < 0) continue;
        const A tap = p.taps == 1 ? A(1) : filter_tap<A>(t);
        const Vec<T, V> values =
            *reinterpret_cast<const Vec<T, V>*>(sample + (static_cast<std::int64_t>(from_y) * p.in_w + from_x) * p.c);
        FLEXPOSE_UNROLL
        for (int v = 0; v < V; ++v) line[v] += tap * widen(values.at[v]);
      }
      FLEXPOSE_UNROLL
      for (int r = 0; r < kRun; ++r) {
        const int t = row - r * p.down;
        if (t < 0 || t >= p.taps) continue;
        const A tap = p.taps == 1 ? A(1) : filter_tap<A>(t);
        FLEXPOSE_UNROLL
        for (int v = 0; v < V; ++v) sums[r][v] += tap * line[v];
      }
    }

    FLEXPOSE_UNROLL
    for (int r = 0; r < kRun; ++r) {
      if (y + r >= p.out_h) break;
      const A noise = p.epilogue.noise.at(n, y + r, x);
      Vec<T, V> result;
      FLEXPOSE_UNROLL
      for (int v = 0; v < V; ++v)
        result.at[v] = Narrow<T>::from(p.epilogue(sums[r][v] * p.gain, n, c + v, p.c, noise));
      *reinterpret_cast<Vec<T, V>*>(p.y + ((static_cast<std::int64_t>(n) * p.out_h + y + r) * p.out_w + x) * p.c + c) =
          result;
    }
  }
};

}  // namespace flexpose
