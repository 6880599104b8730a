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
//! Distances are computed in `f64` from products that are exact there, so that a segment of any finite
//! length crosses the picture where it should; loops run over the part of the bounding box that lies
//! on the canvas only, so that no coordinate costs more than the picture has pixels.
//! Only IEEE operations with one correct result are used (no `hypot`, no fused operations): the bytes
//! are the same on every CPU and for every number of threads.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::error::{check_length, Error, Interval, Result};
use crate::threads::for_each_chunk;

/// Largest number of keypoints of a skeleton.
pub const MAX_KEYPOINTS: usize = 1024;
/// Largest side of a picture in pixels.
pub const MAX_SIZE_PX: usize = 8192;
/// Largest width of a bone and radius of a disc in pixels.
pub const MAX_WIDTH_PX: f64 = 16384.0;
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
    for_each_chunk(
        out,
        pen.image_len(),
        workers,
        || vec![0.0; pen.size],
        |coverage, record, image| draw(poses, record, skeleton, pen, coverage, image),
    )
}

/// Draws one pose; `coverage` is a scratch row of the picture's width.
fn draw_one<const PLANAR: bool>(
    poses: &PoseBatch<'_>,
    record: usize,
    skeleton: &Skeleton,
    pen: &Pen,
    coverage: &mut [f32],
    image: &mut [u8],
) {
    image.fill(0);
    let mut canvas = Canvas::<PLANAR> {
        image,
        coverage,
        size: pen.size,
    };
    for (&[parent, child], &color) in skeleton.bones.iter().zip(&skeleton.bone_colors) {
        if let (Some(a), Some(b)) = (poses.joint(record, parent), poses.joint(record, child)) {
            canvas.capsule(a.map(f64::from), b.map(f64::from), pen.bone_radius, color);
        }
    }
    if pen.joint_radius > 0.0 {
        for (joint, &color) in skeleton.joint_colors.iter().enumerate() {
            if let Some(center) = poses.joint(record, joint) {
                canvas.disc(center.map(f64::from), pen.joint_radius, color);
            }
        }
    }
}

/// One picture under the pen.
struct Canvas<'a, const PLANAR: bool> {
    image: &'a mut [u8],
    coverage: &'a mut [f32],
    size: usize,
}

impl<const PLANAR: bool> Canvas<'_, PLANAR> {
    /// All points within `radius` of the segment from `a` to `b`; both must come from `f32`.
    fn capsule(&mut self, a: [f64; 2], b: [f64; 2], radius: f64, color: [f32; CHANNELS]) {
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
        for row in rows {
            let y = row as f64 + 0.5;
            let line = unit_x * y + offset;
            // Columns where the line itself is within reach; a nearly horizontal line is so all along.
            let (mut low, mut high) = columns;
            if unit_y.abs() > 1e-9 {
                let (p, q) = ((line - reach) / unit_y, (line + reach) / unit_y);
                low = low.max(p.min(q));
                high = high.min(p.max(q));
            }
            // How far the pixel lies beyond either end, along the segment: negative inside.
            let (before, beyond) = ((a[1] - y) * unit_y, (y - b[1]) * unit_y);
            self.row(row, low, high, color, |x| {
                let across = line - unit_y * x;
                let along = ((a[0] - x) * unit_x + before).max((x - b[0]) * unit_x + beyond);
                let distance = if along > 0.0 {
                    (across * across + along * along).sqrt()
                } else {
                    across.abs()
                };
                reach - distance
            });
        }
    }

    /// All points within `radius` of `center`.
    fn disc(&mut self, center: [f64; 2], radius: f64, color: [f32; CHANNELS]) {
        let reach = radius + 0.5;
        for row in self.span(center[1] - reach, center[1] + reach) {
            let dy = row as f64 + 0.5 - center[1];
            let half = (reach * reach - dy * dy).max(0.0).sqrt();
            self.row(row, center[0] - half, center[0] + half, color, |x| {
                let dx = x - center[0];
                reach - (dx * dx + dy * dy).sqrt()
            });
        }
    }

    /// Rows or columns whose centre lies in `[low, high)`, clipped to the canvas.
    fn span(&self, low: f64, high: f64) -> Range<usize> {
        let first_at_or_after = |bound: f64| {
            // The clamp makes the conversion exact; `f64::ceil` would be a library call on old CPUs.
            let bound = (bound - 0.5).clamp(0.0, self.size as f64);
            let whole = bound as usize;
            whole + usize::from((whole as f64) < bound)
        };
        first_at_or_after(low)..first_at_or_after(high)
    }

    /// Composites `color` over the columns of a row between `low` and `high`, where `coverage_at` gives the
    /// coverage at a column's centre before it is clamped to [0, 1].
    #[inline]
    fn row(
        &mut self,
        row: usize,
        low: f64,
        high: f64,
        color: [f32; CHANNELS],
        coverage_at: impl Fn(f64) -> f64,
    ) {
        let span = self.span(low, high);
        if span.is_empty() {
            return;
        }
        let start = row * self.size + span.start;
        let coverage = &mut self.coverage[..span.len()];
        for (column, value) in span.zip(coverage.iter_mut()) {
            *value = coverage_at(column as f64 + 0.5).clamp(0.0, 1.0) as f32;
        }
        if PLANAR {
            let planes = self.image.chunks_exact_mut(self.size * self.size);
            for (plane, color) in planes.zip(color) {
                let pixels = &mut plane[start..start + coverage.len()];
                for (channel, &coverage) in pixels.iter_mut().zip(coverage.iter()) {
                    *channel = over(*channel, color, coverage);
                }
            }
        } else {
            let pixels = &mut self.image[start * CHANNELS..(start + coverage.len()) * CHANNELS];
            for (pixel, &coverage) in pixels.chunks_exact_mut(CHANNELS).zip(coverage.iter()) {
                for (channel, color) in pixel.iter_mut().zip(color) {
                    *channel = over(*channel, color, coverage);
                }
            }
        }
    }
}

/// `floor(c + (colour - c) * coverage + 0.5)`; the cast truncates, which is the floor of what is not negative.
#[inline]
fn over(below: u8, color: f32, coverage: f32) -> u8 {
    let below = f32::from(below);
    (below + (color - below) * coverage + 0.5) as u8
}
