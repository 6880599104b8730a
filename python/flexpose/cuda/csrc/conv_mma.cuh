// Convolution of 16-bit numbers on the tensor cores, as an implicit matrix product.
//
// A block makes a tile of 128 points by BN channels. For every chunk of 32 input channels it holds the tile's halo in
// shared memory, scaled by the style once, and all taps read it there; the weight of each tap and chunk comes through
// a ring of four stages. All copies are asynchronous and run ahead of the products.
#pragma once

#include "epilogue.cuh"
#include "shape.cuh"

namespace flexpose {

template <class T>
struct ConvParams {
  using A = Accumulator<T>;
  ConvShape shape;
  const T* x;         // [n, in_h, in_w, in_c]
  const T* weight;    // [slices, out_c, in_c]
  const A* in_scale;  // [n, in_c], or null
  T* y;               // [n, out_h, out_w, out_c]
  Epilogue<A> epilogue;
};

template <class Element, int BN>
struct ConvMma {
  using T = Element;
  using Params = ConvParams<T>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;
  static constexpr int kPoints = 128;
  static constexpr int kChannels = BN;
  static constexpr int kChunk = 32;                 // input channels
  static constexpr int kPitch = kChunk + 8;         // 80 bytes: eight rows in turn fall into different banks
  static constexpr int kStages = 4;                 // of the ring of weights
  static constexpr int kWarpsN = BN / 32;           // a warp makes 32 channels
  static constexpr int kWarpsM = 8 / kWarpsN;
  static constexpr int kRowsM = kPoints / kWarpsM;  // points a warp makes
  static constexpr int kTilesM = kRowsM / 16;       // products of 16 x 8
  static constexpr int kTilesN = 4;
  static constexpr int kVectors = kChunk / 8;       // copies of 16 bytes a row
  static constexpr int kOutPitch = BN + 8;

  // Halo buffers: the copy of a chunk starts `buffers - 1` chunks ahead, which is at least kStages - 1 products.
  static FLEXPOSE_HD int buffers(int tap_count) { return static_cast<int>(ceil_div(kStages - 1, tap_count)) + 1; }

  // What lies behind a pixel of the halo.
  struct Source {
    int pixel, sample;
  };

  static std::int64_t shared_bytes(const Phase& phase, int in_step) {
    const std::int64_t pixels = Halo(phase, in_step).pixels(phase.tile);
    const std::int64_t halos = round_up(pixels * sizeof(Source), 16) + pixels * sizeof(T) * kPitch * buffers(phase.tap_count);
    const std::int64_t results = sizeof(T) * kPoints * kOutPitch, inputs = halos + sizeof(T) * kStages * BN * kPitch;
    return inputs < results ? results : inputs;
  }

  template <class Context>
  static FLEXPOSE_HD void run(Context& ctx, const Params& p) {
    const ConvShape& shape = p.shape;
    const std::int64_t channel_tiles = ceil_div(shape.out_c, BN), tile_index = ctx.block() / channel_tiles;
    const int first_c = static_cast<int>(ctx.block() % channel_tiles) * BN;
    const Phase& phase = shape.phases[phase_of_tile(shape, tile_index)];
    const TileOrigin origin(phase, tile_index - phase.first_tile);
    const Halo halo(phase, shape.in_step);
    const int halo_pixels = halo.pixels(phase.tile), thread = ctx.thread(), lane = thread % 32, warp = thread / 32;
    const int warp_m = warp % kWarpsM, warp_n = warp / kWarpsM;
    const int chunks = static_cast<int>(ceil_div(shape.in_c, kChunk));
    const int steps = chunks * phase.tap_count, halo_buffers = buffers(phase.tap_count);

    Source* const sources = reinterpret_cast<Source*>(ctx.shared());
    T* const weights = reinterpret_cast<T*>(ctx.shared() + round_up(halo_pixels * std::int64_t{sizeof(Source)}, 16));
    T* const halos = weights + kStages * BN * kPitch;
    const int halo_size = halo_pixels * kPitch;

    for (int i = thread; i < halo_pixels; i += kThreads) {
      int sample;
      const int pixel = halo_pixel(shape, phase, origin, halo, i, sample);
      sources[i] = Source{pixel, sample};
    }
    ctx.sync();

    // Each thread copies, and later scales, the same vectors of a halo: column `vector` of every 64th pixel.
    const int vector = thread % kVectors * 8, first_row = thread / kVectors;
    constexpr int kRowStep = kThreads / kVectors;

    const auto copy_halo = [&](int chunk, int buffer) {
      const int c = chunk * kChunk + vector;
      for (int row = first_row; row < halo_pixels; row += kRowStep) {
        const int pixel = sources[row].pixel;
        const bool valid = pixel >= 0 && c < shape.in_c;
        const T* const from = valid ? p.x + static_cast<std::int64_t>(pixel) * shape.in_c + c : p.x;
        ctx.copy16(halos + buffer * halo_size + row * kPitch + vector, from, valid);
      }
    };

    const auto scale_halo = [&](int chunk, int buffer) {
      const int c = chunk * kChunk + vector;
      if (p.in_scale == nullptr || c >= shape.in_c) return;
      for (int row = first_row; row < halo_pixels; row += kRowStep) {
        const Source source = sources[row];
        if (source.pixel < 0) continue;
        Vec<T, 8>& values = *reinterpret_cast<Vec<T, 8>*>(halos + buffer * halo_size + row * kPitch + vector);
        const Vec<float, 4>* const scales =
            reinterpret_cast<const Vec<float, 4>*>(p.in_scale + static_cast<std::int64_t>(source.sample) * shape.in_c + c);
        Vec<T, 8> scaled = values;
        const Vec<float, 4> low = scales[0], high = scales[1];
        FLEXPOSE_UNROLL
        for (int i = 0; i < 4; ++i) {
          scaled.at[i] = Narrow<T>::from(widen(scaled.at[i]) * low.at[i]);
          scaled.at[i + 4] = Narrow<T>::from(widen(scaled.at[i + 4]) * high.at[i]);
        }
        values = scaled;
      }
    };

    const auto copy_weight = [&](int chunk, int tap, int stage) {
      const int c = chunk * kChunk + vector;
      const T* const slice = p.weight + static_cast<std::int64_t>(phase.taps[tap].slice) * shape.out_c * shape.in_c;
      FLEXPOSE_UNROLL
      for (int row = first_row; row < BN; row += kRowStep) {
        const int out = first_c + row;
        const bool valid = out < shape.out_c && c < shape.in_c;
        const T* const from = valid ? slice + static_cast<std::int64_t>(out) * shape.in_c + c : p.weight;
        ctx.copy16(weights + (stage * BN + row) * kPitch + vector, from, valid);
      }
    };

    // Where this lane's rows begin in the matrices that ldmatrix reads.
    int point_rows[kTilesM];
    FLEXPOSE_UNROLL
    for (int m = 0; m < kTilesM; ++m) {
      const TilePoint point(phase.tile, warp_m * kRowsM + m * 16 + lane % 16);
      point_rows[m] = halo_index(point, halo, shape.in_step) * kPitch + lane / 16 * 8;
    }
    const int weight_row = (warp_n * 32 + lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 8;

    float sums[kTilesM][kTilesN][4];
    FLEXPOSE_UNROLL
    for (int m = 0; m < kTilesM; ++m) {
      FLEXPOSE_UNROLL
      for (int n = 0; n < kTilesN; ++n) {
        FLEXPOSE_UNROLL
        for (int i = 0; i < 4; ++i) sums[m][n][i] = 0.f;
      }
    }

    // The copies of step s + kStages - 1 start in step s, and every step closes one group of them.
    int next_step = 0, next_tap = 0, next_chunk = 0;
    const auto start_weight = [&] {
      if (next_step < steps) copy_weight(next_chunk, next_tap, next_step % kStages);
      ++next_step;
      if (++next_tap == phase.tap_count) {
        next_tap = 0;
        ++next_chunk;
      }
    };
    for (int chunk = 0; chunk < halo_buffers - 1 && chunk < chunks; ++chunk) copy_halo(chunk, chunk);
    for (int stage = 0; stage < kStages - 1; ++stage) {
      start_weight();
      ctx.commit();
    }

    int step = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int buffer = chunk % halo_buffers, ahead = chunk + halo_buffers - 1;
      for (int tap = 0; tap < phase.tap_count; ++tap, ++step) {
        ctx.template wait<kStages - 2>();
        if (tap == 0) scale_halo(chunk, buffer);
        ctx.sync();  // what came is seen by all, and nobody reads the stage that is filled next
        if (tap == 0 && ahead < chunks) copy_halo(ahead, ahead % halo_buffers);
        start_weight();
        ctx.commit();

        const T* const points = halos + buffer * halo_size + halo_offset(phase.taps[tap], phase, halo) * kPitch;
        const T* const columns = weights + step % kStages * BN * kPitch + weight_row;
        FLEXPOSE_UNROLL
        for (int k = 0; k < kChunk; k += 16) {
          std::uint32_t a[kTilesM][4], b[kTilesN / 2][4];
          FLEXPOSE_UNROLL
          for (int m = 0; m < kTilesM; ++m) ctx.ldmatrix(a[m], points + point_rows[m] + k);
          FLEXPOSE_UNROLL
          for (int n = 0; n < kTilesN / 2; ++n) ctx.ldmatrix(b[n], columns + n * 16 * kPitch + k);
          FLEXPOSE_UNROLL
          for (int m = 0; m < kTilesM; ++m) {
            FLEXPOSE_UNROLL
            for (int n = 0; n < kTilesN; ++n)
              ctx.template mma<T>(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
          }
        }
      }
    }
    ctx.template wait<0>();
    ctx.sync();  // the tile of results takes the place of the inputs

    T* const results = reinterpret_cast<T*>(ctx.shared());
    FLEXPOSE_UNROLL
    for (int m = 0; m < kTilesM; ++m) {
      FLEXPOSE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int row = warp_m * kRowsM + m * 16 + half * 8 + lane / 4;
        const OutPixel pixel(shape, phase, origin, TilePoint(phase.tile, row));
        if (!pixel.inside) continue;
        const float noise = p.epilogue.noise.at(pixel.n, pixel.y, pixel.x);
        FLEXPOSE_UNROLL
        for (int n = 0; n < kTilesN; ++n) {
          FLEXPOSE_UNROLL
          for (int i = 0; i < 2; ++i) {
            const int column = warp_n * 32 + n * 8 + lane % 4 * 2 + i;
            if (first_c + column >= shape.out_c) continue;
            const float value = p.epilogue(sums[m][n][half * 2 + i], pixel.n, first_c + column, shape.out_c, noise);
            results[row * kOutPitch + column] = Narrow<T>::from(value);
          }
        }
      }
    }
    ctx.sync();

    if (shape.out_c % 8 == 0) {
      store<8>(p, phase, origin, results, first_c, thread);
    } else {
      store<1>(p, phase, origin, results, first_c, thread);
    }
  }

 private:
  template <int V>
  static FLEXPOSE_HD void store(const Params& p, const Phase& phase, const TileOrigin& origin, const T* results,
                                int first_c, int thread) {
    const int columns = smaller(BN, p.shape.out_c - first_c) / V;
    for (int i = thread; i < kPoints * columns; i += kThreads) {
      const int row = i / columns, column = i % columns * V;
      const OutPixel pixel(p.shape, phase, origin, TilePoint(phase.tile, row));
      if (!pixel.inside) continue;
      using Piece = Vec<T, V>;
      *reinterpret_cast<Piece*>(p.y + pixel.index(p.shape) * p.shape.out_c + first_c + column) =
          *reinterpret_cast<const Piece*>(results + row * kOutPitch + column);
    }
  }
};

}  // namespace flexpose
