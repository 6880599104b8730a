//! Poses of 18 joints as `ControlNet` was trained on them.
//!
//! Limbs are ellipses in 0.6 of their colour, discs of the joints lie on top of them; nothing is anti-aliased and
//! nothing shines through: what is drawn later covers what was drawn before. Points are rounded to pixels, lengths and
//! angles to whole pixels and degrees, all towards zero.

use std::ops::Range;

use super::convex::{self, Point, Sines};
use super::{joint, widen, Style};
use crate::error::{check_length, Interval, Result};
use crate::raster::{PoseBatch, CHANNELS, MAX_SIZE_PX};

/// Joints of a pose, in the order nose, neck, right arm, left arm, right leg, left leg, eyes, ears.
const JOINTS: usize = 18;

/// Ends of the limbs in the order in which they are drawn; limb k has the colour of joint k.
const LIMBS: [[usize; 2]; 17] = [
    [1, 2],
    [1, 5],
    [2, 3],
    [3, 4],
    [5, 6],
    [6, 7],
    [1, 8],
    [8, 9],
    [9, 10],
    [1, 11],
    [11, 12],
    [12, 13],
    [1, 0],
    [0, 14],
    [14, 16],
    [0, 15],
    [15, 17],
];

/// Colours of the joints: once around the hues.
const COLORS: [[u8; 3]; JOINTS] = [
    [255, 0, 0],
    [255, 85, 0],
    [255, 170, 0],
    [255, 255, 0],
    [170, 255, 0],
    [85, 255, 0],
    [0, 255, 0],
    [0, 255, 85],
    [0, 255, 170],
    [0, 255, 255],
    [0, 170, 255],
    [0, 85, 255],
    [0, 0, 255],
    [85, 0, 255],
    [170, 0, 255],
    [255, 0, 255],
    [255, 0, 170],
    [255, 0, 85],
];

/// For which models the picture is: half the width of limbs and the radius of discs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// 4 px at a side of 512, and in proportion to it elsewhere: what the models of Stable Diffusion 1.5 saw.
    #[default]
    Sd15,
    /// 4 px below a side of 500, 8 from there, 12 from 1000, and 4 more each 1000 up to 28: what the models of SDXL
    /// that want thick lines saw.
    SdxlThick,
}

impl Preset {
    /// Half the width of limbs and the radius of discs, in pixels.
    #[must_use]
    pub fn radius_px(self, size_px: u32) -> u32 {
        match self {
            Self::Sd15 => ((4 * size_px + 256) / 512).max(1),
            Self::SdxlThick if size_px < 500 => 4,
            Self::SdxlThick => 4 * (2 + size_px / 1000).min(7),
        }
    }
}

/// Pixels of a row in one colour.
#[derive(Debug, Clone, Copy)]
struct Stroke {
    row: u32,
    columns: [u32; 2],
    color: [u8; 3],
}

/// Draws poses as `ControlNet` knows them.
#[derive(Debug, Clone)]
pub struct Openpose {
    size: u32,
    radius: u32,
    sines: Sines,
    polygon: Vec<Point>,
    /// What the pose consists of, from the top to the bottom, and within a row in the order of drawing.
    strokes: Vec<Stroke>,
}

impl Openpose {
    /// Pictures of `size_px` x `size_px`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a size that cannot be drawn.
    pub fn new(size_px: usize, preset: Preset) -> Result<Self> {
        Interval::closed(1.0, MAX_SIZE_PX as f64).check("size_px", size_px as f64)?;
        Ok(Self {
            size: size_px as u32,
            radius: preset.radius_px(size_px as u32),
            sines: Sines::new(),
            polygon: Vec::new(),
            strokes: Vec::new(),
        })
    }

    fn limb(&mut self, [a, b]: [[f64; 2]; 2], color: [u8; 3]) {
        let [dx, dy] = [a[0] - b[0], a[1] - b[1]];
        let center = [0, 1].map(|axis| f64::midpoint(a[axis], b[axis]) as i64);
        let axes = [((dx * dx + dy * dy).sqrt() / 2.0) as i64, i64::from(self.radius)];
        let angle = dy.atan2(dx).to_degrees() as i64;
        convex::ellipse(&self.sines, center, axes, angle, &mut self.polygon);
        let dark = color.map(|value| (f64::from(value) * 0.6) as u8);
        let strokes = &mut self.strokes;
        convex::fill(&self.polygon, i64::from(self.size), &mut |run| {
            strokes.push(stroke(run, dark));
        });
    }
}

fn stroke([row, first, last]: convex::Run, color: [u8; 3]) -> Stroke {
    Stroke {
        row: row as u32,
        columns: [first as u32, last as u32 + 1],
        color,
    }
}

impl Style for Openpose {
    fn size_px(&self) -> usize {
        self.size as usize
    }

    fn channels(&self) -> usize {
        CHANNELS
    }

    fn check_fits(&self, poses: &PoseBatch<'_>) -> Result<()> {
        check_length("a pose of the style openpose", poses.num_keypoints(), JOINTS)
    }

    fn take(&mut self, poses: &PoseBatch<'_>, record: usize) {
        self.strokes.clear();
        for (&[a, b], &color) in LIMBS.iter().zip(&COLORS) {
            if let (Some(a), Some(b)) = (joint(poses, record, a), joint(poses, record, b)) {
                self.limb([a, b], color);
            }
        }
        for (index, &color) in COLORS.iter().enumerate() {
            if let Some(center) = joint(poses, record, index) {
                let center = center.map(|value| value as i64);
                convex::disc(center, i64::from(self.radius), i64::from(self.size), &mut |run| {
                    self.strokes.push(stroke(run, color));
                });
            }
        }
        self.strokes.sort_by_key(|stroke| stroke.row); // keeps the order within a row
    }

    fn rows(&mut self, first_row: usize, pixels: &mut [u8], spans: &mut [Range<usize>]) {
        let begin = self
            .strokes
            .partition_point(|stroke| (stroke.row as usize) < first_row);
        for stroke in &self.strokes[begin..] {
            let row = stroke.row as usize - first_row;
            let Some(span) = spans.get_mut(row) else { break };
            let [start, end] = stroke.columns.map(|column| column as usize);
            let row = &mut pixels[row * self.size_px() * CHANNELS..][start * CHANNELS..end * CHANNELS];
            row.as_chunks_mut().0.fill(stroke.color);
            widen(span, start..end);
        }
    }
}
