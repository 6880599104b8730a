//! The geometry of a pose: where its bones and discs lie, prepared once for all rows.

use std::ops::Range;

use crate::dispatch::{BLOCK, FULL};

use super::scene::{Color, Pen, PoseBatch, Skeleton, Style};

/// A colour's channels as often as a block has room for them.
pub(super) type Pattern = [u8; BLOCK];

/// What all poses have in common: the skeleton, and what follows from the pen.
#[derive(Debug)]
pub(super) struct Brush<'a> {
    pub skeleton: &'a Skeleton,
    pub pen: Pen,
    /// Distance from a bone at which its coverage ends.
    pub bone_reach: f64,
    pub disc_reach: f64,
    /// Whether bones have round ends; otherwise discs hide the ends, and they are straight.
    pub round: bool,
    /// What to add to the distance from a straight end, inwards, to get the bound of the coverage there.
    slack: f64,
    /// A bone reaches `flat + tilted * |sine|` beyond its ends on an axis, with the sine of its angle to that axis.
    flat: f64,
    tilted: f64,
    /// No bone that is shorter than twice this can be seen.
    hidden: f64,
    bone_patterns: Vec<Pattern>,
    joint_patterns: Vec<Pattern>,
}

impl<'a> Brush<'a> {
    /// Discs of radius `R` cover all within `R - 1/2` of a joint. Where a bone's end has no coverage beyond that, the
    /// end cannot be seen: the bone may be straight from where its edges leave the disc, `hidden` from the joint.
    /// Half a pixel of that is the ramp of the straight end; where `hidden` is 0 and has no room for it, it changes
    /// a channel by less than 0.2.
    pub fn new(skeleton: &'a Skeleton, pen: &Pen) -> Self {
        let reach = pen.bone_radius + 0.5;
        let covered = pen.joint_radius - 0.5;
        let round = pen.style == Style::PerBone || covered < reach;
        let hidden = if round {
            0.0
        } else {
            (covered * covered - reach * reach).sqrt()
        };
        let patterns = |colors: &[Color]| colors.iter().map(|&color| pattern(color, pen.style)).collect();
        Self {
            skeleton,
            pen: *pen,
            bone_reach: reach,
            disc_reach: pen.joint_radius + 0.5,
            round,
            slack: if round { 0.0 } else { 0.5 - (hidden - 0.5).max(0.0) },
            flat: if round { reach } else { 0.0 },
            tilted: if round { 0.0 } else { reach },
            hidden,
            bone_patterns: patterns(&skeleton.bone_colors),
            joint_patterns: patterns(&skeleton.joint_colors),
        }
    }
}

fn pattern(color: Color, style: Style) -> Pattern {
    match style {
        Style::Color => std::array::from_fn(|i| color[i % 3]),
        Style::Gray => {
            let [red, green, blue] = color.map(u32::from);
            [((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8; BLOCK]
        }
        Style::PerBone => [255; BLOCK],
    }
}

/// A segment with the pen drawn along it. Lengths are in units of 1 / [`FULL`] pixels, coordinates in pixels.
#[derive(Debug, Clone)]
pub(super) struct Bone {
    /// Among the skeleton's bones.
    pub index: usize,
    pub rows: Range<u32>,
    /// Bounds of the covered columns, clipped to the picture.
    pub columns: [f64; 2],
    pub unit: [f64; 2],
    /// Signed distance of (x, y) to the line: `unit[0] * y - unit[1] * x + offset`.
    pub offset: f64,
    /// In a row, the line is within reach `half` pixels to either side of (distance of (0, y)) * `crossing`.
    pub crossing: f64,
    pub half: f64,
    /// How far (x, y) lies after the first end: `unit[0] * x + unit[1] * y + after`, and before the second one:
    /// `before - unit[0] * x - unit[1] * y`; with straight ends, the bounds of the coverage by them.
    pub after: f64,
    pub before: f64,
    pub pattern: Pattern,
}

/// A joint's disc.
#[derive(Debug, Clone)]
pub(super) struct Disc {
    pub rows: Range<u32>,
    pub columns: Range<u32>,
    pub center: [f64; 2],
    pub pattern: Pattern,
}

/// All that is drawn of one pose, in order: first the bones, then the discs.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    pub bones: Vec<Bone>,
    pub discs: Vec<Disc>,
}

impl Shapes {
    /// Takes what can be seen of a pose.
    #[inline(always)]
    pub fn set(&mut self, brush: &Brush<'_>, poses: &PoseBatch<'_>, record: usize) {
        self.bones.clear();
        self.discs.clear();
        for (index, &[parent, child]) in brush.skeleton.bones.iter().enumerate() {
            if let (Some(a), Some(b)) = (poses.joint(record, parent), poses.joint(record, child)) {
                if let Some(bone) = Bone::new(brush, index, a.map(f64::from), b.map(f64::from)) {
                    self.bones.push(bone);
                }
            }
        }
        if brush.pen.joint_radius > 0.0 && brush.pen.style != Style::PerBone {
            for (joint, pattern) in brush.joint_patterns.iter().enumerate() {
                if let Some(center) = poses.joint(record, joint) {
                    if let Some(disc) = Disc::new(center.map(f64::from), brush, pattern) {
                        self.discs.push(disc);
                    }
                }
            }
        }
    }
}

impl Bone {
    /// The bone from `a` to `b`, which must come from `f32`; none if nothing of it can be seen.
    #[inline(always)]
    pub fn new(brush: &Brush<'_>, index: usize, a: [f64; 2], b: [f64; 2]) -> Option<Self> {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = (dx * dx + dy * dy).sqrt();
        if !brush.round && length <= 2.0 * brush.hidden {
            return None;
        }
        // A bone without length is a disc, for which any direction will do.
        let (unit, offset) = if length > 0.0 {
            // A product of two f32 is exact in f64, so the offset has one rounding however far away the ends are.
            let scale = 1.0 / length;
            ([dx * scale, dy * scale], (b[1] * a[0] - b[0] * a[1]) * scale)
        } else {
            ([1.0, 0.0], -a[1])
        };
        let bounds = |axis: usize| {
            let along = brush.slack * unit[axis];
            let across = brush.flat + brush.tilted * unit[1 - axis].abs();
            let (start, end) = (a[axis] - along, b[axis] + along);
            [smaller(start, end) - across, larger(start, end) + across]
        };
        let size = brush.pen.size as f64;
        let ([left, right], [top, bottom]) = (bounds(0), bounds(1));
        let rows = nearest(top, size)..nearest(bottom, size);
        let columns = [clamp(left, size), clamp(right, size)];
        if rows.is_empty() || columns[0] >= columns[1] {
            return None;
        }
        // A nearly horizontal line is within reach everywhere, or its crossing would be computed too roughly.
        let steep = unit[1].abs() > 1e-9;
        let crossing = if steep { 1.0 / unit[1] } else { 0.0 };
        let half = if steep {
            brush.bone_reach * crossing.abs()
        } else {
            f64::INFINITY
        };
        let full = f64::from(FULL);
        let along = |[x, y]: [f64; 2]| x * unit[0] + y * unit[1];
        Some(Self {
            index,
            rows,
            columns,
            unit: unit.map(|length| length * full),
            offset: offset * full,
            crossing: crossing / full,
            half,
            // Far from the picture these are rough, but there the ends do not matter.
            after: (brush.slack - along(a)) * full,
            before: (brush.slack + along(b)) * full,
            pattern: brush.bone_patterns[index],
        })
    }
}

impl Disc {
    /// The disc around `center`; none if nothing of it can be seen.
    #[inline(always)]
    pub fn new(center: [f64; 2], brush: &Brush<'_>, pattern: &Pattern) -> Option<Self> {
        let (reach, size) = (brush.disc_reach, brush.pen.size as f64);
        let within = |axis: usize| nearest(center[axis] - reach, size)..nearest(center[axis] + reach, size);
        let (columns, rows) = (within(0), within(1));
        if rows.is_empty() || columns.is_empty() {
            return None;
        }
        Some(Self {
            rows,
            columns,
            center,
            pattern: *pattern,
        })
    }
}

/// The larger one; unlike `max` a single instruction, and no NaN comes here.
#[inline(always)]
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a > b {
        a
    } else {
        b
    }
}

/// The smaller one, as `larger`.
#[inline(always)]
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if a < b {
        a
    } else {
        b
    }
}

#[inline(always)]
pub(super) fn clamp(value: f64, size: f64) -> f64 {
    smaller(larger(value, 0.0), size)
}

/// The nearest integer, clamped to [0, size]: pixels from `nearest(low)` to before `nearest(high)` have their centre
/// between `low` and `high`.
#[inline(always)]
pub(super) fn nearest(value: f64, size: f64) -> u32 {
    (clamp(value, size) + INTEGER).to_bits() as u32
}

/// Adding 2^52 to a number leaves the nearest integer in the low bits. A cast would do, but those that saturate
/// are not vectorised.
pub(super) const INTEGER: f64 = 4_503_599_627_370_496.0;
