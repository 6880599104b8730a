//! Rows of a picture in the form that is asked for.

use crate::dispatch::{Plain, Simd};

use super::canvas::Canvas;
use super::scene::Layout;

/// A number that pictures are made of: `u8` as drawn, `f32` in [-1, 1], or `u16` with the bits of a bfloat16 in
/// [-1, 1].
pub trait Sample: Plain + Send + sealed::Convert {}

impl Sample for u8 {}
impl Sample for f32 {}
impl Sample for u16 {}

pub(super) mod sealed {
    pub trait Convert {
        /// What a byte becomes.
        fn of(byte: u8) -> Self;
        /// These numbers as bytes, if that is what they are.
        fn bytes(numbers: &mut [Self]) -> Option<&mut [u8]>
        where
            Self: Sized;
    }
}

impl sealed::Convert for u8 {
    #[inline(always)]
    fn of(byte: u8) -> Self {
        byte
    }

    #[inline(always)]
    fn bytes(numbers: &mut [Self]) -> Option<&mut [u8]> {
        Some(numbers)
    }
}

impl sealed::Convert for f32 {
    /// `byte / 127.5 - 1`
    #[inline(always)]
    fn of(byte: u8) -> Self {
        f32::from(byte) / 127.5 - 1.0
    }

    #[inline(always)]
    fn bytes(_: &mut [Self]) -> Option<&mut [u8]> {
        None
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
    fn bytes(_: &mut [Self]) -> Option<&mut [u8]> {
        None
    }
}

/// Writes the canvas, which has `C` channels, to its rows of `image`: directly, or, where `scratch` has room for them,
/// past the caches, if possible. One plane after the other is streamed, for three at a time are a third slower.
#[inline(always)]
pub(super) fn write<S: Simd, T: Sample, const C: usize>(
    simd: S,
    canvas: &Canvas,
    layout: Layout,
    scratch: &mut [T],
    image: &mut [T],
) {
    let (size, rows) = (canvas.size(), canvas.rows());
    let (first, last) = (rows.start as usize * size, rows.end as usize * size);
    let (pixels, len) = (canvas.pixels(), last - first);
    let stream = !scratch.is_empty();
    if C == 1 || layout == Layout::Nhwc {
        let to = &mut image[first * C..last * C];
        match T::bytes(to) {
            Some(to) if stream => simd.stream(to, pixels),
            Some(to) => to.copy_from_slice(pixels),
            None if stream => {
                let scratch = &mut scratch[..to.len()];
                convert(pixels, scratch);
                simd.stream(to, scratch);
            }
            None => convert(pixels, to),
        }
        return;
    }
    let (red, rest) = image.split_at_mut(size * size);
    let (green, blue) = rest.split_at_mut(size * size);
    let (red, green, blue) = (
        &mut red[first..last],
        &mut green[first..last],
        &mut blue[first..last],
    );
    if stream {
        let (red_scratch, rest) = scratch.split_at_mut(len);
        let (green_scratch, rest) = rest.split_at_mut(len);
        let blue_scratch = &mut rest[..len];
        separate(pixels, red_scratch, green_scratch, blue_scratch);
        simd.stream(red, red_scratch);
        simd.stream(green, green_scratch);
        simd.stream(blue, blue_scratch);
    } else {
        separate(pixels, red, green, blue);
    }
}

/// Converts all channels.
#[inline(always)]
fn convert<T: Sample>(from: &[u8], to: &mut [T]) {
    for (&from, to) in from.iter().zip(to) {
        *to = T::of(from);
    }
}

/// Converts red, green and blue, each into a plane of its own.
#[inline(always)]
fn separate<T: Sample>(from: &[u8], red: &mut [T], green: &mut [T], blue: &mut [T]) {
    let (pixels, _) = from.as_chunks::<3>();
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        *red = T::of(pixel[0]);
        *green = T::of(pixel[1]);
        *blue = T::of(pixel[2]);
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
