//! Rows of a picture in the form that is asked for.

use crate::dispatch::{Plain, Simd};

use super::canvas::Canvas;
use super::scene::Layout;

/// Numbers that are converted before they are streamed.
const PIECE: usize = 1024;
/// Bytes of a line of the cache.
const LINE: usize = 64;

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

/// Writes the canvas, which has `C` channels, to its rows of `image`; past the caches if `stream` and possible.
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
    if C == 1 || layout == Layout::Nhwc {
        every::<S, T, 1>(simd, stream, &mut image[first * C..last * C], canvas.pixels());
        return;
    }
    for (channel, plane) in image.chunks_exact_mut(size * size).enumerate() {
        every::<S, T, C>(simd, stream, &mut plane[first..last], &canvas.pixels()[channel..]);
    }
}

/// Converts every `STEP`-th byte.
#[inline(always)]
fn every<S: Simd, T: Sample, const STEP: usize>(simd: S, stream: bool, to: &mut [T], from: &[u8]) {
    let convert = |to: &mut [T], from: &[u8]| {
        for (to, from) in to.iter_mut().zip(from.chunks(STEP)) {
            *to = T::of(from[0]);
        }
    };
    match T::same(from) {
        _ if !stream => convert(to, from),
        Some(from) if STEP == 1 => simd.stream(to, from),
        _ => {
            // Whole lines of the cache at a time, or the parts of a line would be written in two ways.
            let head = to.as_ptr().align_offset(LINE).min(to.len());
            let (to_head, to) = to.split_at_mut(head);
            convert(to_head, from);
            let mut piece = [T::of(0); PIECE];
            let from = from.get(head * STEP..).unwrap_or(&[]);
            for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE * STEP)) {
                convert(&mut piece[..to.len()], from);
                simd.stream(to, &piece[..to.len()]);
            }
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
