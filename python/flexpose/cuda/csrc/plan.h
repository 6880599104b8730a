// Which taps, grids and tiles make a convolution: host arithmetic, done once a call.
#pragma once

#include "shape.cuh"

namespace flexpose {

// The sizes of a transposed convolution of stride 2 and of the filter behind it, along one axis.
struct UpSizes {
  int spread;  // what the transposed convolution makes
  int before;  // zeros in front of it for the filter
};

inline UpSizes up_sizes(int size, int kernel) {
  return kernel == 1 ? UpSizes{size, 2} : UpSizes{2 * size + 1, 1};
}

// Completes a phase from its taps.
inline void add_phase(ConvShape& shape, Phase phase) {
  int max_dy = -128, max_dx = -128;
  phase.min_dy = phase.min_dx = 127;
  for (int i = 0; i < phase.tap_count; ++i) {
    const Tap& tap = phase.taps[i];
    phase.min_dy = smaller<int>(phase.min_dy, tap.dy);
    phase.min_dx = smaller<int>(phase.min_dx, tap.dx);
    max_dy = max_dy < tap.dy ? tap.dy : max_dy;
    max_dx = max_dx < tap.dx ? tap.dx : max_dx;
  }
  phase.span_y = max_dy - phase.min_dy;
  phase.span_x = max_dx - phase.min_dx;
  shape.phases[shape.phase_count++] = phase;
}

inline Tap make_tap(int dy, int dx, int slice) {
  return Tap{static_cast<std::int8_t>(dy), static_cast<std::int8_t>(dx), static_cast<std::int8_t>(slice)};
}

inline ConvShape sized(int n, int in_c, int in_h, int in_w, int out_c, int out_h, int out_w) {
  ConvShape shape{};
  shape.n = n;
  shape.in_c = in_c, shape.in_h = in_h, shape.in_w = in_w;
  shape.out_c = out_c, shape.out_h = out_h, shape.out_w = out_w;
  shape.in_step = shape.out_step = 1;
  return shape;
}

// One phase of kernel * kernel taps: `sign` 1 correlates, as torch's conv2d does, and -1 is its adjoint. With `step` 2
// it is the adjoint of `transposed`, whose taps begin at the point itself.
inline ConvShape correlation(int n, int in_c, int in_h, int in_w, int out_c, int out_h, int out_w, int kernel, int sign,
                             int step) {
  ConvShape shape = sized(n, in_c, in_h, in_w, out_c, out_h, out_w);
  shape.in_step = step;
  Phase phase{};
  phase.grid_h = out_h, phase.grid_w = out_w;
  const int middle = step == 1 ? kernel / 2 : 0;
  for (int y = 0; y < kernel; ++y)
    for (int x = 0; x < kernel; ++x)
      phase.taps[phase.tap_count++] = make_tap(sign * (y - middle), sign * (x - middle), y * kernel + x);
  add_phase(shape, phase);
  return shape;
}

// torch's conv_transpose2d of stride 2 with a kernel of 3 and no padding: row 2 i + y of the result has tap y of row i.
// The parities of row and column are four convolutions; that with most taps goes first.
inline ConvShape transposed(int n, int in_c, int in_h, int in_w, int out_c) {
  ConvShape shape = sized(n, in_c, in_h, in_w, out_c, 2 * in_h + 1, 2 * in_w + 1);
  shape.out_step = 2;
  for (int parity = 0; parity < 4; ++parity) {
    const int odd_y = parity / 2, odd_x = parity % 2;
    Phase phase{};
    phase.out_y = odd_y, phase.out_x = odd_x;
    phase.grid_h = in_h + 1 - odd_y, phase.grid_w = in_w + 1 - odd_x;
    for (int y = odd_y; y < 3; y += 2)
      for (int x = odd_x; x < 3; x += 2) phase.taps[phase.tap_count++] = make_tap((odd_y - y) / 2, (odd_x - x) / 2, y * 3 + x);
    add_phase(shape, phase);
  }
  return shape;
}

// What a phase costs in its tiles, in products of one point and one tap. A pixel of a halo is taken for one: copying
// and scaling it moves 64 bytes and takes about as many cycles. A block that needs more than half of a processor's
// shared memory leaves no room for a second one to work while it waits, which is taken for a quarter.
template <class Kernel>
std::int64_t cost(const ConvShape& shape, const Phase& phase, std::int64_t shared_limit) {
  const std::int64_t tile = Kernel::kPoints * phase.tap_count + Halo(phase, shape.in_step).pixels(phase.tile);
  const bool alone = 2 * Kernel::shared_bytes(phase, shape.in_step) > shared_limit;
  return tile_count(shape.n, phase) * tile * (alone ? 5 : 4);
}

// The next smaller tile side that is worth trying: the smallest that covers `size` with one tile more. 0 behind 1.
inline int next_side(int size, int side) {
  return side == 1 ? 0 : static_cast<int>(ceil_div(size, ceil_div(size, side - 1)));
}

// Cuts each phase into the tiles that cost least, of those that fit into shared memory. Returns the tiles of all
// phases, 0 if nothing fits.
template <class Kernel>
std::int64_t cut(ConvShape& shape, std::int64_t shared_limit, std::int64_t& shared_bytes) {
  std::int64_t total = 0;
  shared_bytes = 0;
  for (int i = 0; i < shape.phase_count; ++i) {
    Phase& phase = shape.phases[i];
    TileShape best{0, 0, 0};
    std::int64_t best_cost = 0;
    const int widest = next_side(phase.grid_w, smaller(phase.grid_w, Kernel::kPoints) + 1);
    for (int width = widest; width > 0; width = next_side(phase.grid_w, width)) {
      const int highest = next_side(phase.grid_h, smaller(phase.grid_h, Kernel::kPoints / width) + 1);
      for (int height = highest; height > 0; height = next_side(phase.grid_h, height)) {
        phase.tile = TileShape{width, height, smaller(shape.n, Kernel::kPoints / (width * height))};
        // Fewer samples until it fits; the halo is the part that grows with them.
        while (phase.tile.samples > 0 && Kernel::shared_bytes(phase, shape.in_step) > shared_limit) --phase.tile.samples;
        if (phase.tile.samples == 0) continue;
        const std::int64_t cost_here = cost<Kernel>(shape, phase, shared_limit);
        if (best_cost == 0 || cost_here < best_cost) {
          best = phase.tile;
          best_cost = cost_here;
        }
      }
    }
    if (best_cost == 0) return 0;
    phase.tile = best;
    phase.first_tile = total;
    total += tile_count(shape.n, phase);
    const std::int64_t bytes = Kernel::shared_bytes(phase, shape.in_step);
    shared_bytes = shared_bytes < bytes ? bytes : shared_bytes;
  }
  return total;
}

}  // namespace flexpose
