// The geometry of a convolution as the kernels see it: a list of taps over a grid, cut into tiles. Everything here
// is index arithmetic without memory.
//
// One form covers all the convolutions of this library. For every point (i, j) of a grid
//
//   out[i * out_step + out_y, j * out_step + out_x] = sum over taps t of weight[slice_t] in[i * in_step + dy_t, j * in_step + dx_t]
//
// A plain convolution has one phase of k * k taps. A transposed one with stride 2 has a phase for each parity of the
// output row and column, with the taps that do not meet inserted zeros; its adjoint steps over the input by 2.
#pragma once

#include "types.cuh"

namespace flexpose {

constexpr int kMaxTaps = 9;
constexpr int kMaxPhases = 4;

struct Tap {
  std::int8_t dy, dx, slice;
};

// A tile has `samples` samples of `height` by `width` points of the grid; its points are numbered column first.
struct TileShape {
  int width, height, samples;

  FLEXPOSE_HD int points() const { return width * height * samples; }
};

struct Phase {
  Tap taps[kMaxTaps];
  int tap_count;
  int grid_h, grid_w;
  int out_y, out_x;
  int min_dy, min_dx, span_y, span_x;  // the taps reach [min, min + span] around a point
  TileShape tile;
  std::int64_t first_tile;  // the tiles of earlier phases
};

struct ConvShape {
  int n, in_c, in_h, in_w;
  int out_c, out_h, out_w;
  int in_step, out_step;
  int phase_count;
  Phase phases[kMaxPhases];
};

// Rows and columns of the input that one sample of a tile needs.
struct Halo {
  int height, width;

  FLEXPOSE_HD Halo(const Phase& phase, int in_step)
      : height((phase.tile.height - 1) * in_step + phase.span_y + 1),
        width((phase.tile.width - 1) * in_step + phase.span_x + 1) {}

  FLEXPOSE_HD int pixels(const TileShape& tile) const { return tile.samples * height * width; }
};

FLEXPOSE_HD std::int64_t tile_count(int samples, const Phase& phase) {
  return ceil_div(samples, phase.tile.samples) * ceil_div(phase.grid_h, phase.tile.height) *
         ceil_div(phase.grid_w, phase.tile.width);
}

FLEXPOSE_HD int phase_of_tile(const ConvShape& shape, std::int64_t tile) {
  int phase = 0;
  while (phase + 1 < shape.phase_count && tile >= shape.phases[phase + 1].first_tile) ++phase;
  return phase;
}

// The first sample, row and column of a tile of a phase.
struct TileOrigin {
  int n, y, x;

  FLEXPOSE_HD TileOrigin(const Phase& phase, std::int64_t index) {
    const std::int64_t across = ceil_div(phase.grid_w, phase.tile.width);
    const std::int64_t down = ceil_div(phase.grid_h, phase.tile.height);
    x = static_cast<int>(index % across) * phase.tile.width;
    y = static_cast<int>(index / across % down) * phase.tile.height;
    n = static_cast<int>(index / across / down) * phase.tile.samples;
  }
};

// A point of a tile, counted from the tile's origin. A block may have room for more points than the tile has: those
// stand in for the first one, so that they read what is there, and make nothing.
struct TilePoint {
  int n, y, x;
  bool inside;

  FLEXPOSE_HD TilePoint(const TileShape& tile, int index) : inside(index < tile.points()) {
    if (!inside) index = 0;
    x = index % tile.width;
    y = index / tile.width % tile.height;
    n = index / tile.width / tile.height;
  }
};

// Where the input of a point lies in the halo of its tile, for the tap that reaches least.
FLEXPOSE_HD int halo_index(const TilePoint& point, const Halo& halo, int in_step) {
  return (point.n * halo.height + point.y * in_step) * halo.width + point.x * in_step;
}

FLEXPOSE_HD int halo_offset(const Tap& tap, const Phase& phase, const Halo& halo) {
  return (tap.dy - phase.min_dy) * halo.width + tap.dx - phase.min_dx;
}

// The pixel of the whole input (n, y, x row-major) behind pixel `index` of a tile's halo, or -1 in the padding.
// `sample` becomes the pixel's sample, also where it is padding.
FLEXPOSE_HD int halo_pixel(const ConvShape& shape, const Phase& phase, const TileOrigin& origin, const Halo& halo,
                           int index, int& sample) {
  const int x = index % halo.width + origin.x * shape.in_step + phase.min_dx;
  const int y = index / halo.width % halo.height + origin.y * shape.in_step + phase.min_dy;
  sample = index / halo.width / halo.height + origin.n;
  const bool inside = sample < shape.n && x >= 0 && x < shape.in_w && y >= 0 && y < shape.in_h;
  return inside ? (sample * shape.in_h + y) * shape.in_w + x : -1;
}

// The pixel of the whole output that a point of the grid makes, or -1 for a point outside the grid.
struct OutPixel {
  int n, y, x;
  bool inside;

  FLEXPOSE_HD OutPixel(const ConvShape& shape, const Phase& phase, const TileOrigin& origin, const TilePoint& point) {
    const int grid_y = origin.y + point.y, grid_x = origin.x + point.x;
    n = origin.n + point.n;
    y = grid_y * shape.out_step + phase.out_y;
    x = grid_x * shape.out_step + phase.out_x;
    inside = point.inside && n < shape.n && grid_y < phase.grid_h && grid_x < phase.grid_w;
  }

  FLEXPOSE_HD std::int64_t index(const ConvShape& shape) const {
    return (static_cast<std::int64_t>(n) * shape.out_h + y) * shape.out_w + x;
  }
};

}  // namespace flexpose
