//! What is drawn: poses, skeletons and the pen, each checked once.

use crate::error::{check_length, Error, Interval, Result};

use super::{MAX_KEYPOINTS, MAX_SIZE_PX, MAX_WIDTH_PX};

/// Red, green, blue.
pub(super) type Color = [u8; 3];

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
        batch.check_finite()?;
        Ok(batch)
    }

    fn check_finite(&self) -> Result<()> {
        if self.keypoints.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        for record in 0..self.len() {
            for joint in 0..self.num_keypoints {
                if let Some([x, y]) = self.joint(record, joint) {
                    if !(x.is_finite() && y.is_finite()) {
                        return Err(Error::NotFinite { record, joint, x, y });
                    }
                }
            }
        }
        Ok(())
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
    #[inline(always)]
    pub(crate) fn joint(&self, record: usize, joint: usize) -> Option<[f32; 2]> {
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
    pub(crate) bones: Vec<[usize; 2]>,
    pub(super) bone_colors: Vec<Color>,
    pub(super) joint_colors: Vec<Color>,
}

impl Skeleton {
    /// Takes 0-based `bones` (parent, child) in the order in which they are drawn, and RGB colours; there
    /// is one joint colour for each keypoint.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Length`] or [`Error::BoneIndex`] if these do not fit together.
    pub fn new(bones: &[[i64; 2]], bone_colors: &[Color], joint_colors: &[Color]) -> Result<Self> {
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
        Ok(Self {
            bones,
            bone_colors: bone_colors.to_vec(),
            joint_colors: joint_colors.to_vec(),
        })
    }

    /// Refuses poses that have not one joint for each of the skeleton's.
    pub(crate) fn check_fits(&self, poses: &PoseBatch<'_>) -> Result<()> {
        check_length("joint_colors", self.joint_colors.len(), poses.num_keypoints())
    }
}

/// Order of the channels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[S, S, C]`: the channels of a pixel lie side by side.
    Nhwc,
    /// `[C, S, S]`: one plane a channel.
    Nchw,
}

/// What the channels of a picture show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Red, green and blue of bones and discs.
    Color,
    /// One channel: as [`Style::Color`], each colour replaced by its luma, `(299 R + 587 G + 114 B) / 1000` of
    /// Rec. 601, rounded.
    Gray,
    /// A channel for each bone: that bone alone, in white, with round ends; no discs.
    PerBone,
}

/// Size and pen of the pictures, checked once.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    pub(super) size: usize,
    pub(super) bone_radius: f64,
    pub(super) joint_radius: f64,
    pub(super) layout: Layout,
    pub(super) style: Style,
}

impl Pen {
    /// Pictures of `size_px` x `size_px`, bones `line_width_px` wide, discs of `joint_radius_px` (0: none), in
    /// [`Style::Color`].
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
            style: Style::Color,
        })
    }

    /// The same pen in another style.
    #[must_use]
    pub fn with_style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// Side of a picture in pixels.
    #[must_use]
    pub fn size_px(&self) -> usize {
        self.size
    }

    /// Channels of a picture of `skeleton`.
    #[must_use]
    pub fn channels(&self, skeleton: &Skeleton) -> usize {
        match self.style {
            Style::Color => 3,
            Style::Gray => 1,
            Style::PerBone => skeleton.bones.len(),
        }
    }

    /// Channels that are drawn at a time.
    pub(super) fn canvas_channels(&self) -> usize {
        if self.style == Style::Color {
            3
        } else {
            1
        }
    }

    /// Values of one picture of `skeleton`.
    #[must_use]
    pub fn image_len(&self, skeleton: &Skeleton) -> usize {
        self.size * self.size * self.channels(skeleton)
    }
}
