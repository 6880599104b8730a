//! Zero insertion, a short separable filter and decimation in one pass over pictures whose channels lie next to each
//! other.
//!
//! Neither the zeros nor the pixels that decimation leaves out are ever made, forwards or (the same function with both
//! factors changed for each other) backwards.
#![allow(clippy::inline_always)] // or a kernel is not compiled for its level

use std::num::NonZeroUsize;

use crate::convolution::Number;
use crate::dispatch::{run_wide, Wide, WideLevel, WideTask, WIDE};
use crate::error::{check_length, check_size, Result};
use crate::threads::for_each_chunk_with;

/// Taps of the longest filter.
pub const MAX_TAPS: usize = 4;

/// A filter and its input.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a, T: Number> {
    pub images: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the output.
    pub out_size: [usize; 2],
    pub channels: usize,
    /// Zeros are inserted so that the sides grow this many times.
    pub up: usize,
    /// Every so manyth pixel is kept.
    pub down: usize,
    /// Zeros before the first pixel of a row or column, after the insertion; negative to crop.
    pub before: isize,
    /// Of each direction, 1 to [`MAX_TAPS`]: output `o` is the sum of `taps[a]` times place `o * down + a - before`.
    pub taps: &'a [f32],
    /// Of the result.
    pub gain: f32,
    /// `[N, H, W, C]`
    pub x: &'a [T],
}

impl<T: Number> Filter<'_, T> {
    fn check(&self, out: &[T]) -> Result<()> {
        let taps = self.taps.len();
        check_size("up", "at least 1", self.up, self.up > 0)?;
        check_size("down", "at least 1", self.down, self.down > 0)?;
        check_size("taps", "1 to 4 of them", taps, (1..=MAX_TAPS).contains(&taps))?;
        let length = |size: [usize; 2]| self.images * size[0] * size[1] * self.channels;
        check_length("x", self.x.len(), length(self.size))?;
        check_length("out", out.len(), length(self.out_size))
    }

    /// What output `o` of a line of `length` inputs is made of.
    fn terms(&self, o: usize, length: usize) -> Terms {
        let (up, begin) = (self.up.cast_signed(), (o * self.down).cast_signed() - self.before);
        let taps = self.taps.len().cast_signed();
        // Input h lies under tap h * up - begin.
        let first = begin.div_euclid(up) + isize::from(begin.rem_euclid(up) != 0);
        let (first, last) = (first.max(0), (begin + taps - 1).div_euclid(up));
        let last = last.min(length.cast_signed() - 1);
        let mut terms = Terms {
            first: first.cast_unsigned(),
            count: 0,
            weights: [0.0; MAX_TAPS],
        };
        for h in first..=last {
            terms.weights[terms.count] = self.taps[(h * up - begin).cast_unsigned()];
            terms.count += 1;
        }
        terms
    }
}

/// Inputs next to each other, and their weights.
#[derive(Clone, Copy)]
struct Terms {
    first: usize,
    count: usize,
    weights: [f32; MAX_TAPS],
}

impl Terms {
    /// Fills `out` with the weighted sum of runs as long as itself.
    #[inline(always)]
    fn add_all<T: Number, U: Number, W: Wide>(&self, wide: W, values: &[T], length: usize, out: &mut [U]) {
        let count = WIDE.min(length);
        for begin in (0..length).step_by(WIDE) {
            let at = begin.min(length - count); // the last sixteen may overlap those before them
            let sum = self.add(wide, values, length, at, count);
            store_some(wide, &mut out[at..at + count], sum);
        }
    }

    /// The weighted sum of `count` numbers from `at` on in runs of `length`.
    #[inline(always)]
    fn add<T: Number, W: Wide>(
        &self,
        wide: W,
        values: &[T],
        length: usize,
        at: usize,
        count: usize,
    ) -> W::Floats {
        match self.count {
            MAX_TAPS => self.add_first::<MAX_TAPS, T, W>(wide, values, length, at, count),
            2 => self.add_first::<2, T, W>(wide, values, length, at, count),
            1 => self.add_first::<1, T, W>(wide, values, length, at, count),
            3 => self.add_first::<3, T, W>(wide, values, length, at, count),
            _ => wide.splat(0.0),
        }
    }

    #[inline(always)]
    fn add_first<const N: usize, T: Number, W: Wide>(
        &self,
        wide: W,
        values: &[T],
        length: usize,
        at: usize,
        count: usize,
    ) -> W::Floats {
        let values = &values[self.first * length + at..];
        let mut sum = wide.splat(0.0);
        for i in 0..N {
            let term = load_some(wide, &values[i * length..][..count]);
            sum = wide.fma(term, wide.splat(self.weights[i]), sum);
        }
        sum
    }
}

/// Computes `out` `[N, H', W', C]` on `workers` threads, or as many as this process may use.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) and [`Error::Size`](crate::Error::Size) for buffers that do not fit,
/// [`Error::Threads`](crate::Error::Threads) if no thread starts.
pub fn filter<T: Number>(
    level: WideLevel,
    filter: &Filter<'_, T>,
    workers: Option<NonZeroUsize>,
    out: &mut [T],
) -> Result<()> {
    filter.check(out)?;
    if out.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = (0..filter.out_size[1])
        .map(|o| filter.terms(o, filter.size[1]))
        .collect();
    let own = || vec![0.0; filter.size[1] * filter.channels];
    let row = filter.out_size[1] * filter.channels;
    for_each_chunk_with(out, row, workers, own, |line, index, out| {
        let task = Row {
            filter,
            columns: &columns,
            image: index / filter.out_size[0],
            y: index % filter.out_size[0],
            line,
            out,
        };
        run_wide(level, task);
    })
}

/// A row of the output.
struct Row<'a, 'b, T: Number> {
    filter: &'a Filter<'b, T>,
    columns: &'a [Terms],
    image: usize,
    y: usize,
    /// The rows of the input, added up: `[W, C]`.
    line: &'a mut [f32],
    out: &'a mut [T],
}

impl<T: Number> WideTask for Row<'_, '_, T> {
    #[inline(always)]
    fn run<W: Wide>(mut self, wide: W) {
        self.add_rows(wide);
        let channels = self.filter.channels;
        for (terms, out) in self.columns.iter().zip(self.out.chunks_exact_mut(channels)) {
            terms.add_all(wide, self.line, channels, out);
        }
    }
}

impl<T: Number> Row<'_, '_, T> {
    /// Fills `line` with the weighted sum of the input's rows.
    #[inline(always)]
    fn add_rows<W: Wide>(&mut self, wide: W) {
        let [height, width] = self.filter.size;
        let length = width * self.filter.channels;
        let image = &self.filter.x[self.image * height * length..][..height * length];
        let mut terms = self.filter.terms(self.y, height);
        terms.weights = terms.weights.map(|weight| weight * self.filter.gain);
        terms.add_all(wide, image, length, self.line);
    }
}

/// Up to sixteen numbers; the rest is zero.
#[inline(always)]
fn load_some<T: Number, W: Wide>(wide: W, values: &[T]) -> W::Floats {
    if values.len() == WIDE {
        return T::load(wide, values);
    }
    let mut padded = [T::default(); WIDE];
    padded[..values.len()].copy_from_slice(values);
    T::load(wide, &padded)
}

/// The first numbers, as many as there is room for, up to sixteen.
#[inline(always)]
fn store_some<T: Number, W: Wide>(wide: W, values: &mut [T], a: W::Floats) {
    if values.len() == WIDE {
        return T::store(wide, values, a);
    }
    let mut padded = [T::default(); WIDE];
    T::store(wide, &mut padded, a);
    values.copy_from_slice(&padded[..values.len()]);
}

#[cfg(test)]
mod tests;
