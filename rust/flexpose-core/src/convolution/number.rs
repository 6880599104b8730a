//! What the numbers of activations are, and how each kind of them is transformed and multiplied.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::{COLUMNS, MAX_SIDE, ROWS};
use crate::dispatch::{Wide, WIDE};

/// Numbers that activations are made of: `f32`, and `u16` for the bits of bfloat16.
pub trait Number: Copy + Default + Send + Sync {
    /// What transformed numbers are kept in.
    type Word: Copy + Default + Send + Sync;
    /// Numbers in a word.
    const PER_WORD: usize;
    /// Side of the tiles of the output.
    const TILE: usize;
    /// Tiles of a strip, about: transformed, they take half of the second cache.
    const STRIP: usize;

    #[doc(hidden)]
    fn load<W: Wide>(wide: W, values: &[Self]) -> W::Floats;
    #[doc(hidden)]
    fn store<W: Wide>(wide: W, values: &mut [Self], a: W::Floats);
    #[doc(hidden)]
    fn keep<W: Wide>(wide: W, words: &mut [Self::Word], a: W::Floats);
    /// Adds the products of [`ROWS`] rows of `v` with two columns of vectors.
    #[doc(hidden)]
    fn multiply<W: Wide>(wide: W, v: [&[Self::Word]; ROWS], u: &[Self::Word]) -> [[W::Floats; 2]; ROWS];
    /// B' d: one direction of the transform of the input.
    #[doc(hidden)]
    fn forward<W: Wide>(wide: W, d: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE];
    /// A' m: one direction of the transform of the products.
    #[doc(hidden)]
    fn backward<W: Wide>(wide: W, m: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE];

    /// Words of up to two vectors, a number of each a word.
    #[doc(hidden)]
    fn keep_both<W: Wide>(wide: W, words: &mut [Self::Word; WIDE], vectors: [W::Floats; 2]);
    /// Adds the outer products of words of `g`, [`ROWS`] at a time, and of `v`, [`COLUMNS`] at a time.
    #[doc(hidden)]
    fn outer<W: Wide>(wide: W, g: &[Self::Word], v: &[Self::Word], sums: &mut [f32; ROWS * COLUMNS]);
    /// A g: one direction of the transform of a gradient of outputs.
    #[doc(hidden)]
    fn spread<W: Wide>(wide: W, g: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE];
    /// G' m: one direction of the transform of products to a gradient of kernels.
    #[doc(hidden)]
    fn gather<W: Wide>(wide: W, m: [W::Floats; MAX_SIDE]) -> [W::Floats; 3];
}

#[inline(always)]
pub(super) fn exactly<T, const N: usize>(slice: &[T]) -> &[T; N] {
    slice
        .first_chunk()
        .expect("the caller cuts slices of this length")
}

#[inline(always)]
pub(super) fn exactly_mut<T, const N: usize>(slice: &mut [T]) -> &mut [T; N] {
    slice
        .first_chunk_mut()
        .expect("the caller cuts slices of this length")
}

#[inline(always)]
fn load_sums<W: Wide>(wide: W, sums: &[f32; ROWS * COLUMNS]) -> [[W::Floats; 2]; ROWS] {
    std::array::from_fn(|row| {
        let sums = &sums[row * COLUMNS..];
        [wide.load(exactly(sums)), wide.load(exactly(&sums[WIDE..]))]
    })
}

#[inline(always)]
fn store_sums<W: Wide>(wide: W, sums: &mut [f32; ROWS * COLUMNS], total: [[W::Floats; 2]; ROWS]) {
    for (total, sums) in total.iter().zip(sums.chunks_exact_mut(COLUMNS)) {
        wide.store(exactly_mut(sums), total[0]);
        wide.store(exactly_mut(&mut sums[WIDE..]), total[1]);
    }
}

impl Number for f32 {
    type Word = f32;
    const PER_WORD: usize = 1;
    const TILE: usize = 4;
    const STRIP: usize = 32;

    #[inline(always)]
    fn load<W: Wide>(wide: W, values: &[f32]) -> W::Floats {
        wide.load(exactly(values))
    }
    #[inline(always)]
    fn store<W: Wide>(wide: W, values: &mut [f32], a: W::Floats) {
        wide.store(exactly_mut(values), a);
    }
    #[inline(always)]
    fn keep<W: Wide>(wide: W, words: &mut [f32], a: W::Floats) {
        wide.store(exactly_mut(words), a);
    }
    #[inline(always)]
    fn multiply<W: Wide>(wide: W, v: [&[f32]; ROWS], u: &[f32]) -> [[W::Floats; 2]; ROWS] {
        let mut sums = [[wide.splat(0.0); 2]; ROWS];
        for (k, u) in u.chunks_exact(COLUMNS).enumerate() {
            let (left, right) = (wide.load(exactly(u)), wide.load(exactly(&u[WIDE..])));
            for (sum, row) in sums.iter_mut().zip(v) {
                let value = wide.splat(row[k]);
                *sum = [wide.fma(value, left, sum[0]), wide.fma(value, right, sum[1])];
            }
        }
        sums
    }
    /// Points 0, a, -a, b, -b and infinity with a^2 = 1/2 and b^2 = 2: half the error of whole numbers.
    #[inline(always)]
    fn forward<W: Wide>(wide: W, d: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE] {
        let (half, two, middle) = (wide.splat(-0.5), wide.splat(-2.0), wide.splat(-2.5));
        let (even_a, even_b) = (wide.fma(two, d[2], d[4]), wide.fma(half, d[2], d[4]));
        let odd_a = wide.mul(wide.splat(FRAC_1_SQRT_2), wide.fma(two, d[1], d[3]));
        let odd_b = wide.mul(wide.splat(SQRT_2), wide.fma(half, d[1], d[3]));
        [
            wide.add(d[0], wide.fma(middle, d[2], d[4])),
            wide.add(even_a, odd_a),
            wide.sub(even_a, odd_a),
            wide.add(even_b, odd_b),
            wide.sub(even_b, odd_b),
            wide.add(d[1], wide.fma(middle, d[3], d[5])),
        ]
    }
    #[inline(always)]
    fn backward<W: Wide>(wide: W, m: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE] {
        let (half, two) = (wide.splat(0.5), wide.splat(2.0));
        let (even_a, even_b) = (wide.add(m[1], m[2]), wide.add(m[3], m[4]));
        let odd_a = wide.mul(wide.splat(FRAC_1_SQRT_2), wide.sub(m[1], m[2]));
        let odd_b = wide.mul(wide.splat(SQRT_2), wide.sub(m[3], m[4]));
        [
            wide.add(m[0], wide.add(even_a, even_b)),
            wide.add(odd_a, odd_b),
            wide.fma(half, even_a, wide.mul(two, even_b)),
            wide.fma(half, odd_a, wide.fma(two, odd_b, m[5])),
            m[4],
            m[5],
        ]
    }
    #[inline(always)]
    fn keep_both<W: Wide>(wide: W, words: &mut [f32; WIDE], vectors: [W::Floats; 2]) {
        wide.store(words, vectors[0]);
    }
    #[inline(always)]
    fn outer<W: Wide>(wide: W, g: &[f32], v: &[f32], sums: &mut [f32; ROWS * COLUMNS]) {
        let mut total = load_sums(wide, sums);
        for (g, v) in g.chunks_exact(ROWS).zip(v.chunks_exact(COLUMNS)) {
            let (left, right) = (wide.load(exactly(v)), wide.load(exactly(&v[WIDE..])));
            for (total, &value) in total.iter_mut().zip(exactly::<_, ROWS>(g)) {
                let value = wide.splat(value);
                *total = [wide.fma(value, left, total[0]), wide.fma(value, right, total[1])];
            }
        }
        store_sums(wide, sums, total);
    }
    #[inline(always)]
    fn spread<W: Wide>(wide: W, g: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE] {
        let (half, two) = (wide.splat(0.5), wide.splat(2.0));
        let (even_a, even_b) = (wide.fma(half, g[2], g[0]), wide.fma(two, g[2], g[0]));
        let odd_a = wide.mul(wide.splat(FRAC_1_SQRT_2), wide.fma(half, g[3], g[1]));
        let odd_b = wide.mul(wide.splat(SQRT_2), wide.fma(two, g[3], g[1]));
        [
            g[0],
            wide.add(even_a, odd_a),
            wide.sub(even_a, odd_a),
            wide.add(even_b, odd_b),
            wide.sub(even_b, odd_b),
            g[3],
        ]
    }
    #[inline(always)]
    fn gather<W: Wide>(wide: W, m: [W::Floats; MAX_SIDE]) -> [W::Floats; 3] {
        let (even_a, even_b) = (wide.add(m[1], m[2]), wide.add(m[3], m[4]));
        let (odd_a, odd_b) = (wide.sub(m[1], m[2]), wide.sub(m[3], m[4]));
        let part = |a: f32, b: f32, even: W::Floats, odd: W::Floats, rest: W::Floats| {
            wide.fma(wide.splat(a), even, wide.fma(wide.splat(b), odd, rest))
        };
        let none = wide.splat(0.0);
        [
            part(-2.0 / 3.0, 1.0 / 6.0, even_a, even_b, m[0]),
            part(-2.0 / 3.0 * FRAC_1_SQRT_2, SQRT_2 / 6.0, odd_a, odd_b, none),
            part(-1.0 / 3.0, 1.0 / 3.0, even_a, even_b, m[5]),
        ]
    }
}

impl Number for u16 {
    type Word = u32;
    const PER_WORD: usize = 2;
    const TILE: usize = 2;
    const STRIP: usize = 64;

    #[inline(always)]
    fn load<W: Wide>(wide: W, values: &[u16]) -> W::Floats {
        wide.widen(exactly(values))
    }
    #[inline(always)]
    fn store<W: Wide>(wide: W, values: &mut [u16], a: W::Floats) {
        wide.round(exactly_mut(values), a);
    }
    #[inline(always)]
    fn keep<W: Wide>(wide: W, words: &mut [u32], a: W::Floats) {
        wide.round_pairs(exactly_mut(words), a);
    }
    #[inline(always)]
    fn multiply<W: Wide>(wide: W, v: [&[u32]; ROWS], u: &[u32]) -> [[W::Floats; 2]; ROWS] {
        let mut sums = [[wide.splat(0.0); 2]; ROWS];
        for (k, u) in u.chunks_exact(COLUMNS).enumerate() {
            let (left, right) = (wide.load_pairs(exactly(u)), wide.load_pairs(exactly(&u[WIDE..])));
            for (sum, row) in sums.iter_mut().zip(v) {
                let value = wide.pair(row[k]);
                *sum = [wide.dot(value, left, sum[0]), wide.dot(value, right, sum[1])];
            }
        }
        sums
    }
    /// Points 0, 1, -1 and infinity.
    #[inline(always)]
    fn forward<W: Wide>(wide: W, d: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE] {
        [
            wide.sub(d[0], d[2]),
            wide.add(d[1], d[2]),
            wide.sub(d[2], d[1]),
            wide.sub(d[1], d[3]),
            d[4],
            d[5],
        ]
    }
    #[inline(always)]
    fn backward<W: Wide>(wide: W, m: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE] {
        [
            wide.add(m[0], wide.add(m[1], m[2])),
            wide.sub(m[1], wide.add(m[2], m[3])),
            m[2],
            m[3],
            m[4],
            m[5],
        ]
    }
    #[inline(always)]
    fn keep_both<W: Wide>(wide: W, words: &mut [u32; WIDE], vectors: [W::Floats; 2]) {
        wide.round_both(words, vectors[0], vectors[1]);
    }
    #[inline(always)]
    fn outer<W: Wide>(wide: W, g: &[u32], v: &[u32], sums: &mut [f32; ROWS * COLUMNS]) {
        let mut total = load_sums(wide, sums);
        for (g, v) in g.chunks_exact(ROWS).zip(v.chunks_exact(COLUMNS)) {
            let (left, right) = (wide.load_pairs(exactly(v)), wide.load_pairs(exactly(&v[WIDE..])));
            for (total, &word) in total.iter_mut().zip(exactly::<_, ROWS>(g)) {
                let value = wide.pair(word);
                *total = [wide.dot(value, left, total[0]), wide.dot(value, right, total[1])];
            }
        }
        store_sums(wide, sums, total);
    }
    #[inline(always)]
    fn spread<W: Wide>(wide: W, g: [W::Floats; MAX_SIDE]) -> [W::Floats; MAX_SIDE] {
        let minus = wide.sub(wide.splat(0.0), g[1]);
        [
            g[0],
            wide.add(g[0], g[1]),
            wide.sub(g[0], g[1]),
            minus,
            g[4],
            g[5],
        ]
    }
    #[inline(always)]
    fn gather<W: Wide>(wide: W, m: [W::Floats; MAX_SIDE]) -> [W::Floats; 3] {
        let half = wide.splat(0.5);
        let (even, odd) = (wide.add(m[1], m[2]), wide.sub(m[1], m[2]));
        [
            wide.fma(half, even, m[0]),
            wide.mul(half, odd),
            wide.fma(half, even, m[3]),
        ]
    }
}
