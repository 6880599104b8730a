//! Convolution with 3x3 kernels by Winograd's minimal filtering, with scaled inputs and outputs, noise, bias and leaky
//! `ReLU` in the same pass.
//!
//! Bfloat16 numbers are transformed in tiles of 2x2 outputs, which need 16 products where the plain sum needs 36; `f32`
//! in tiles of 4x4, 36 for 144. (Tiles of 4x4 would cost bfloat16 most of its bits.) A strip of tiles is transformed,
//! multiplied and transformed back while it is in the second cache.
//!
//! Source: Lavin and Gray 2015, arXiv:1509.09308.
#![allow(clippy::inline_always)] // or a kernel is not compiled for its level
#![allow(clippy::needless_range_loop)] // columns of arrays of rows

use std::num::NonZeroUsize;

use crate::dispatch::{run_wide, Wide, WideLevel, WideTask, WIDE};
use crate::error::{check_length, check_size, Result};
use crate::threads::for_each_chunk_with;

mod number;
mod weight;

pub use number::Number;
use number::{exactly, exactly_mut};
pub use weight::{weight_gradient, WeightGradient};

/// Output channels that are computed together.
pub const COLUMNS: usize = 2 * WIDE;
/// Tiles that are multiplied together.
const ROWS: usize = 8;
/// Side of the largest transformed tile.
const MAX_SIDE: usize = 6;

fn is_multiple(value: usize, of: usize) -> bool {
    value > 0 && value.is_multiple_of(of)
}

/// Sizes of a convolution that keeps the size of the picture, or doubles it.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub images: usize,
    /// Of the input.
    pub height: usize,
    pub width: usize,
    /// A multiple of [`WIDE`].
    pub inputs: usize,
    /// A multiple of [`COLUMNS`].
    pub outputs: usize,
    /// 1; or 2 for kernels that make the four pixels of each input pixel, row by row, one after the other.
    pub up: usize,
}

/// The tensors: `y = act(post * conv(pre * x) + noise + bias) * gain`, limited to `clamp`.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a, T: Number> {
    pub shape: Shape,
    /// `[N, H, W, I]`
    pub x: &'a [T],
    /// Transformed kernels, `[A * A, P / COLUMNS, I / PER_WORD, COLUMNS]` words with `A = TILE + 2` and
    /// `P = outputs * up * up`.
    pub kernels: &'a [T::Word],
    /// `[N, I]`
    pub pre: &'a [f32],
    /// `[N, O]`
    pub post: &'a [f32],
    /// Nothing, `[H * up, W * up]` or `[N, H * up, W * up]`.
    pub noise: &'a [f32],
    /// Nothing or `[O]`.
    pub bias: &'a [f32],
    /// Of the activation below zero; 1 for none.
    pub slope: f32,
    pub gain: f32,
    /// Infinity for no limit.
    pub clamp: f32,
}

impl<T: Number> Convolution<'_, T> {
    fn check(&self, out: &[T]) -> Result<()> {
        let Shape {
            images,
            height,
            width,
            inputs,
            outputs,
            up,
        } = self.shape;
        let pixels = height * width * up * up;
        let side = T::TILE + 2;
        check_size("inputs", "a multiple of 16", inputs, is_multiple(inputs, WIDE))?;
        check_size(
            "outputs",
            "a multiple of 32",
            outputs,
            is_multiple(outputs, COLUMNS),
        )?;
        check_size("up", "1 or 2", up, matches!(up, 1 | 2))?;
        let noise = match self.noise.len() {
            one if one == 0 || one == pixels => one,
            _ => images * pixels,
        };
        let bias = if self.bias.is_empty() { 0 } else { outputs };
        let kernels = side * side * inputs / T::PER_WORD * outputs * up * up;
        check_length("x", self.x.len(), images * height * width * inputs)?;
        check_length("kernels", self.kernels.len(), kernels)?;
        check_length("pre", self.pre.len(), images * inputs)?;
        check_length("post", self.post.len(), images * outputs)?;
        check_length("noise", self.noise.len(), noise)?;
        check_length("bias", self.bias.len(), bias)?;
        check_length("out", out.len(), images * pixels * outputs)
    }

    /// Rows of tiles that are computed together, and whether they divide an image.
    fn strip(&self) -> usize {
        let Shape { height, width, .. } = self.shape;
        let (rows, per_row) = (height.div_ceil(T::TILE), width.div_ceil(T::TILE));
        if height % T::TILE != 0 {
            return rows;
        }
        let wanted = (T::STRIP / per_row).clamp(1, rows);
        (1..=wanted).rev().find(|n| rows % n == 0).unwrap_or(1)
    }
}

/// Computes `out` `[N, H * up, W * up, O]` on `workers` threads, or as many as this process may use.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) and [`Error::Size`](crate::Error::Size) for buffers that do not fit,
/// [`Error::Threads`](crate::Error::Threads) if no thread starts.
pub fn convolve<T: Number>(
    level: WideLevel,
    convolution: &Convolution<'_, T>,
    workers: Option<NonZeroUsize>,
    out: &mut [T],
) -> Result<()> {
    convolution.check(out)?;
    if out.is_empty() {
        return Ok(());
    }
    let Shape {
        height,
        width,
        outputs,
        up,
        ..
    } = convolution.shape;
    let rows = convolution.strip();
    let strips = height.div_ceil(T::TILE).div_ceil(rows); // of an image
    let chunk = if strips == 1 {
        height * up * width * up * outputs
    } else {
        rows * T::TILE * up * width * up * outputs
    };
    let own = || Scratch::<T>::new(&convolution.shape, rows * width.div_ceil(T::TILE));
    for_each_chunk_with(out, chunk, workers, own, |scratch, index, out| {
        let strip = Strip {
            convolution,
            image: index / strips,
            top: index % strips * rows,
            rows,
            scratch,
            out,
        };
        run_wide(level, strip);
    })
}

struct Scratch<T: Number> {
    /// `[A * A, tiles, I / PER_WORD]`
    v: Vec<T::Word>,
    /// `[A * A, tiles, COLUMNS]`
    m: Vec<f32>,
    /// Tiles, in whole [`ROWS`].
    tiles: usize,
}

impl<T: Number> Scratch<T> {
    fn new(shape: &Shape, tiles: usize) -> Self {
        let tiles = tiles.next_multiple_of(ROWS);
        let points = (T::TILE + 2) * (T::TILE + 2);
        Self {
            v: vec![T::Word::default(); points * tiles * shape.inputs / T::PER_WORD],
            m: vec![0.0; points * tiles * COLUMNS],
            tiles,
        }
    }
}

/// Some rows of tiles of an image.
struct Strip<'a, 'b, T: Number> {
    convolution: &'a Convolution<'b, T>,
    image: usize,
    /// First row of tiles.
    top: usize,
    rows: usize,
    scratch: &'a mut Scratch<T>,
    out: &'a mut [T],
}

impl<T: Number> WideTask for Strip<'_, '_, T> {
    #[inline(always)]
    fn run<W: Wide>(mut self, wide: W) {
        self.transform(wide);
        let shape = self.convolution.shape;
        let blocks = shape.outputs * shape.up * shape.up / COLUMNS;
        for block in 0..blocks {
            self.multiply(wide, block, blocks);
            self.finish(wide, block);
        }
    }
}

impl<T: Number> Strip<'_, '_, T> {
    const SIDE: usize = T::TILE + 2;

    /// Fills `v` with the transformed tiles of the scaled input.
    #[inline(always)]
    fn transform<W: Wide>(&mut self, wide: W) {
        let Shape {
            height,
            width,
            inputs,
            ..
        } = self.convolution.shape;
        let image = &self.convolution.x[self.image * height * width * inputs..][..height * width * inputs];
        let pre = &self.convolution.pre[self.image * inputs..][..inputs];
        let per_row = width.div_ceil(T::TILE);
        let (words, length) = (inputs / T::PER_WORD, self.scratch.tiles * inputs / T::PER_WORD);
        for tile in 0..self.rows * per_row {
            let (y, x) = ((self.top + tile / per_row) * T::TILE, tile % per_row * T::TILE);
            let inside = y > 0 && x > 0 && y + Self::SIDE <= height + 1 && x + Self::SIDE <= width + 1;
            for begin in (0..inputs).step_by(WIDE) {
                let scale = wide.load(exactly(&pre[begin..]));
                let window = Window {
                    image,
                    shape: &self.convolution.shape,
                    y,
                    x,
                    begin,
                };
                let d = if inside {
                    window.load::<W, true>(wide, scale)
                } else {
                    window.load::<W, false>(wide, scale)
                };
                let v = &mut self.scratch.v[tile * words + begin / T::PER_WORD..];
                for j in 0..Self::SIDE {
                    let column = T::forward(wide, std::array::from_fn(|i| d[i][j]));
                    for i in 0..Self::SIDE {
                        let place = (i * Self::SIDE + j) * length;
                        T::keep(wide, &mut v[place..][..WIDE / T::PER_WORD], column[i]);
                    }
                }
            }
        }
    }

    /// Fills `m` for the block of [`COLUMNS`] outputs.
    #[inline(always)]
    fn multiply<W: Wide>(&mut self, wide: W, block: usize, blocks: usize) {
        let words = self.convolution.shape.inputs / T::PER_WORD;
        let Scratch { v, m, tiles } = &mut *self.scratch;
        let panels = self.convolution.kernels.chunks_exact(words * COLUMNS);
        for ((v, m), u) in v
            .chunks_exact(*tiles * words)
            .zip(m.chunks_exact_mut(*tiles * COLUMNS))
            .zip(panels.skip(block).step_by(blocks))
        {
            for (v, m) in v
                .chunks_exact(ROWS * words)
                .zip(m.chunks_exact_mut(ROWS * COLUMNS))
            {
                let sums = T::multiply(wide, std::array::from_fn(|row| &v[row * words..][..words]), u);
                for (sum, m) in sums.iter().zip(m.chunks_exact_mut(COLUMNS)) {
                    wide.store(exactly_mut(m), sum[0]);
                    wide.store(exactly_mut(&mut m[WIDE..]), sum[1]);
                }
            }
        }
    }

    /// Transforms `m` back and finishes the block's outputs.
    #[inline(always)]
    fn finish<W: Wide>(&mut self, wide: W, block: usize) {
        let Convolution {
            shape,
            post,
            noise,
            bias,
            slope,
            gain,
            clamp,
            ..
        } = *self.convolution;
        let Shape {
            height,
            width,
            outputs,
            up,
            ..
        } = shape;
        let per_row = width.div_ceil(T::TILE);
        let (phase, begin) = (block * COLUMNS / outputs, block * COLUMNS % outputs);
        let (phase_y, phase_x) = (phase / up, phase % up);
        let pixels = height * up * width * up;
        let noise = match noise.len() {
            0 => noise,
            length if length == pixels => noise,
            _ => &noise[self.image * pixels..][..pixels],
        };
        let (slope, gain) = (wide.splat(slope), wide.splat(gain));
        let (low, high) = (wide.splat(-clamp), wide.splat(clamp));
        let zero = wide.splat(0.0);
        let length = self.scratch.tiles * COLUMNS;
        let above = self.top * T::TILE * up * width * up; // pixels of the image before this strip
        for half in [0, WIDE] {
            let channel = begin + half;
            let scale = wide.load(exactly(&post[self.image * outputs + channel..]));
            let shift = if bias.is_empty() {
                zero
            } else {
                wide.load(exactly(&bias[channel..]))
            };
            for tile in 0..self.rows * per_row {
                let (row, left) = (tile / per_row * T::TILE, tile % per_row * T::TILE);
                let top = self.top * T::TILE + row;
                let (down, right) = (T::TILE.min(height - top), T::TILE.min(width - left));
                let mut d = [[zero; MAX_SIDE]; MAX_SIDE];
                let m = &self.scratch.m[tile * COLUMNS + half..];
                for i in 0..Self::SIDE {
                    for j in 0..Self::SIDE {
                        d[i][j] = wide.load(exactly(&m[(i * Self::SIDE + j) * length..]));
                    }
                    d[i] = T::backward(wide, d[i]);
                }
                for j in 0..T::TILE {
                    let column = T::backward(wide, std::array::from_fn(|i| d[i][j]));
                    for i in 0..T::TILE {
                        if i >= down || j >= right {
                            continue;
                        }
                        let place = ((row + i) * up + phase_y) * width * up + (left + j) * up + phase_x;
                        let mut z = wide.fma(column[i], scale, shift);
                        if !noise.is_empty() {
                            z = wide.add(z, wide.splat(noise[above + place]));
                        }
                        // Leaky for slopes up to 1.
                        z = wide.mul(wide.max(z, wide.mul(z, slope)), gain);
                        z = wide.min(wide.max(z, low), high);
                        T::store(wide, &mut self.out[place * outputs + channel..][..WIDE], z);
                    }
                }
            }
        }
    }
}

/// The pixels that a tile of outputs reads, [`WIDE`] channels of them.
struct Window<'a, T> {
    image: &'a [T],
    shape: &'a Shape,
    /// The tile's first pixel; the window begins one before it.
    y: usize,
    x: usize,
    begin: usize,
}

impl<T: Number> Window<'_, T> {
    /// Loads, scales and transforms the rows; outside of the picture is zero.
    #[inline(always)]
    fn load<W: Wide, const INSIDE: bool>(
        &self,
        wide: W,
        scale: W::Floats,
    ) -> [[W::Floats; MAX_SIDE]; MAX_SIDE] {
        let Shape {
            height,
            width,
            inputs,
            ..
        } = *self.shape;
        let mut d = [[wide.splat(0.0); MAX_SIDE]; MAX_SIDE];
        for i in 0..T::TILE + 2 {
            if !INSIDE && (self.y + i == 0 || self.y + i > height) {
                continue;
            }
            for j in 0..T::TILE + 2 {
                if !INSIDE && (self.x + j == 0 || self.x + j > width) {
                    continue;
                }
                let place = ((self.y + i - 1) * width + self.x + j - 1) * inputs + self.begin;
                d[i][j] = wide.mul(T::load(wide, &self.image[place..][..WIDE]), scale);
            }
            d[i] = T::forward(wide, d[i]);
        }
        d
    }
}

#[cfg(test)]
pub(crate) mod tests;
