//! alpha: keypoints to skeleton images.
//!
//! A picture is defined pixel by pixel, so that every implementation can be held to it:
//!
//! 1. It starts black. The bones are drawn in the skeleton's order, then the joint discs in the order
//!    of the keypoints. A bone needs both its ends visible, a disc its joint.
//! 2. A primitive covers the pixel with centre `p = (column + 0.5, row + 0.5)` by
//!    `clamp(0.5 + radius - distance, 0, 1)`, where `distance` is that of `p` to the exact segment
//!    between the two `f32` points (a bone) or to the joint (a disc).
//! 3. Each channel becomes `floor(c + (colour - c) * coverage + 0.5)`.
//!
//! Coverage is rounded to 1/32768, and what a disc hides need not be right ([`shapes`]): no channel is ever more
//! than 2 away from the definition, and few are 1 away.
//!
//! What a row has in common is computed in `f64` from products that are exact there, so that a segment of
//! any finite length crosses the picture where it should; from pixel to pixel `f32` is precise enough.
//! Loops run over the part of the bounding box that lies on the canvas only, so that no coordinate costs
//! more than the picture has pixels. Only IEEE operations with one correct result are used, nothing is fused, and
//! colours are mixed in integers: the bytes are the same on every CPU, at every [`Level`] and for every number of
//! threads.
//!
//! Pictures are drawn band by band in memory that stays in the cache ([`canvas`]), and leave it once, in the form that is
//! asked for ([`output`]).

#![allow(clippy::inline_always)] // all that a task calls is compiled for each level

use std::num::NonZeroUsize;

use crate::dispatch::{self, Level, Simd, Task};
use crate::error::{check_length, Result};
use crate::threads::for_each_chunk_with;

mod canvas;
mod output;
mod painter;
mod scene;
mod shapes;

use canvas::Canvas;
pub use output::Sample;
pub use painter::{Band, Painter};
pub use scene::{Layout, Pen, PoseBatch, Skeleton, Style};
use shapes::{Brush, Shapes};

/// Largest number of keypoints of a skeleton.
pub const MAX_KEYPOINTS: usize = 1024;
/// Largest side of a picture in pixels.
pub const MAX_SIZE_PX: usize = 8192;
/// Largest width of a bone and radius of a disc in pixels; `f32` still tells distances of 1e-4 apart there.
pub const MAX_WIDTH_PX: f64 = 1024.0;
/// Channels of a picture in colour: red, green, blue.
pub const CHANNELS: usize = 3;
/// Bytes of a band, if it has more than one row: it stays in the second cache of a core.
pub const BAND_BYTES: usize = 1 << 19;
/// Bytes of what is drawn before it is written to the result, if it has more than one row: it stays in the cache, and is
/// small enough that the system need not be asked for it anew in every call.
const TILE_BYTES: usize = 1 << 16;
/// The same where the result is what was drawn, byte for byte: it stays in the first cache, from which twice as many
/// bytes a second are written.
const DRAWN_TILE_BYTES: usize = 3 << 13;
/// Bytes of the pictures that a thread takes at a time, and their number.
const CHUNK: (usize, usize) = (1 << 21, 64);
/// Results of more bytes than this will not be in the cache when they are read: they are written past it.
const STREAM_BYTES: usize = 1 << 23;

/// Draws every pose into its picture of `out`, `[N, S, S, C]` or `[N, C, S, S]`, whatever was there before.
///
/// `workers` bounds the number of threads; the values do not depend on it.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) if `out` or the skeleton does not fit the poses,
/// [`Error::Threads`](crate::Error::Threads) if the system starts no thread.
///
/// # Example
/// ```
/// use flexpose_core::raster::{draw_into, Layout, Pen, PoseBatch, Skeleton};
///
/// let keypoints = [0.5, 1.5, 2.5, 1.5];
/// let poses = PoseBatch::new(&keypoints, None, 2)?;
/// let skeleton = Skeleton::new(&[[0, 1]], &[[255, 0, 0]], &[[0, 0, 0]; 2])?;
/// let pen = Pen::new(3, 1.0, 0.0, Layout::Nhwc)?;
/// let mut image = [9u8; 27];
/// draw_into(&poses, &skeleton, &pen, None, &mut image)?;
/// assert_eq!(image[..9], [0; 9]);
/// assert_eq!(image[9..18], [255, 0, 0, 255, 0, 0, 255, 0, 0]);
/// # Ok::<(), flexpose_core::Error>(())
/// ```
pub fn draw_into<T: Sample>(
    poses: &PoseBatch<'_>,
    skeleton: &Skeleton,
    pen: &Pen,
    workers: Option<NonZeroUsize>,
    out: &mut [T],
) -> Result<()> {
    draw_into_at(Level::best(), poses, skeleton, pen, workers, out)
}

/// As [`draw_into`], with the instructions of `level`; the values do not depend on it.
///
/// # Errors
/// As [`draw_into`].
pub fn draw_into_at<T: Sample>(
    level: Level,
    poses: &PoseBatch<'_>,
    skeleton: &Skeleton,
    pen: &Pen,
    workers: Option<NonZeroUsize>,
    out: &mut [T],
) -> Result<()> {
    skeleton.check_fits(poses)?;
    let image_len = pen.image_len(skeleton);
    check_length("out", out.len(), poses.len() * image_len)?;
    if out.is_empty() {
        return Ok(());
    }
    let brush = Brush::new(skeleton, pen);
    let images = (CHUNK.0 / (image_len * size_of::<T>())).clamp(1, CHUNK.1);
    let stream = size_of_val(out) > STREAM_BYTES;
    let as_drawn = T::bytes(&mut []).is_some()
        && match pen.style {
            Style::Color => pen.layout == Layout::Nhwc,
            Style::Gray => true,
            Style::PerBone => false,
        };
    let tile = if as_drawn { DRAWN_TILE_BYTES } else { TILE_BYTES };
    let rows = tile / (pen.size * pen.canvas_channels() * size_of::<T>());
    // Bytes that stay in the cache are drawn where they belong, without a tile.
    let direct = as_drawn && !stream;
    let rows = if direct { 0 } else { rows.clamp(1, pen.size) };
    let scratch = if stream {
        rows * pen.size * pen.canvas_channels()
    } else {
        0
    };
    for_each_chunk_with(
        out,
        image_len * images,
        workers,
        || (Tile::new(&brush, rows), vec![T::of(0); scratch]),
        |(tile, scratch), chunk, out| {
            let task = DrawImages {
                brush: &brush,
                poses,
                first: chunk * images,
                tile,
                scratch,
                out,
            };
            dispatch::run(level, task);
        },
    )
}

/// Memory of a thread that draws.
#[derive(Debug)]
struct Tile {
    shapes: Shapes,
    canvas: Canvas,
}

impl Tile {
    fn new(brush: &Brush<'_>, rows: usize) -> Self {
        Self {
            shapes: Shapes::default(),
            canvas: Canvas::new(brush.pen.size, brush.pen.canvas_channels(), rows),
        }
    }
}

/// Draws the poses from `first` on, as many as `out` has pictures for.
struct DrawImages<'a, T> {
    brush: &'a Brush<'a>,
    poses: &'a PoseBatch<'a>,
    first: usize,
    tile: &'a mut Tile,
    /// Room for a tile if the results are written past the caches, else nothing.
    scratch: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Sample> Task for DrawImages<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            brush,
            poses,
            first,
            tile,
            scratch,
            out,
        } = self;
        let image_len = brush.pen.image_len(brush.skeleton);
        for (record, image) in (first..).zip(out.chunks_exact_mut(image_len)) {
            tile.shapes.set(brush, poses, record);
            match brush.pen.style {
                Style::Color => draw_shapes::<S, T, CHANNELS>(simd, tile, brush, scratch, image),
                Style::Gray => draw_shapes::<S, T, 1>(simd, tile, brush, scratch, image),
                Style::PerBone => draw_bones(simd, tile, brush, image),
            }
        }
        simd.fence();
    }
}

/// Draws one picture, band by band, or where it belongs if there is no tile.
#[inline(always)]
fn draw_shapes<S: Simd, T: Sample, const C: usize>(
    simd: S,
    Tile { shapes, canvas }: &mut Tile,
    brush: &Brush<'_>,
    scratch: &mut [T],
    image: &mut [T],
) {
    if canvas.is_empty() {
        if let Some(pixels) = T::bytes(image) {
            pixels.fill(0);
            canvas.other(pixels).draw::<S, C>(simd, brush, shapes);
        }
        return;
    }
    let mut row = 0;
    while row < brush.pen.size as u32 {
        canvas.clear(row);
        canvas.surface().draw::<S, C>(simd, brush, shapes);
        output::write::<S, T, C>(simd, canvas, brush.pen.layout, scratch, image);
        row = canvas.rows().end;
    }
}

/// Draws one picture that has a channel for each bone.
#[inline(always)]
fn draw_bones<S: Simd, T: Sample>(
    simd: S,
    Tile { shapes, canvas }: &mut Tile,
    brush: &Brush<'_>,
    image: &mut [T],
) {
    let (size, channels) = (brush.pen.size, brush.skeleton.bones.len());
    image.fill(T::of(0));
    for bone in &shapes.bones {
        let mut row = bone.rows.start;
        while row < bone.rows.end {
            canvas.clear(row);
            canvas.surface().bone::<S, 1, true>(simd, bone, brush.bone_reach);
            match brush.pen.layout {
                Layout::Nhwc => {
                    let rows = &mut image[row as usize * size * channels..];
                    output::scatter(canvas, bone.index, channels, rows);
                }
                Layout::Nchw => {
                    let plane = &mut image[bone.index * size * size..][..size * size];
                    output::scatter(canvas, 0, 1, &mut plane[row as usize * size..]);
                }
            }
            row = canvas.rows().end;
        }
    }
}
