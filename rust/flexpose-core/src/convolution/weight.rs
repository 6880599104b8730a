//! The gradient of the 3x3 kernels by minimal filtering: with y = A' [(G w) (B' d)], w's gradient is
//! G' [(A g) (B' d)], summed over all tiles before the last transform.
//!
//! Tiles are summed up in parts that depend on the sizes alone, and the parts one after the other: threads change
//! nothing.

use std::num::NonZeroUsize;

use super::number::{exactly, exactly_mut, Number};
use super::{is_multiple, Shape, Window, COLUMNS, MAX_SIDE, ROWS};
use crate::dispatch::{run_wide, Wide, WideLevel, WideTask, WIDE};
use crate::error::{check_length, check_size, Result};
use crate::threads::{for_each_chunk, for_each_chunk_with};

/// Words of tiles that are transformed and multiplied together.
const STRIP: usize = 64;
/// Strips that are worth a sum of their own, and most of these.
const STRIPS_PER_PART: usize = 4;
const MAX_PARTS: usize = 8;
/// Words of a panel of the input and of the gradient. A little more than they hold: powers of two share cache sets.
const INPUT_PANEL: usize = STRIP * COLUMNS + WIDE;
const GRADIENT_PANEL: usize = STRIP * ROWS + WIDE;
const BLOCK: usize = ROWS * COLUMNS;

/// The tensors of `c = post * conv(pre * x)`, and the gradient of c.
#[derive(Debug, Clone, Copy)]
pub struct WeightGradient<'a, T: Number> {
    /// `inputs` is a multiple of [`COLUMNS`], `outputs` of [`WIDE`], `up` is 1.
    pub shape: Shape,
    /// `[N, H, W, I]`
    pub x: &'a [T],
    /// `[N, H, W, O]`
    pub gradient: &'a [T],
    /// `[N, I]`
    pub pre: &'a [f32],
    /// `[N, O]`
    pub post: &'a [f32],
}

impl<T: Number> WeightGradient<'_, T> {
    const SIDE: usize = T::TILE + 2;
    const POINTS: usize = Self::SIDE * Self::SIDE;

    fn check(&self, out: &[f32]) -> Result<()> {
        let Shape {
            images,
            height,
            width,
            inputs,
            outputs,
            up,
        } = self.shape;
        check_size("inputs", "a multiple of 32", inputs, is_multiple(inputs, COLUMNS))?;
        check_size("outputs", "a multiple of 16", outputs, is_multiple(outputs, WIDE))?;
        check_size("up", "1", up, up == 1)?;
        let pixels = images * height * width;
        check_length("x", self.x.len(), pixels * inputs)?;
        check_length("gradient", self.gradient.len(), pixels * outputs)?;
        check_length("pre", self.pre.len(), images * inputs)?;
        check_length("post", self.post.len(), images * outputs)?;
        check_length("out", out.len(), outputs * 9 * inputs)
    }

    fn tiles_per_image(&self) -> usize {
        self.shape.height.div_ceil(T::TILE) * self.shape.width.div_ceil(T::TILE)
    }
}

/// Computes `out` `[O, 3, 3, I]` on `workers` threads, or as many as this process may use.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) and [`Error::Size`](crate::Error::Size) for buffers that do not fit,
/// [`Error::Threads`](crate::Error::Threads) if no thread starts.
pub fn weight_gradient<T: Number>(
    level: WideLevel,
    problem: &WeightGradient<'_, T>,
    workers: Option<NonZeroUsize>,
    out: &mut [f32],
) -> Result<()> {
    problem.check(out)?;
    let Shape {
        images,
        inputs,
        outputs,
        ..
    } = problem.shape;
    let tiles = images * problem.tiles_per_image();
    let strips = tiles.div_ceil(STRIP * T::PER_WORD);
    let parts = (strips / STRIPS_PER_PART).clamp(1, MAX_PARTS);
    let each = strips.div_ceil(parts) * STRIP * T::PER_WORD; // tiles
    let size = WeightGradient::<T>::POINTS * outputs * inputs;
    let mut sums = vec![0.0; parts * size];
    let own = || Scratch::<T>::new(&problem.shape);
    for_each_chunk_with(&mut sums, size, workers, own, |scratch, index, sums| {
        let part = Part {
            problem,
            begin: (index * each).min(tiles),
            end: ((index + 1) * each).min(tiles),
            scratch,
            sums,
        };
        run_wide(level, part);
    })?;
    for_each_chunk(out, 9 * inputs, workers, |output, out| {
        let task = Finish::<T> {
            sums: &sums,
            shape: &problem.shape,
            output,
            out,
            number: std::marker::PhantomData,
        };
        run_wide(level, task);
    })
}

struct Scratch<T: Number> {
    /// `[A * A, I / COLUMNS]` panels of `[STRIP, COLUMNS]`
    v: Vec<T::Word>,
    /// `[A * A, O / ROWS]` panels of `[STRIP, ROWS]`
    g: Vec<T::Word>,
}

impl<T: Number> Scratch<T> {
    fn new(shape: &Shape) -> Self {
        let points = WeightGradient::<T>::POINTS;
        Self {
            v: vec![T::Word::default(); points * shape.inputs / COLUMNS * INPUT_PANEL],
            g: vec![T::Word::default(); points * shape.outputs / ROWS * GRADIENT_PANEL],
        }
    }
}

/// Tiles that are summed up one after the other.
struct Part<'a, 'b, T: Number> {
    problem: &'a WeightGradient<'b, T>,
    begin: usize,
    end: usize,
    scratch: &'a mut Scratch<T>,
    /// `[A * A, I / COLUMNS, O / ROWS, ROWS, COLUMNS]`
    sums: &'a mut [f32],
}

impl<T: Number> WideTask for Part<'_, '_, T> {
    #[inline(always)]
    fn run<W: Wide>(mut self, wide: W) {
        for first in (self.begin..self.end).step_by(STRIP * T::PER_WORD) {
            let words = (self.end - first).div_ceil(T::PER_WORD).min(STRIP);
            for word in 0..words {
                self.transform(wide, first + word * T::PER_WORD, word);
            }
            self.multiply(wide, words);
        }
    }
}

impl<T: Number> Part<'_, '_, T> {
    const SIDE: usize = T::TILE + 2;

    /// Puts the transformed tiles from `first` on, as many as a word has room for, into place.
    #[inline(always)]
    fn transform<W: Wide>(&mut self, wide: W, first: usize, word: usize) {
        let Shape { inputs, outputs, .. } = self.problem.shape;
        let points = Self::SIDE * Self::SIDE;
        let mut tiles = [[wide.splat(0.0); MAX_SIDE * MAX_SIDE]; 2];
        for begin in (0..inputs).step_by(WIDE) {
            for (k, tile) in tiles[..T::PER_WORD].iter_mut().enumerate() {
                self.input_tile(wide, first + k, begin, tile);
            }
            let place = begin / COLUMNS * INPUT_PANEL + word * COLUMNS + begin % COLUMNS;
            for point in 0..points {
                let words = &mut self.scratch.v[point * inputs / COLUMNS * INPUT_PANEL + place..];
                T::keep_both(wide, exactly_mut(words), [tiles[0][point], tiles[1][point]]);
            }
        }
        for begin in (0..outputs).step_by(WIDE) {
            for (k, tile) in tiles[..T::PER_WORD].iter_mut().enumerate() {
                self.gradient_tile(wide, first + k, begin, tile);
            }
            let place = begin / ROWS * GRADIENT_PANEL + word * ROWS;
            for point in 0..points {
                let mut words = [T::Word::default(); WIDE];
                T::keep_both(wide, &mut words, [tiles[0][point], tiles[1][point]]);
                let panels = &mut self.scratch.g[point * outputs / ROWS * GRADIENT_PANEL + place..];
                for (panel, words) in panels.chunks_mut(GRADIENT_PANEL).zip(words.chunks_exact(ROWS)) {
                    panel[..ROWS].copy_from_slice(words);
                }
            }
        }
    }

    /// The image and the first pixel of a tile, if there is one.
    #[inline(always)]
    fn place(&self, tile: usize) -> Option<(usize, usize, usize)> {
        let per_image = self.problem.tiles_per_image();
        let per_row = self.problem.shape.width.div_ceil(T::TILE);
        let (image, tile_of_image) = (tile / per_image, tile % per_image);
        let (y, x) = (
            tile_of_image / per_row * T::TILE,
            tile_of_image % per_row * T::TILE,
        );
        (tile < self.end).then_some((image, y, x))
    }

    /// B' d B of the scaled input.
    #[inline(always)]
    fn input_tile<W: Wide>(
        &self,
        wide: W,
        tile: usize,
        begin: usize,
        to: &mut [W::Floats; MAX_SIDE * MAX_SIDE],
    ) {
        let Some((image, y, x)) = self.place(tile) else {
            *to = [wide.splat(0.0); MAX_SIDE * MAX_SIDE];
            return;
        };
        let shape = &self.problem.shape;
        let (pixels, inputs) = (shape.height * shape.width, shape.inputs);
        let scale = wide.load(exactly(&self.problem.pre[image * inputs + begin..]));
        let window = Window {
            image: &self.problem.x[image * pixels * inputs..][..pixels * inputs],
            shape,
            y,
            x,
            begin,
        };
        let inside =
            y > 0 && x > 0 && y + Self::SIDE <= shape.height + 1 && x + Self::SIDE <= shape.width + 1;
        let d = if inside {
            window.load::<W, true>(wide, scale)
        } else {
            window.load::<W, false>(wide, scale)
        };
        for j in 0..Self::SIDE {
            let column = T::forward(wide, std::array::from_fn(|i| d[i][j]));
            for i in 0..Self::SIDE {
                to[i * Self::SIDE + j] = column[i];
            }
        }
    }

    /// A g A' of the scaled gradient.
    #[inline(always)]
    fn gradient_tile<W: Wide>(
        &self,
        wide: W,
        tile: usize,
        begin: usize,
        to: &mut [W::Floats; MAX_SIDE * MAX_SIDE],
    ) {
        let Some((image, y, x)) = self.place(tile) else {
            *to = [wide.splat(0.0); MAX_SIDE * MAX_SIDE];
            return;
        };
        let Shape {
            height,
            width,
            outputs,
            ..
        } = self.problem.shape;
        let scale = wide.load(exactly(&self.problem.post[image * outputs + begin..]));
        let mut d = [[wide.splat(0.0); MAX_SIDE]; MAX_SIDE];
        for i in 0..T::TILE.min(height - y) {
            for j in 0..T::TILE.min(width - x) {
                let place = ((image * height + y + i) * width + x + j) * outputs + begin;
                d[i][j] = wide.mul(T::load(wide, &self.problem.gradient[place..][..WIDE]), scale);
            }
            d[i] = T::spread(wide, d[i]);
        }
        for j in 0..Self::SIDE {
            let column = T::spread(wide, std::array::from_fn(|i| d[i][j]));
            for i in 0..Self::SIDE {
                to[i * Self::SIDE + j] = column[i];
            }
        }
    }

    /// Adds the products of the strip's tiles to the sums.
    #[inline(always)]
    fn multiply<W: Wide>(&mut self, wide: W, words: usize) {
        let Shape { inputs, outputs, .. } = self.problem.shape;
        let (of_inputs, of_outputs) = (inputs / COLUMNS, outputs / ROWS);
        let Scratch { v, g } = &*self.scratch;
        let points = v
            .chunks_exact(of_inputs * INPUT_PANEL)
            .zip(g.chunks_exact(of_outputs * GRADIENT_PANEL))
            .zip(self.sums.chunks_exact_mut(outputs * inputs));
        for ((v, g), sums) in points {
            for (v, sums) in v
                .chunks_exact(INPUT_PANEL)
                .zip(sums.chunks_exact_mut(outputs * COLUMNS))
            {
                for (g, sums) in g.chunks_exact(GRADIENT_PANEL).zip(sums.chunks_exact_mut(BLOCK)) {
                    T::outer(wide, &g[..words * ROWS], &v[..words * COLUMNS], exactly_mut(sums));
                }
            }
        }
    }
}

/// Adds up the parts of an output's kernels and transforms them.
struct Finish<'a, T: Number> {
    /// Of each part what [`Part::sums`] is.
    sums: &'a [f32],
    shape: &'a Shape,
    output: usize,
    /// `[3, 3, I]`
    out: &'a mut [f32],
    number: std::marker::PhantomData<T>,
}

impl<T: Number> WideTask for Finish<'_, T> {
    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let &Shape { inputs, outputs, .. } = self.shape;
        let side = T::TILE + 2;
        let point = outputs * inputs;
        for begin in (0..inputs).step_by(WIDE) {
            let place = (begin / COLUMNS * (outputs / ROWS) + self.output / ROWS) * BLOCK
                + self.output % ROWS * COLUMNS
                + begin % COLUMNS;
            let mut m = [[wide.splat(0.0); MAX_SIDE]; MAX_SIDE];
            for part in self.sums.chunks_exact(side * side * point) {
                for i in 0..side {
                    for j in 0..side {
                        let sums = &part[(i * side + j) * point + place..];
                        m[i][j] = wide.add(m[i][j], wide.load(exactly(sums)));
                    }
                }
            }
            let rows: [_; MAX_SIDE] = std::array::from_fn(|i| T::gather(wide, m[i]));
            for kx in 0..3 {
                let column = T::gather(wide, std::array::from_fn(|i| rows[i][kx]));
                for (ky, value) in column.into_iter().enumerate() {
                    wide.store(
                        exactly_mut(&mut self.out[(ky * 3 + kx) * inputs + begin..]),
                        value,
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
