//! Pictures for consumers that need each only once.

use std::ops::Range;

use crate::dispatch::{self, Level, Simd, Task};
use crate::error::Error;

use super::output;
use super::scene::{Pen, PoseBatch, Skeleton, Style};
use super::shapes::Brush;
use super::{Tile, BAND_BYTES, CHANNELS};

/// Some whole rows of a picture, as [`Painter`] hands them out.
#[derive(Debug, Clone, Copy)]
pub struct Band<'a> {
    /// Row of the picture that the first row here is.
    pub first_row: usize,
    /// `[rows, S, C]`, at most [`BAND_BYTES`] unless it is a single row.
    pub pixels: &'a [u8],
    /// For each row the columns that may hold anything but black; empty for a black row.
    pub spans: &'a [Range<usize>],
}

/// Draws pictures one after the other into memory of its own, so that a picture need never be whole in memory.
#[derive(Debug)]
pub struct Painter<'a> {
    brush: Brush<'a>,
    level: Level,
    tile: Tile,
    /// The band, where it has more channels than the tile.
    channels: Vec<u8>,
    spans: Vec<Range<usize>>,
}

impl<'a> Painter<'a> {
    /// Takes the skeleton and the pen; pictures are `[S, S, C]` whatever layout the pen has.
    #[must_use]
    pub fn new(skeleton: &'a Skeleton, pen: &Pen) -> Self {
        let brush = Brush::new(skeleton, pen);
        let row = (pen.size_px() * pen.channels(skeleton)).max(1);
        let rows = (BAND_BYTES / row).clamp(1, pen.size_px());
        Self {
            level: Level::best(),
            tile: Tile::new(&brush, rows),
            channels: vec![
                0;
                if pen.style == Style::PerBone {
                    rows * row
                } else {
                    0
                }
            ],
            spans: vec![0..0; rows],
            brush,
        }
    }

    /// Channels of the pictures.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.brush.pen.channels(self.brush.skeleton)
    }

    /// Draws the pose `record` and calls `consume` with the bands of its picture, from the top to the bottom.
    ///
    /// # Errors
    /// [`Error::Length`] if the skeleton does not fit the poses; whatever `consume` returns.
    pub fn paint<E: From<Error>>(
        &mut self,
        poses: &PoseBatch<'_>,
        record: usize,
        mut consume: impl FnMut(Band<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.brush.skeleton.check_fits(poses)?;
        let size = self.brush.pen.size;
        self.tile.shapes.set(&self.brush, poses, record);
        let mut first_row = 0;
        while first_row < size {
            self.tile.canvas.clear(first_row as u32);
            let rows = self.tile.canvas.rows().len();
            dispatch::run(self.level, PaintBand { painter: self });
            let pixels = if self.brush.pen.style == Style::PerBone {
                &self.channels[..rows * size * self.channels()]
            } else {
                self.tile.canvas.pixels()
            };
            consume(Band {
                first_row,
                pixels,
                spans: &self.spans[..rows],
            })?;
            first_row += rows;
        }
        Ok(())
    }
}

/// Draws the shapes into the rows that the canvas stands at.
struct PaintBand<'a, 'b> {
    painter: &'a mut Painter<'b>,
}

impl Task for PaintBand<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Painter {
            brush,
            tile: Tile { shapes, canvas },
            channels,
            spans,
            ..
        } = self.painter;
        match brush.pen.style {
            Style::Color => canvas.surface().draw::<S, CHANNELS>(simd, brush, shapes),
            Style::Gray => canvas.surface().draw::<S, 1>(simd, brush, shapes),
            Style::PerBone => {
                let number = brush.skeleton.bones.len();
                let first = canvas.rows().start;
                channels.fill(0);
                spans.fill(0..0);
                for bone in &shapes.bones {
                    canvas.clear(first);
                    canvas.surface().bone::<S, 1, true>(simd, bone, brush.bone_reach);
                    output::scatter(canvas, bone.index, number, channels);
                    for (all, one) in spans.iter_mut().zip(canvas.spans()) {
                        if one.start < one.end {
                            let black = all.start == all.end;
                            let start = if black {
                                one.start
                            } else {
                                all.start.min(one.start)
                            };
                            *all = start..all.end.max(one.end);
                        }
                    }
                }
                return;
            }
        }
        for (to, from) in spans.iter_mut().zip(canvas.spans()) {
            *to = from;
        }
    }
}
