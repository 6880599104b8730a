//! alpha: keypoints to skeleton images.
//!
//! A picture is defined pixel by pixel, so that every implementation can be held to it:
//!
//! 1. It starts black. The bones are drawn in the skeleton's order, then the joint discs in the order
//!    of the keypoints. A bone needs both its ends visible, a disc its joint.
//! 2. A primitive covers the pixel with centre `p = (column + 0.5, row + 0.5)` by
//!    `clamp(0.5 + radius - distance, 0, 1)`, where `distance` is that of `p` to the exact segment
//!    between the two `f32` points (a bone) or to the joint (a disc).
//! 3. Each channel becomes `floor(c + (colour - c) * coverage + 0.5)` in `f32` without fused
//!    multiply-add.
//!
//! What a row has in common is computed in `f64` from products that are exact there, so that a segment of
//! any finite length crosses the picture where it should; from pixel to pixel `f32` is precise enough.
//! Loops run over the part of the bounding box that lies on the canvas only, so that no coordinate costs
//! more than the picture has pixels. Only IEEE operations with one correct result are used (no `hypot`,
//! nothing fused): the bytes are the same on every CPU and for every number of threads.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::error::{check_length, Error, Interval, Result};
use crate::threads::for_each_chunk;

/// Largest number of keypoints of a skeleton.
pub const MAX_KEYPOINTS: usize = 1024;
/// Largest side of a picture in pixels.
pub const MAX_SIZE_PX: usize = 8192;
/// Largest width of a bone and radius of a disc in pixels; `f32` still tells distances of 1e-4 apart there.
pub const MAX_WIDTH_PX: f64 = 1024.0;
/// Channels of a picture: red, green, blue.
pub const CHANNELS: usize = 3;

/// Poses that were checked once: right length, finite wherever visible.
#[derive(Debug, Clone, Copy)]
pub struct PoseBatch<'a> {
    keypoints: &'a [f32],
    visibility: Option<&'a [u8]>,
    num_keypoints: usize,
}

impl<'a> PoseBatch<'a> {
    /// Wraps `keypoints`, `[N, K, 2]` pixels row by row, and `visibility`, `[N, K]` with 0 for a joint
    /// that is not to be drawn; without it all are.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] and [`Error::Length`] for sizes that do not fit,
    /// [`Error::NotFinite`] for the first visible joint with a coordinate that is NaN or infinite.
    pub fn new(keypoints: &'a [f32], visibility: Option<&'a [u8]>, num_keypoints: usize) -> Result<Self> {
        Interval::closed(1.0, MAX_KEYPOINTS as f64).check("number of keypoints", num_keypoints as f64)?;
        let joints = keypoints.len() / (2 * num_keypoints) * num_keypoints;
        check_length("keypoints", keypoints.len(), joints * 2)?;
        if let Some(visibility) = visibility {
            check_length("visibility", visibility.len(), joints)?;
        }
        let batch = Self {
            keypoints,
            visibility,
            num_keypoints,
        };
        for record in 0..batch.len() {
            for joint in 0..num_keypoints {
                if let Some([x, y]) = batch.joint(record, joint) {
                    if !(x.is_finite() && y.is_finite()) {
                        return Err(Error::NotFinite { record, joint, x, y });
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Number of poses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keypoints.len() / (2 * self.num_keypoints)
    }

    /// Whether there is no pose.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keypoints.is_empty()
    }

    /// Number of joints of each pose.
    #[must_use]
    pub fn num_keypoints(&self) -> usize {
        self.num_keypoints
    }

    /// Position of a joint, if it is visible.
    fn joint(&self, record: usize, joint: usize) -> Option<[f32; 2]> {
        let index = record * self.num_keypoints + joint;
        if self.visibility.is_some_and(|seen| seen[index] == 0) {
            return None;
        }
        Some([self.keypoints[2 * index], self.keypoints[2 * index + 1]])
    }
}

/// What is drawn between and at the joints, checked once.
#[derive(Debug, Clone)]
pub struct Skeleton {
    bones: Vec<[usize; 2]>,
    bone_colors: Vec<[f32; CHANNELS]>,
    joint_colors: Vec<[f32; CHANNELS]>,
}

impl Skeleton {
    /// Takes 0-based `bones` (parent, child) in the order in which they are drawn, and RGB colours; there
    /// is one joint colour for each keypoint.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Length`] or [`Error::BoneIndex`] if these do not fit together.
    pub fn new(
        bones: &[[i64; 2]],
        bone_colors: &[[u8; CHANNELS]],
        joint_colors: &[[u8; CHANNELS]],
    ) -> Result<Self> {
        let num_keypoints = joint_colors.len();
        Interval::closed(1.0, MAX_KEYPOINTS as f64).check("number of keypoints", num_keypoints as f64)?;
        check_length("bone_colors", bone_colors.len(), bones.len())?;
        let index = |joint: i64| usize::try_from(joint).ok().filter(|&j| j < num_keypoints);
        let bones = bones
            .iter()
            .enumerate()
            .map(|(bone, &[parent, child])| match (index(parent), index(child)) {
                (Some(a), Some(b)) => Ok([a, b]),
                _ => Err(Error::BoneIndex {
                    bone,
                    num_keypoints,
                    parent,
                    child,
                }),
            })
            .collect::<Result<_>>()?;
        let to_float = |colors: &[[u8; CHANNELS]]| colors.iter().map(|c| c.map(f32::from)).collect();
        Ok(Self {
            bones,
            bone_colors: to_float(bone_colors),
            joint_colors: to_float(joint_colors),
        })
    }
}

/// Order of the bytes of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[S, S, 3]`: red, green and blue of a pixel lie side by side.
    Nhwc,
    /// `[3, S, S]`: one plane a channel.
    Nchw,
}

/// Size and pen of the pictures, checked once.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    size: usize,
    bone_radius: f64,
    joint_radius: f64,
    layout: Layout,
}

impl Pen {
    /// Pictures of `size_px` x `size_px`, bones `line_width_px` wide, discs of `joint_radius_px` (0: none).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a size, a width or a radius that cannot be drawn.
    pub fn new(size_px: usize, line_width_px: f64, joint_radius_px: f64, layout: Layout) -> Result<Self> {
        Interval::closed(1.0, MAX_SIZE_PX as f64).check("size_px", size_px as f64)?;
        Interval::above(0.0, MAX_WIDTH_PX).check("line_width_px", line_width_px)?;
        Interval::closed(0.0, MAX_WIDTH_PX).check("joint_radius_px", joint_radius_px)?;
        Ok(Self {
            size: size_px,
            bone_radius: line_width_px / 2.0,
            joint_radius: joint_radius_px,
            layout,
        })
    }

    /// Side of a picture in pixels.
    #[must_use]
    pub fn size_px(&self) -> usize {
        self.size
    }

    /// Bytes of one picture.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.size * self.size * CHANNELS
    }
}

/// Draws every pose into its picture of `out`, `[N, S, S, 3]` or `[N, 3, S, S]`, whatever was there before.
///
/// `workers` bounds the number of threads; the bytes do not depend on it.
///
/// # Errors
/// [`Error::Length`] if `out` or the skeleton does not fit the poses, [`Error::Threads`] if the system
/// starts no thread.
///
/// # Example
/// ```
/// use flexpose_core::raster::{draw_into, Layout, Pen, PoseBatch, Skeleton};
///
/// let keypoints = [0.5, 1.5, 2.5, 1.5];
/// let poses = PoseBatch::new(&keypoints, None, 2)?;
/// let skeleton = Skeleton::new(&[[0, 1]], &[[255, 0, 0]], &[[0, 0, 0]; 2])?;
/// let pen = Pen::new(3, 1.0, 0.0, Layout::Nhwc)?;
/// let mut image = [9; 27];
/// draw_into(&poses, &skeleton, &pen, None, &mut image)?;
/// assert_eq!(image[..9], [0; 9]);
/// assert_eq!(image[9..18], [255, 0, 0, 255, 0, 0, 255, 0, 0]);
/// # Ok::<(), flexpose_core::Error>(())
/// ```
pub fn draw_into(
    poses: &PoseBatch<'_>,
    skeleton: &Skeleton,
    pen: &Pen,
    workers: Option<NonZeroUsize>,
    out: &mut [u8],
) -> Result<()> {
    check_length("joint_colors", skeleton.joint_colors.len(), poses.num_keypoints())?;
    check_length("out", out.len(), poses.len() * pen.image_len())?;
    let draw = match pen.layout {
        Layout::Nhwc => draw_one::<false>,
        Layout::Nchw => draw_one::<true>,
    };
    for_each_chunk(out, pen.image_len(), workers, |record, image| {
        draw(poses, record, skeleton, pen, image);
    })
}

/// Some whole rows of a picture, as [`Painter`] hands them out.
#[derive(Debug, Clone, Copy)]
pub struct Band<'a> {
    /// Row of the picture that the first row here is.
    pub first_row: usize,
    /// `[rows, S, 3]`.
    pub pixels: &'a [u8],
    /// For each row the columns that may hold anything but black; empty for a black row.
    pub spans: &'a [Range<usize>],
}

/// Draws pictures one after the other into memory of its own, for a consumer that needs each only once.
#[derive(Debug)]
pub struct Painter<'a> {
    skeleton: &'a Skeleton,
    pen: Pen,
    pixels: Vec<u8>,
    spans: Vec<Range<usize>>,
}

impl<'a> Painter<'a> {
    /// Takes the skeleton and the pen; the layout is [`Layout::Nhwc`] whatever the pen says.
    #[must_use]
    pub fn new(skeleton: &'a Skeleton, pen: &Pen) -> Self {
        let pen = Pen {
            layout: Layout::Nhwc,
            ..*pen
        };
        Self {
            skeleton,
            pen,
            pixels: vec![0; pen.image_len()],
            spans: vec![0..pen.size; pen.size],
        }
    }

    /// Draws the pose `record` and calls `consume` with the bands of its picture, from the top to the bottom.
    ///
    /// # Errors
    /// [`Error::Length`] if the skeleton does not fit the poses; whatever `consume` returns.
    pub fn paint<E: From<Error>>(
        &mut self,
        poses: &PoseBatch<'_>,
        record: usize,
        mut consume: impl FnMut(Band<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        check_length(
            "joint_colors",
            self.skeleton.joint_colors.len(),
            poses.num_keypoints(),
        )?;
        draw_one::<false>(poses, record, self.skeleton, &self.pen, &mut self.pixels);
        consume(Band {
            first_row: 0,
            pixels: &self.pixels,
            spans: &self.spans,
        })
    }
}

/// Draws one pose.
fn draw_one<const PLANAR: bool>(
    poses: &PoseBatch<'_>,
    record: usize,
    skeleton: &Skeleton,
    pen: &Pen,
    image: &mut [u8],
) {
    image.fill(0);
    let mut canvas = Canvas::<PLANAR> {
        image,
        size: pen.size,
    };
    for (&[parent, child], color) in skeleton.bones.iter().zip(&skeleton.bone_colors) {
        if let (Some(a), Some(b)) = (poses.joint(record, parent), poses.joint(record, child)) {
            canvas.capsule(a.map(f64::from), b.map(f64::from), pen.bone_radius, color);
        }
    }
    if pen.joint_radius > 0.0 {
        for (joint, color) in skeleton.joint_colors.iter().enumerate() {
            if let Some(center) = poses.joint(record, joint) {
                canvas.disc(center.map(f64::from), pen.joint_radius, color);
            }
        }
    }
}

/// Pixels that are computed together. A block may reach beyond a primitive: coverage 0 changes nothing.
const LANES: usize = 4;
/// Colour channels of a block whose pixels lie side by side.
const BLOCK: usize = LANES * CHANNELS;

/// One picture under the pen.
struct Canvas<'a, const PLANAR: bool> {
    image: &'a mut [u8],
    size: usize,
}

impl<const PLANAR: bool> Canvas<'_, PLANAR> {
    /// All points within `radius` of the segment from `a` to `b`; both must come from `f32`.
    fn capsule(&mut self, a: [f64; 2], b: [f64; 2], radius: f64, color: &[f32; CHANNELS]) {
        let reach = radius + 0.5;
        let columns = (a[0].min(b[0]) - reach, a[0].max(b[0]) + reach);
        let rows = self.span(a[1].min(b[1]) - reach, a[1].max(b[1]) + reach);
        if rows.is_empty() || self.span(columns.0, columns.1).is_empty() {
            return;
        }
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = (dx * dx + dy * dy).sqrt();
        if length == 0.0 {
            return self.disc(a, radius, color);
        }
        // Signed distance of (x, y) to the line: unit_x * y - unit_y * x + offset. A product of two f32 is
        // exact in f64, so the offset has one rounding however far away the ends are.
        let (unit_x, unit_y) = (dx / length, dy / length);
        let offset = (b[1] * a[0] - b[0] * a[1]) / length;
        // In a row, the line is within reach `half` columns to either side of where it crosses the row. A nearly
        // horizontal one is so everywhere, or its crossing would be computed too roughly.
        let steep = unit_y.abs() > 1e-9;
        let crossing = if steep { 1.0 / unit_y } else { 0.0 };
        let half = if steep {
            reach * crossing.abs()
        } else {
            f64::INFINITY
        };
        for row in rows {
            let y = row as f64 + 0.5;
            let line = unit_x * y + offset;
            let low = larger(line * crossing - half, columns.0);
            let high = -larger(-line * crossing - half, -columns.1);
            // How far a pixel lies beyond either end, along the segment: negative inside. Only where both this
            // and the distance to the line are small can there be coverage, and there f32 is precise.
            let (before, beyond) = ((a[1] - y) * unit_y, (y - b[1]) * unit_y);
            self.row(row, low, high, color, |x| {
                let across = (line - unit_y * x) as f32;
                let before = ((a[0] - x) * unit_x + before) as f32;
                let beyond = ((x - b[0]) * unit_x + beyond) as f32;
                lanes(|step| {
                    let across = across - unit_y as f32 * step;
                    let before = before - unit_x as f32 * step;
                    let beyond = beyond + unit_x as f32 * step;
                    let along = larger(larger(before, beyond), 0.0);
                    reach as f32 - (across * across + along * along).sqrt()
                })
            });
        }
    }

    /// All points within `radius` of `center`.
    fn disc(&mut self, center: [f64; 2], radius: f64, color: &[f32; CHANNELS]) {
        let reach = radius + 0.5;
        for row in self.span(center[1] - reach, center[1] + reach) {
            let dy = row as f64 + 0.5 - center[1];
            let half = (reach * reach - dy * dy).max(0.0).sqrt();
            let dy = dy as f32;
            self.row(row, center[0] - half, center[0] + half, color, |x| {
                let dx = (x - center[0]) as f32;
                lanes(|step| {
                    let dx = dx + step;
                    reach as f32 - (dx * dx + dy * dy).sqrt()
                })
            });
        }
    }

    /// Rows or columns whose centre lies between `low` and `high`, clipped to the canvas.
    #[inline]
    fn span(&self, low: f64, high: f64) -> Range<usize> {
        // The cast saturates: 0 for all that is negative.
        let edge = |bound: f64| ((bound + 0.5) as u32 as usize).min(self.size);
        edge(low)..edge(high)
    }

    /// Composites `color` over the columns of a row between `low` and `high`; `coverage_from` gives the coverage
    /// of a block of pixels from the centre of its first.
    #[inline]
    fn row(
        &mut self,
        row: usize,
        low: f64,
        high: f64,
        color: &[f32; CHANNELS],
        coverage_from: impl Fn(f64) -> [f32; LANES],
    ) {
        let span = self.span(low, high);
        if span.is_empty() {
            return;
        }
        // Whole blocks, moved to the left where the last would leave the picture.
        let width = span.len().next_multiple_of(LANES).min(self.size);
        let first = span.start.min(self.size - width);
        let columns = first..first + width;
        let start = row * self.size + columns.start;
        let coverages = columns
            .step_by(LANES)
            .map(|column| coverage_from(column as f64 + 0.5));
        if PLANAR {
            let (red, rest) = self.image.split_at_mut(self.size * self.size);
            let (green, blue) = rest.split_at_mut(self.size * self.size);
            for (block, coverage) in coverages.enumerate() {
                let pixels = start + block * LANES..start + width.min((block + 1) * LANES);
                for (plane, color) in [&mut *red, &mut *green, &mut *blue].into_iter().zip(color) {
                    composite(&mut plane[pixels.clone()], &coverage, &[*color; LANES]);
                }
            }
        } else {
            let pixels = &mut self.image[start * CHANNELS..(start + width) * CHANNELS];
            let colors: [f32; BLOCK] = std::array::from_fn(|i| color[i % CHANNELS]);
            for (block, coverage) in pixels.chunks_mut(BLOCK).zip(coverages) {
                let coverage: [f32; BLOCK] = std::array::from_fn(|i| coverage[i / CHANNELS]);
                composite(block, &coverage, &colors);
            }
        }
    }
}

/// Coverage of a block of pixels from its values before they are clamped to [0, 1]; `step` counts from the first.
#[inline]
fn lanes(at: impl Fn(f32) -> f32) -> [f32; LANES] {
    let mut coverage = [0.0; LANES];
    for (lane, coverage) in coverage.iter_mut().enumerate() {
        *coverage = -larger(-1.0, -larger(at(lane as f32), 0.0));
    }
    coverage
}

/// The larger one; unlike `max` a single instruction, and no NaN comes here.
#[inline]
fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if a > b {
        a
    } else {
        b
    }
}

/// Lays colours over the channels of a block, or of the part of one that the picture has room for.
#[inline]
fn composite<const N: usize>(below: &mut [u8], coverage: &[f32; N], color: &[f32; N]) {
    if let Some(below) = below.first_chunk_mut::<N>() {
        for i in 0..N {
            below[i] = over(below[i], color[i], coverage[i]);
        }
    } else {
        for ((below, &coverage), &color) in below.iter_mut().zip(coverage).zip(color) {
            *below = over(*below, color, coverage);
        }
    }
}

/// `floor(c + (colour - c) * coverage + 0.5)`
///
/// Adding 2^23 leaves the nearest integer in the low bits, one too many if it was rounded up. A cast would do, but
/// those that saturate are not vectorised.
#[inline]
fn over(below: u8, color: f32, coverage: f32) -> u8 {
    const TO_BITS: f32 = 8_388_608.0;
    let below = f32::from(below);
    let value = below + (color - below) * coverage + 0.5;
    let nearest = value + TO_BITS;
    let rounded_up = u32::from(nearest - TO_BITS > value);
    (nearest.to_bits() - rounded_up) as u8
}
