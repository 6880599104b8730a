//! Which painter draws the pictures.

use serde::{Deserialize, Serialize};

use super::error::ShardResult;
use crate::raster::{Band, Layout, Painter, Pen, PoseBatch, Skeleton, CHANNELS};

/// How a pose looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Bones and joints in the colours of the skeleton.
    Flexpose,
}

/// What the settings of a data set say about its pictures; the other settings are not of interest here.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Drawing {
    pub style: Style,
    pub size_px: usize,
    pub line_width_px: f64,
    pub joint_radius_px: f64,
}

impl Drawing {
    /// Channels of a picture.
    #[must_use]
    pub fn channels(&self) -> usize {
        match self.style {
            Style::Flexpose => CHANNELS,
        }
    }

    /// Bytes of a picture.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.size_px * self.size_px * self.channels()
    }

    /// A painter for one thread.
    ///
    /// # Errors
    /// [`super::ShardError::Core`] for a size, a width or a radius that cannot be drawn.
    pub(super) fn painter<'a>(&self, skeleton: &'a Skeleton) -> ShardResult<Picture<'a>> {
        let pen = Pen::new(
            self.size_px,
            self.line_width_px,
            self.joint_radius_px,
            Layout::Nhwc,
        )?;
        Ok(match self.style {
            Style::Flexpose => Picture::Flexpose(Painter::new(skeleton, &pen)),
        })
    }
}

/// The painter of a style.
#[derive(Debug)]
pub(super) enum Picture<'a> {
    Flexpose(Painter<'a>),
}

impl Picture<'_> {
    /// Draws one pose and gives its bands from the top to the bottom.
    pub(super) fn paint(
        &mut self,
        poses: &PoseBatch<'_>,
        record: usize,
        consume: impl FnMut(Band<'_>) -> ShardResult<()>,
    ) -> ShardResult<()> {
        match self {
            Self::Flexpose(painter) => painter.paint(poses, record, consume),
        }
    }
}
