//! Which painter draws the pictures.

use serde::{Deserialize, Serialize};

use super::error::{ShardError, ShardResult};
use super::plan::Image;
use crate::raster::{self, Band, Layout, Painter, Pen, PoseBatch, Skeleton};
use crate::styles::{Keypointgan, KeypointganPainter, Openpose, OpenposePainter, Preset, StylePainter};

/// Softness of the lines of `KeypointGAN`, as it was published.
const SIGMA: f64 = 0.2;

/// How a pose looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Bones and joints in the colours of the skeleton.
    Flexpose,
    /// As `ControlNet` knows poses; 18 joints.
    Openpose,
    /// The soft lines of `KeypointGAN`, in one channel.
    Keypointgan,
    /// As [`Style::Flexpose`], in one channel.
    Gray,
    /// A channel for each bone.
    PerBone,
}

/// What the settings of a data set say about its pictures; the other settings are not of interest here.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Drawing {
    pub style: Style,
    pub size_px: usize,
    pub line_width_px: f64,
    pub joint_radius_px: f64,
    /// For which models [`Style::Openpose`] draws.
    #[serde(default)]
    pub preset: Preset,
}

impl Drawing {
    /// A painter for one thread.
    ///
    /// # Errors
    /// [`super::ShardError::Core`] for a size, a width or a radius that cannot be drawn.
    pub(super) fn painter<'a>(&self, skeleton: &'a Skeleton) -> ShardResult<Picture<'a>> {
        Ok(match self.style {
            Style::Flexpose => self.with_pen(skeleton, raster::Style::Color)?,
            Style::Gray => self.with_pen(skeleton, raster::Style::Gray)?,
            Style::PerBone => self.with_pen(skeleton, raster::Style::PerBone)?,
            Style::Openpose => {
                Picture::Openpose(StylePainter::new(Openpose::new(self.size_px, self.preset)?))
            }
            Style::Keypointgan => {
                let style = Keypointgan::new(skeleton, self.size_px, SIGMA)?;
                Picture::Keypointgan(StylePainter::new(style))
            }
        })
    }

    fn with_pen<'a>(&self, skeleton: &'a Skeleton, style: raster::Style) -> ShardResult<Picture<'a>> {
        let pen = Pen::new(
            self.size_px,
            self.line_width_px,
            self.joint_radius_px,
            Layout::Nhwc,
        )?;
        Ok(Picture::Flexpose(Painter::new(skeleton, &pen.with_style(style))))
    }
}

/// The painter of a style.
#[derive(Debug)]
pub(super) enum Picture<'a> {
    Flexpose(Painter<'a>),
    Openpose(OpenposePainter),
    Keypointgan(KeypointganPainter<'a>),
}

impl Picture<'_> {
    /// Channels of the pictures.
    fn channels(&self) -> usize {
        match self {
            Self::Flexpose(painter) => painter.channels(),
            Self::Openpose(painter) => painter.channels(),
            Self::Keypointgan(painter) => painter.channels(),
        }
    }

    /// Refuses a plan that says otherwise about the pictures.
    pub(super) fn check(&self, size_px: usize, image: Image) -> ShardResult<()> {
        let drawn = [self.channels(), size_px, size_px];
        let planned = [image.channels, image.height, image.width];
        if planned == drawn {
            return Ok(());
        }
        let message = format!("plan: image must be {drawn:?} (channels, height, width), got {planned:?}");
        Err(ShardError::Usage(message))
    }

    /// Draws one pose and gives its bands from the top to the bottom.
    pub(super) fn paint(
        &mut self,
        poses: &PoseBatch<'_>,
        record: usize,
        consume: impl FnMut(Band<'_>) -> ShardResult<()>,
    ) -> ShardResult<()> {
        match self {
            Self::Flexpose(painter) => painter.paint(poses, record, consume),
            Self::Openpose(painter) => painter.paint(poses, record, consume),
            Self::Keypointgan(painter) => painter.paint(poses, record, consume),
        }
    }
}
