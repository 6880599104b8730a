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
        /// The bytes themselves, if that is what they become.
        fn same(bytes: &[u8]) -> Option<&[Self]>
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
    fn same(bytes: &[u8]) -> Option<&[Self]> {
        Some(bytes)
    }
}

impl sealed::Convert for f32 {
    /// `byte / 127.5 - 1`
    #[inline(always)]
    fn of(byte: u8) -> Self {
        f32::from(byte) / 127.5 - 1.0
    }

    #[inline(always)]
    fn same(_: &[u8]) -> Option<&[Self]> {
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
    fn same(_: &[u8]) -> Option<&[Self]> {
        None
    }
}

/// Writes the canvas, which has `C` channels, to its rows of `image`; if `stream`, past the caches where that is
/// possible, by way of `scratch`, which has room for them.
#[inline(always)]
pub(super) fn write<S: Simd, T: Sample, const C: usize>(
    simd: S,
    canvas: &Canvas,
    layout: Layout,
    stream: bool,
    scratch: &mut [T],
    image: &mut [T],
) {
    let (size, rows) = (canvas.size(), canvas.rows());
    let (first, last) = (rows.start as usize * size, rows.end as usize * size);
    if C == 1 || layout == Layout::Nhwc {
        let to = &mut image[first * C..last * C];
        match T::same(canvas.pixels()) {
            Some(pixels) if stream => simd.stream(to, pixels),
            Some(pixels) => to.copy_from_slice(pixels),
            None if stream => {
                let scratch = &mut scratch[..to.len()];
                side_by_side::<T, C>(canvas, scratch);
                simd.stream(to, scratch);
            }
            None => side_by_side::<T, C>(canvas, to),
        }
        return;
    }
    let (red, rest) = image.split_at_mut(size * size);
    let (green, blue) = rest.split_at_mut(size * size);
    let to = [red, green, blue].map(|plane| &mut plane[first..last]);
    if stream {
        let (red, rest) = scratch.split_at_mut(last - first);
        let (green, rest) = rest.split_at_mut(last - first);
        planes(canvas, [&mut *red, &mut *green, &mut rest[..last - first]]);
        for (to, from) in to.into_iter().zip([red, green, &mut rest[..last - first]]) {
            simd.stream(to, from);
        }
    } else {
        planes(canvas, to);
    }
}

/// Converts all channels.
#[inline(always)]
fn side_by_side<T: Sample, const C: usize>(canvas: &Canvas, to: &mut [T]) {
    let rows = canvas.painted();
    let (start, end) = (rows.start * canvas.size() * C, rows.end * canvas.size() * C);
    to[..start].fill(T::of(0));
    to[end..].fill(T::of(0));
    for (to, &from) in to[start..end].iter_mut().zip(&canvas.pixels()[start..end]) {
        *to = T::of(from);
    }
}

/// Converts red, green and blue, each into a plane of its own.
#[inline(always)]
fn planes<T: Sample>(canvas: &Canvas, mut to: [&mut [T]; 3]) {
    let rows = canvas.painted();
    let (start, end) = (rows.start * canvas.size(), rows.end * canvas.size());
    for plane in &mut to {
        plane[..start].fill(T::of(0));
        plane[end..].fill(T::of(0));
    }
    let (pixels, _) = canvas.pixels().as_chunks::<3>();
    let [red, green, blue] = to.map(|plane| &mut plane[start..end]);
    for (((pixel, red), green), blue) in pixels[start..end].iter().zip(red).zip(green).zip(blue) {
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
