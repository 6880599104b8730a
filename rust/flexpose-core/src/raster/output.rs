//! Rows of a picture in the form that is asked for.

use crate::dispatch::Simd;

use super::canvas::Canvas;
use super::scene::Layout;

/// A number that pictures are made of: `u8` as drawn, `f32` in [-1, 1], or `u16` with the bits of a bfloat16 in
/// [-1, 1].
pub trait Sample: Copy + Send + sealed::Convert {}

impl Sample for u8 {}
impl Sample for f32 {}
impl Sample for u16 {}

pub(super) mod sealed {
    use crate::dispatch::Simd;

    pub trait Convert: Sized {
        /// What a byte becomes.
        fn of(byte: u8) -> Self;
        /// Converts `from` into `to`, which has its length; past the caches if `stream` and possible.
        fn copy<S: Simd>(simd: S, stream: bool, to: &mut [Self], from: &[u8]);
    }
}

impl sealed::Convert for u8 {
    #[inline(always)]
    fn of(byte: u8) -> Self {
        byte
    }

    #[inline(always)]
    fn copy<S: Simd>(simd: S, stream: bool, to: &mut [Self], from: &[u8]) {
        if stream {
            simd.stream(to, from);
        } else {
            to.copy_from_slice(from);
        }
    }
}

impl sealed::Convert for f32 {
    /// `byte / 127.5 - 1`
    #[inline(always)]
    fn of(byte: u8) -> Self {
        f32::from(byte) / 127.5 - 1.0
    }

    #[inline(always)]
    fn copy<S: Simd>(_: S, _: bool, to: &mut [Self], from: &[u8]) {
        convert(to, from);
    }
}

impl sealed::Convert for u16 {
    /// The `f32` value rounded to the nearest bfloat16, halves to even.
    #[inline(always)]
    fn of(byte: u8) -> Self {
        let bits = <f32 as sealed::Convert>::of(byte).to_bits();
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    }

    #[inline(always)]
    fn copy<S: Simd>(_: S, _: bool, to: &mut [Self], from: &[u8]) {
        convert(to, from);
    }
}

#[inline(always)]
fn convert<T: sealed::Convert>(to: &mut [T], from: &[u8]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = T::of(from);
    }
}

/// Writes the canvas, which has `C` channels, to its rows of `image`.
#[inline(always)]
pub(super) fn write<S: Simd, T: Sample, const C: usize>(
    simd: S,
    canvas: &Canvas,
    layout: Layout,
    stream: bool,
    image: &mut [T],
) {
    let (size, rows) = (canvas.size(), canvas.rows());
    let (first, last) = (rows.start as usize * size, rows.end as usize * size);
    let pixels = canvas.pixels();
    if C == 1 || layout == Layout::Nhwc {
        T::copy(simd, stream, &mut image[first * C..last * C], pixels);
        return;
    }
    for (channel, plane) in image.chunks_exact_mut(size * size).enumerate() {
        for (to, pixel) in plane[first..last].iter_mut().zip(pixels.chunks_exact(C)) {
            *to = T::of(pixel[channel]);
        }
    }
}

/// Writes a canvas of one channel to `channel` of `channels` of its rows, `[rows, S, channels]`, which are black.
#[inline(always)]
pub(super) fn scatter<T: Sample>(canvas: &Canvas, channel: usize, channels: usize, rows: &mut [T]) {
    let size = canvas.size();
    let from = canvas.pixels().chunks_exact(size);
    let to = rows.chunks_exact_mut(size * channels);
    for ((from, to), span) in from.zip(to).zip(canvas.spans()) {
        let to = to[span.start * channels..].chunks_exact_mut(channels);
        for (&from, to) in from[span].iter().zip(to) {
            to[channel] = T::of(from);
        }
    }
}
