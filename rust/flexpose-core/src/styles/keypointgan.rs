//! Poses as the soft lines of `KeypointGAN`.
//!
//! The columns and rows of a picture lie at `-1 + 2 i / (S - 1)`, the first and the last at -1 and 1, and a joint at its
//! coordinate in the frame, where the edges of the frame are at -1 and 1. A pixel is as bright as the nearest bone makes
//! it, `exp(-sqrt(d^2 + 1e-6) / sigma^2)` with the distance `d` to the bone, times 255, rounded. There are no discs.

use std::ops::Range;

use super::{joint, widen, Style};
use crate::error::{Interval, Result};
use crate::raster::{PoseBatch, Skeleton, MAX_SIZE_PX};

/// The values that sigma may take; below them nothing is left of a line.
pub const SIGMA: Interval = Interval::closed(0.02, 10.0);

/// Added to the square of a distance.
const SOFT: f64 = 1e-6;
/// Smallest square of a bone's length that the place on it is divided by.
const SHORT: f64 = 1e-6;
/// Steps of the distance in which it is looked up; the brightness changes by less than one from one to the next.
const STEPS: usize = 4096;

/// What a distance becomes.
#[derive(Debug, Clone)]
struct Brightness {
    /// For each brightness the largest `d^2` that has it.
    limits: Box<[f32; 256]>,
    /// Brightness at the beginning of each step of `sqrt(d^2 + SOFT)`.
    steps: Vec<u8>,
    steps_per_unit: f32,
}

impl Brightness {
    fn new(sigma: f64) -> Self {
        let softened = |level: f64| sigma * sigma * (255.0 / (level - 0.5)).ln();
        let limit = |level: usize| (softened(level as f64).powi(2) - SOFT) as f32;
        let mut limits = Box::new([f32::INFINITY; 256]);
        for (level, place) in limits.iter_mut().enumerate().skip(1) {
            // Negative where not even a distance of 0 is as bright.
            *place = if softened(level as f64) > 0.0 {
                limit(level)
            } else {
                -1.0
            };
        }
        let unit = STEPS as f64 / softened(1.0);
        let steps = (0..=STEPS).map(|step| {
            let start = (step as f64 / unit).max(SOFT.sqrt());
            ((-start / (sigma * sigma)).exp() * 255.0 + 0.5).ceil().min(255.0) as u8
        });
        Self {
            limits,
            steps: steps.collect(),
            steps_per_unit: unit as f32,
        }
    }

    /// Distance from which on all is black.
    fn reach(&self) -> f64 {
        f64::from(self.limits[1]).max(0.0).sqrt()
    }

    fn of(&self, squared: f32) -> u8 {
        if squared > self.limits[1] {
            return 0;
        }
        let step = ((squared + SOFT as f32).sqrt() * self.steps_per_unit) as usize;
        let mut level = self.steps[step.min(STEPS)];
        while squared > self.limits[usize::from(level)] {
            level -= 1;
        }
        level
    }
}

/// A bone on the grid: its beginning, its direction, and what makes a place on it from a product with that.
#[derive(Debug, Clone, Copy)]
struct Bone {
    start: [f32; 2],
    along: [f32; 2],
    scale: f32,
}

/// Draws poses as `KeypointGAN` does.
#[derive(Debug, Clone)]
pub struct Keypointgan<'a> {
    skeleton: &'a Skeleton,
    grid: Vec<f32>,
    brightness: Brightness,
    bones: Vec<Bone>,
    /// Squares of the distances of a row.
    nearest: Vec<f32>,
}

impl<'a> Keypointgan<'a> {
    /// Pictures of `size_px` x `size_px`, 1 channel.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a size or a sigma that cannot be drawn.
    pub fn new(skeleton: &'a Skeleton, size_px: usize, sigma: f64) -> Result<Self> {
        Interval::closed(2.0, MAX_SIZE_PX as f64)
            .check("size_px of the style keypointgan", size_px as f64)?;
        SIGMA.check("sigma", sigma)?;
        let grid = (0..size_px).map(|i| (2.0 * i as f64 / (size_px - 1) as f64 - 1.0) as f32);
        Ok(Self {
            skeleton,
            grid: grid.collect(),
            brightness: Brightness::new(sigma),
            bones: Vec::new(),
            nearest: vec![0.0; size_px],
        })
    }

    /// The columns or rows of the grid that lie in an interval.
    fn between(&self, low: f64, high: f64) -> Range<usize> {
        let size = self.grid.len();
        let place = |value: f64| (value + 1.0) * 0.5 * (size - 1) as f64;
        // One more on either side: what is not needed is black.
        let start = (place(low) - 1.0).max(0.0) as usize;
        let end = (place(high) + 2.0).clamp(0.0, size as f64) as usize;
        start.min(end)..end
    }
}

/// Keeps of a segment what is within `bound` of the middle in both directions; beyond it, nothing reaches the picture,
/// and `f32` would not be precise.
fn clipped(a: [f64; 2], b: [f64; 2], bound: f64) -> Option<[[f64; 2]; 2]> {
    let (mut from, mut to) = (0.0_f64, 1.0_f64);
    let along = [b[0] - a[0], b[1] - a[1]];
    for axis in 0..2 {
        if along[axis] == 0.0 {
            if a[axis].abs() > bound {
                return None;
            }
            continue;
        }
        let ends = [-bound, bound].map(|side| (side - a[axis]) / along[axis]);
        from = from.max(ends[0].min(ends[1]));
        to = to.min(ends[0].max(ends[1]));
    }
    let at = |t: f64| [a[0] + t * along[0], a[1] + t * along[1]];
    (from <= to).then(|| {
        [
            if from > 0.0 { at(from) } else { a },
            if to < 1.0 { at(to) } else { b },
        ]
    })
}

impl Style for Keypointgan<'_> {
    fn size_px(&self) -> usize {
        self.grid.len()
    }

    fn channels(&self) -> usize {
        1
    }

    fn check_fits(&self, poses: &PoseBatch<'_>) -> Result<()> {
        self.skeleton.check_fits(poses)
    }

    fn take(&mut self, poses: &PoseBatch<'_>, record: usize) {
        self.bones.clear();
        let size = self.grid.len() as f64;
        let place = |index: usize| Some(joint(poses, record, index)?.map(|v| v * 2.0 / size - 1.0));
        let bound = 1.0 + 2.0 * self.brightness.reach();
        for &[a, b] in &self.skeleton.bones {
            let (Some(a), Some(b)) = (place(a), place(b)) else {
                continue;
            };
            let Some([a, b]) = clipped(a, b, bound) else {
                continue;
            };
            let along = [b[0] - a[0], b[1] - a[1]];
            let squared = along[0] * along[0] + along[1] * along[1];
            self.bones.push(Bone {
                start: a.map(|value| value as f32),
                along: along.map(|value| value as f32),
                scale: (1.0 / squared.max(SHORT)) as f32,
            });
        }
    }

    fn rows(&mut self, first_row: usize, pixels: &mut [u8], spans: &mut [Range<usize>]) {
        let reach = self.brightness.reach();
        let size = self.grid.len();
        for (row, (pixels, span)) in pixels.chunks_exact_mut(size).zip(spans).enumerate() {
            let y = self.grid[first_row + row];
            self.nearest.fill(f32::INFINITY);
            for bone in &self.bones {
                let Some([left, right]) = bone.columns(f64::from(y), reach) else {
                    continue;
                };
                let columns = self.between(left, right);
                bone.distances(&self.grid[columns.clone()], y, &mut self.nearest[columns.clone()]);
                widen(span, columns);
            }
            for (pixel, &squared) in pixels[span.clone()].iter_mut().zip(&self.nearest[span.clone()]) {
                *pixel = self.brightness.of(squared);
            }
        }
    }
}

impl Bone {
    /// First and last place of row `y` that may be within `reach`.
    fn columns(&self, y: f64, reach: f64) -> Option<[f64; 2]> {
        let [x0, y0] = self.start.map(f64::from);
        let [dx, dy] = self.along.map(f64::from);
        let reach = reach + 1e-4; // more than `f32` loses
        let near = if dy == 0.0 {
            ((y - y0).abs() <= reach).then_some([0.0, 1.0])
        } else {
            let ends = [y - reach, y + reach].map(|edge| ((edge - y0) / dy).clamp(0.0, 1.0));
            let beside = (y - y0.min(y0 + dy) + reach < 0.0) || (y - y0.max(y0 + dy) - reach > 0.0);
            (!beside).then_some(ends)
        };
        let [a, b] = near?.map(|t| x0 + t * dx);
        Some([a.min(b) - reach, a.max(b) + reach])
    }

    /// Lowers what is farther away than this bone; squares of distances.
    fn distances(&self, columns: &[f32], y: f32, nearest: &mut [f32]) {
        let [dx, dy] = self.along;
        let below = y - self.start[1];
        for (&x, nearest) in columns.iter().zip(nearest) {
            let beside = x - self.start[0];
            let t = ((beside * dx + below * dy) * self.scale).clamp(0.0, 1.0);
            let (x, y) = (beside - t * dx, below - t * dy);
            *nearest = nearest.min(x * x + y * y);
        }
    }
}
