//! Drawings that other programs define: the pose pictures of `ControlNet` ([`Openpose`]) and the soft lines of
//! `KeypointGAN` ([`Keypointgan`]).
//!
//! A style draws whatever rows it is asked for; [`StylePainter`] hands pictures out band by band, as
//! [`raster::Painter`](crate::raster::Painter) does, and [`draw_into`] draws many on several threads. The bytes depend
//! on neither.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::error::{check_length, Error};
use crate::raster::{Band, PoseBatch, BAND_BYTES};
use crate::threads::for_each_chunk_with;

mod convex;
mod keypointgan;
mod openpose;

pub use keypointgan::{Keypointgan, SIGMA};
pub use openpose::{Openpose, Preset};

/// A joint that is farther away than this, in pixels, is drawn as if it were here: all that follows from it is finite
/// and fits into an `i64`.
const FAR_PX: f64 = 1_073_741_824.0;

/// A way to draw a pose.
pub trait Style: Clone {
    /// Side of a picture in pixels.
    fn size_px(&self) -> usize;

    /// Channels of a picture.
    fn channels(&self) -> usize;

    /// Refuses poses that have not the joints that this draws.
    ///
    /// # Errors
    /// [`Error::Length`].
    fn check_fits(&self, poses: &PoseBatch<'_>) -> crate::Result<()>;

    /// Takes the pose `record`, which [`Style::rows`] draws from now on.
    fn take(&mut self, poses: &PoseBatch<'_>, record: usize);

    /// Draws the rows from `first_row` on into `pixels`, `[rows, S, C]`, which are black. Each of `spans`, which are
    /// empty, becomes the columns of its row that may hold anything but black.
    fn rows(&mut self, first_row: usize, pixels: &mut [u8], spans: &mut [Range<usize>]);
}

/// Draws pictures one after the other into memory of its own, so that a picture need never be whole in memory.
#[derive(Debug)]
pub struct StylePainter<S> {
    style: S,
    pixels: Vec<u8>,
    spans: Vec<Range<usize>>,
}

/// Draws poses as `ControlNet` knows them.
pub type OpenposePainter = StylePainter<Openpose>;
/// Draws poses as `KeypointGAN` does.
pub type KeypointganPainter<'a> = StylePainter<Keypointgan<'a>>;

impl<S: Style> StylePainter<S> {
    /// A painter of this style.
    #[must_use]
    pub fn new(style: S) -> Self {
        let size = style.size_px();
        let rows = (BAND_BYTES / (size * style.channels())).clamp(1, size);
        Self {
            pixels: vec![0; rows * size * style.channels()],
            spans: vec![0..0; rows],
            style,
        }
    }

    /// Channels of the pictures.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.style.channels()
    }

    /// Draws the pose `record` and calls `consume` with the bands of its picture, from the top to the bottom.
    ///
    /// # Errors
    /// [`Error::Length`] if the poses have not the joints that the style draws; whatever `consume` returns.
    pub fn paint<E: From<Error>>(
        &mut self,
        poses: &PoseBatch<'_>,
        record: usize,
        mut consume: impl FnMut(Band<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.style.check_fits(poses)?;
        self.style.take(poses, record);
        let (size, row) = (self.style.size_px(), self.style.size_px() * self.channels());
        for first_row in (0..size).step_by(self.spans.len()) {
            let rows = self.spans.len().min(size - first_row);
            let (pixels, spans) = (&mut self.pixels[..rows * row], &mut self.spans[..rows]);
            pixels.fill(0);
            spans.fill(0..0);
            self.style.rows(first_row, pixels, spans);
            consume(Band {
                first_row,
                pixels,
                spans,
            })?;
        }
        Ok(())
    }
}

/// Draws every pose into its picture of `out`, `[N, S, S, C]`, whatever was there before.
///
/// `workers` bounds the number of threads; the values do not depend on it.
///
/// # Errors
/// [`Error::Length`] if `out` or the style does not fit the poses, [`Error::Threads`] if the system starts no thread.
///
/// # Example
/// ```
/// use flexpose_core::raster::PoseBatch;
/// use flexpose_core::styles::{draw_into, Openpose, Preset};
///
/// let keypoints = [4.0; 36]; // all joints in one place: the last disc is on top
/// let mut image = vec![9; 8 * 8 * 3];
/// draw_into(&PoseBatch::new(&keypoints, None, 18)?, &Openpose::new(8, Preset::Sd15)?, None, &mut image)?;
/// assert_eq!(image[..3], [0; 3]);
/// assert_eq!(image[(4 * 8 + 4) * 3..][..3], [255, 0, 85]);
/// # Ok::<(), flexpose_core::Error>(())
/// ```
pub fn draw_into<S: Style + Sync>(
    poses: &PoseBatch<'_>,
    style: &S,
    workers: Option<NonZeroUsize>,
    out: &mut [u8],
) -> crate::Result<()> {
    style.check_fits(poses)?;
    let image_len = style.size_px() * style.size_px() * style.channels();
    check_length("out", out.len(), poses.len() * image_len)?;
    for_each_chunk_with(
        out,
        image_len,
        workers,
        || (style.clone(), vec![0..0; style.size_px()]),
        |(style, spans), record, image| {
            image.fill(0);
            spans.fill(0..0);
            style.take(poses, record);
            style.rows(0, image, spans);
        },
    )
}

/// Position of a joint, if it is visible, no farther away than [`FAR_PX`].
fn joint(poses: &PoseBatch<'_>, record: usize, joint: usize) -> Option<[f64; 2]> {
    poses
        .joint(record, joint)
        .map(|point| point.map(|value| f64::from(value).clamp(-FAR_PX, FAR_PX)))
}

/// Makes a span that holds another one as well.
fn widen(span: &mut Range<usize>, other: Range<usize>) {
    *span = if span.start >= span.end {
        other
    } else {
        span.start.min(other.start)..span.end.max(other.end)
    };
}
