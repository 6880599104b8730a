// Convolution in the accumulator's own type: the truth for float and double, and the way for 16-bit numbers whose
// channels do not come in eights.
#pragma once

#include "conv_mma.cuh"

namespace flexpose {

template <class Element>
struct ConvPlain {
  using T = Element;
  using A = Accumulator<T>;
  using Params = ConvParams<T>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;
  static constexpr int kPoints = 64;
  static constexpr int kChannels = 64;
  static constexpr int kChunk = 16;
  static constexpr int kPitch = 64 + 4;

  static std::int64_t shared_bytes(const Phase&, int) { return 2 * sizeof(A) * kChunk * kPitch; }

  template <class Context>
  static FLEXPOSE_HD void run(Context& ctx, const Params& p) {
    const ConvShape& shape = p.shape;
    const std::int64_t channel_tiles = ceil_div(shape.out_c, kChannels), tile_index = ctx.block() / channel_tiles;
    const int first_c = static_cast<int>(ctx.block() % channel_tiles) * kChannels;
    const Phase& phase = shape.phases[phase_of_tile(shape, tile_index)];
    const TileOrigin origin(phase, tile_index - phase.first_tile);
    const Halo halo(phase, shape.in_step);
    const int thread = ctx.thread(), chunks = static_cast<int>(ceil_div(shape.in_c, kChunk));
    A* const points = reinterpret_cast<A*>(ctx.shared());  // [kChunk][kPitch], like the weights
    A* const weights = points + kChunk * kPitch;

    // A thread reads channel `column` of four points and four outputs, and makes a square of 4 x 4 results.
    const int column = thread % kChunk, first_row = thread / kChunk;
    const int row_m = thread % 16 * 4, row_n = thread / 16 * 4;
    A sums[4][4] = {};

    for (int t = 0; t < phase.tap_count; ++t) {
      const Tap tap = phase.taps[t];
      const T* const slice = p.weight + static_cast<std::int64_t>(tap.slice) * shape.out_c * shape.in_c;
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const int c = chunk * kChunk + column;
        for (int row = first_row; row < 64; row += kThreads / kChunk) {
          const int at = halo_index(TilePoint(phase.tile, row), halo, shape.in_step) + halo_offset(tap, phase, halo);
          int sample;
          const int pixel = halo_pixel(shape, phase, origin, halo, at, sample);
          A value = 0, weight = 0;
          if (pixel >= 0 && c < shape.in_c) {
            value = widen(p.x[static_cast<std::int64_t>(pixel) * shape.in_c + c]);
            if (p.in_scale != nullptr) value *= p.in_scale[static_cast<std::int64_t>(sample) * shape.in_c + c];
          }
          if (first_c + row < shape.out_c && c < shape.in_c)
            weight = widen(slice[static_cast<std::int64_t>(first_c + row) * shape.in_c + c]);
          points[column * kPitch + row] = value;
          weights[column * kPitch + row] = weight;
        }
        ctx.sync();
        for (int k = 0; k < kChunk; ++k) {
          A a[4], b[4];
          FLEXPOSE_UNROLL
          for (int i = 0; i < 4; ++i) {
            a[i] = points[k * kPitch + row_m + i];
            b[i] = weights[k * kPitch + row_n + i];
          }
          FLEXPOSE_UNROLL
          for (int i = 0; i < 4; ++i) {
            FLEXPOSE_UNROLL
            for (int j = 0; j < 4; ++j) sums[i][j] += a[i] * b[j];
          }
        }
        ctx.sync();
      }
    }

    FLEXPOSE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const OutPixel pixel(shape, phase, origin, TilePoint(phase.tile, row_m + i));
      if (!pixel.inside) continue;
      const A noise = p.epilogue.noise.at(pixel.n, pixel.y, pixel.x);
      FLEXPOSE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int out = first_c + row_n + j;
        if (out >= shape.out_c) continue;
        p.y[pixel.index(shape) * shape.out_c + out] =
            Narrow<T>::from(p.epilogue(sums[i][j], pixel.n, out, shape.out_c, noise));
      }
    }
  }
};

}  // namespace flexpose
