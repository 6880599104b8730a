//! Rows of a picture under the pen.

use std::ops::Range;

use crate::dispatch::{Simd, BLOCK, FULL, LANES};

use super::shapes::{larger, smaller, Bone, Brush, Disc, Shapes, INTEGER};

/// Rows that are prepared together.
const ROWS: usize = 8;
/// Bytes from which on a row is cleared where it is not black, and not as a whole.
const WIDE: usize = 512;
/// Bounds of the columns of a row in which nothing was drawn.
const BLACK: Range<f32> = 1e6..-1e6;

/// Some whole rows of a picture, black but where `spans` says.
#[derive(Debug)]
pub(super) struct Canvas {
    /// `[rows, S, C]`
    pixels: Vec<u8>,
    /// Left and right bounds of what may be other than black, for each row; then room for rows that are prepared in
    /// vain. The left one is not below the right one in a black row.
    lows: Vec<f32>,
    highs: Vec<f32>,
    size: usize,
    channels: usize,
    /// The picture's rows that are here.
    rows: Range<u32>,
}

/// Rows of a picture, here or in the memory of another, that are drawn on.
pub(super) struct Surface<'a> {
    pixels: &'a mut [u8],
    lows: &'a mut [f32],
    highs: &'a mut [f32],
    size: usize,
    rows: Range<u32>,
}

/// What varies from row to row of a bone.
struct Prepared {
    starts: [u32; ROWS],
    ends: [u32; ROWS],
    lows: [f32; ROWS],
    highs: [f32; ROWS],
    across: [f32; ROWS],
    after: [f32; ROWS],
    before: [f32; ROWS],
}

impl Canvas {
    /// Room for `rows` rows of `size` pixels of `channels` channels.
    pub fn new(size: usize, channels: usize, rows: usize) -> Self {
        Self {
            pixels: vec![0; rows * size * channels],
            lows: vec![BLACK.start; size + ROWS],
            highs: vec![BLACK.end; size + ROWS],
            size,
            channels,
            rows: 0..rows as u32,
        }
    }

    /// Whether there is no room for any row.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Largest number of rows.
    fn capacity(&self) -> usize {
        self.pixels.len() / (self.size * self.channels)
    }

    /// What is here, to be drawn on.
    #[inline(always)]
    pub fn surface(&mut self) -> Surface<'_> {
        Surface {
            pixels: &mut self.pixels,
            lows: &mut self.lows,
            highs: &mut self.highs,
            size: self.size,
            rows: self.rows.clone(),
        }
    }

    /// A whole black picture in other memory, to be drawn on, for a canvas without room.
    #[inline(always)]
    pub fn other<'a>(&'a mut self, pixels: &'a mut [u8]) -> Surface<'a> {
        Surface {
            pixels,
            lows: &mut self.lows,
            highs: &mut self.highs,
            size: self.size,
            rows: 0..self.size as u32,
        }
    }

    /// The rows that are here now.
    pub fn rows(&self) -> Range<u32> {
        self.rows.clone()
    }

    /// Side of the picture.
    pub fn size(&self) -> usize {
        self.size
    }

    /// `[rows, S, C]`
    pub fn pixels(&self) -> &[u8] {
        &self.pixels[..self.rows.len() * self.size * self.channels]
    }

    /// Columns that may hold anything but black, by row.
    #[inline(always)]
    pub fn spans(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let bounds = self.lows.iter().zip(&self.highs).take(self.rows.len());
        bounds.map(|(&low, &high)| columns(low, high, self.size))
    }

    /// Makes all black and takes the rows of the picture from `first` on, as many as there is room for.
    #[inline(always)]
    pub fn clear(&mut self, first: u32) {
        let row_len = self.size * self.channels;
        if row_len < WIDE {
            let painted = |(low, high): (&f32, &f32)| low < high;
            let first = self.lows.iter().zip(&self.highs).position(painted);
            let last = self.lows.iter().zip(&self.highs).rposition(painted);
            if let (Some(first), Some(last)) = (first, last) {
                self.pixels[first * row_len..(last + 1) * row_len].fill(0);
            }
        } else {
            let bounds = self.lows.iter().zip(&self.highs);
            for (row, (&low, &high)) in self.pixels.chunks_exact_mut(row_len).zip(bounds) {
                let span = columns(low, high, self.size);
                row[span.start * self.channels..span.end * self.channels].fill(0);
            }
        }
        let used = self.capacity() + ROWS;
        self.lows[..used].fill(BLACK.start);
        self.highs[..used].fill(BLACK.end);
        let last = (first as usize + self.capacity()).min(self.size);
        self.rows = first..last as u32;
    }
}

/// What a bone has in common for all blocks of pixels.
struct Edges<S: Simd> {
    reach: S::Floats,
    /// How much less the distance to the line is in the pixels of a block than in its first.
    across: S::Floats,
    /// How much more the distance along it is.
    along: S::Floats,
}

impl<S: Simd> Edges<S> {
    /// Coverage of a block from the distances of its first pixel.
    #[inline(always)] // a closure would be compiled for the portable level
    fn coverage<const ROUND: bool>(&self, simd: S, across: f32, after: f32, before: f32) -> S::Floats {
        let across = simd.sub(simd.splat(across), self.across);
        let after = simd.add(simd.splat(after), self.along);
        let before = simd.sub(simd.splat(before), self.along);
        let inside = simd.min(after, before);
        if ROUND {
            let along = simd.min(inside, simd.splat(0.0));
            let squares = simd.add(simd.mul(across, across), simd.mul(along, along));
            simd.sub(self.reach, simd.sqrt(squares))
        } else {
            simd.min(simd.sub(self.reach, simd.abs(across)), inside)
        }
    }
}

impl Surface<'_> {
    /// Draws what of `shapes` lies in the rows that are here.
    #[inline(always)]
    pub fn draw<S: Simd, const C: usize>(&mut self, simd: S, brush: &Brush<'_>, shapes: &Shapes) {
        if brush.round {
            for bone in &shapes.bones {
                self.bone::<S, C, true>(simd, bone, brush.bone_reach);
            }
        } else {
            for bone in &shapes.bones {
                self.bone::<S, C, false>(simd, bone, brush.bone_reach);
            }
        }
        for disc in &shapes.discs {
            self.disc::<S, C>(simd, disc, brush.disc_reach);
        }
    }

    #[inline(always)]
    pub fn bone<S: Simd, const C: usize, const ROUND: bool>(&mut self, simd: S, bone: &Bone, reach: f64) {
        let reach = simd.splat((reach * f64::from(FULL)) as f32);
        let color = simd.color(&bone.pattern);
        let [step_along, step_across] = bone.unit.map(|step| step as f32);
        let edges = Edges {
            reach,
            across: lanes(simd, step_across),
            along: lanes(simd, step_along),
        };
        let last = bone.rows.end.min(self.rows.end);
        let mut first = bone.rows.start.max(self.rows.start);
        while first < last {
            let count = ((last - first) as usize).min(ROWS);
            let rows = self.prepare(simd, bone, first, count);
            let mut place = (first - self.rows.start) as usize * self.size * C;
            for row in 0..count {
                let (start, end) = (rows.starts[row], rows.ends[row]);
                let (across, after, before) = (rows.across[row], rows.after[row], rows.before[row]);
                if start < end {
                    let coverage = edges.coverage::<ROUND>(simd, across, after, before);
                    self.composite::<S, C>(simd, place, start, color, coverage);
                }
                for column in (start..end).step_by(LANES).skip(1) {
                    let columns = (column - start) as f32;
                    let (along, aside) = (columns * step_along, columns * step_across);
                    let (across, after, before) = (across - aside, after + along, before - along);
                    let coverage = edges.coverage::<ROUND>(simd, across, after, before);
                    self.composite::<S, C>(simd, place, column, color, coverage);
                }
                place += self.size * C;
            }
            first += ROWS as u32;
        }
    }

    /// Where `count` rows from `first` on are covered, and the distances there.
    #[inline(always)]
    fn prepare<S: Simd>(&mut self, simd: S, bone: &Bone, first: u32, count: usize) -> Prepared {
        let mut rows = Prepared {
            starts: [0; ROWS],
            ends: [0; ROWS],
            lows: [0.0; ROWS],
            highs: [0.0; ROWS],
            across: [0.0; ROWS],
            after: [0.0; ROWS],
            before: [0.0; ROWS],
        };
        let top = f64::from(first) + 0.5;
        for row in 0..ROWS {
            let y = top + row as f64;
            let line = bone.unit[0] * y + bone.offset;
            let middle = line * bone.crossing;
            let low = clamp_to(middle - bone.half, bone.columns);
            let high = clamp_to(middle + bone.half, bone.columns);
            let start = low + INTEGER;
            let x = (start - INTEGER) + 0.5;
            let along = bone.unit[0] * x + bone.unit[1] * y;
            rows.starts[row] = start.to_bits() as u32;
            rows.ends[row] = (high + INTEGER).to_bits() as u32;
            rows.lows[row] = low as f32;
            rows.highs[row] = high as f32;
            rows.across[row] = (line - bone.unit[1] * x) as f32;
            rows.after[row] = (bone.after + along) as f32;
            rows.before[row] = (bone.before - along) as f32;
        }
        let place = (first - self.rows.start) as usize;
        self.mark(simd, place, count, simd.load(&rows.lows), simd.load(&rows.highs));
        rows
    }

    /// Widens the bounds of `count` rows from `row` on.
    #[inline(always)]
    fn mark<S: Simd>(&mut self, simd: S, row: usize, count: usize, low: S::Floats, high: S::Floats) {
        let beyond = simd.add(lanes(simd, 1.0), simd.splat(1.0 - count as f32));
        let beyond = simd.mul(simd.max(beyond, simd.splat(0.0)), simd.splat(BLACK.start));
        if let Some(lows) = self.lows[row..].first_chunk_mut() {
            simd.store(lows, simd.min(simd.load(lows), simd.add(low, beyond)));
        }
        if let Some(highs) = self.highs[row..].first_chunk_mut() {
            simd.store(highs, simd.max(simd.load(highs), simd.sub(high, beyond)));
        }
    }

    #[inline(always)]
    pub fn disc<S: Simd, const C: usize>(&mut self, simd: S, disc: &Disc, reach: f64) {
        let first = disc.rows.start.max(self.rows.start);
        let last = disc.rows.end.min(self.rows.end);
        let [x, y] = disc.center;
        let scale = f64::from(FULL);
        let scaled_reach = simd.splat((reach * scale) as f32);
        let color = simd.color(&disc.pattern);
        let step = lanes(simd, FULL);
        for row in (first..last).step_by(ROWS) {
            let mut dy2 = [0.0; ROWS];
            let top = f64::from(row) + 0.5;
            for (i, dy2) in dy2.iter_mut().enumerate() {
                let dy = ((top + i as f64 - y) * scale) as f32;
                *dy2 = dy * dy;
            }
            let count = ((last - row) as usize).min(ROWS);
            for column in disc.columns.clone().step_by(LANES) {
                let left = f64::from(column) + 0.5 - x;
                let nearest_dx = larger(larger(left, 1.0 - LANES as f64 - left), 0.0);
                let limit = ((reach * reach - nearest_dx * nearest_dx) * scale * scale) as f32;
                let dx = simd.add(simd.splat((left * scale) as f32), step);
                let dx2 = simd.mul(dx, dx);
                let mut place = (row - self.rows.start) as usize * self.size * C;
                for &dy2 in &dy2[..count] {
                    if dy2 < limit {
                        let distance = simd.sqrt(simd.add(dx2, simd.splat(dy2)));
                        let coverage = simd.sub(scaled_reach, distance);
                        self.composite::<S, C>(simd, place, column, color, coverage);
                    }
                    place += self.size * C;
                }
            }
            let squares = simd.sub(
                simd.splat((reach * reach * scale * scale) as f32),
                simd.load(&dy2),
            );
            let half = simd.sqrt(simd.max(squares, simd.splat(0.0)));
            let half = simd.mul(half, simd.splat(1.0 / FULL));
            let middle = simd.splat(x as f32);
            let (low, high) = (simd.sub(middle, half), simd.add(middle, half));
            self.mark(simd, (row - self.rows.start) as usize, count, low, high);
        }
    }

    /// Lays a colour over the block that begins at `column` of the row that begins at byte `place`.
    #[inline(always)]
    fn composite<S: Simd, const C: usize>(
        &mut self,
        simd: S,
        place: usize,
        column: u32,
        color: S::Color,
        mut coverage: S::Floats,
    ) {
        let column = column as usize;
        if column + LANES > self.size {
            // What lies to the right of the picture is the next row in memory.
            let inside = simd.splat((self.size - column) as f32 * FULL);
            coverage = simd.min(coverage, simd.sub(inside, lanes(simd, FULL)));
        }
        let at = place + column * C;
        if let Some(Ok(below)) = self.pixels.get_mut(at..at + BLOCK).map(TryInto::try_into) {
            simd.composite::<C>(below, color, coverage);
        } else {
            // The end of the last row.
            let below = &mut self.pixels[at..];
            let mut block = [0; BLOCK];
            block[..below.len()].copy_from_slice(below);
            simd.composite::<C>(&mut block, color, coverage);
            below.copy_from_slice(&block[..below.len()]);
        }
    }
}

/// The columns with their centre between two bounds.
#[inline(always)]
fn columns(low: f32, high: f32, size: usize) -> Range<usize> {
    /// Adding 2^23 leaves the nearest integer in the low bits.
    const INTEGER: f32 = 8_388_608.0;
    let column = |bound: f32| {
        let clamped = if bound > 0.0 { bound } else { 0.0 };
        let clamped = if clamped < size as f32 {
            clamped
        } else {
            size as f32
        };
        ((clamped + INTEGER).to_bits() & 0x7f_ffff) as usize
    };
    if low < high {
        column(low)..column(high)
    } else {
        0..0
    }
}

/// `step` times 0, 1, 2, ...
#[inline(always)]
fn lanes<S: Simd>(simd: S, step: f32) -> S::Floats {
    simd.mul(
        simd.splat(step),
        simd.load(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
    )
}

#[inline(always)]
fn clamp_to(value: f64, [low, high]: [f64; 2]) -> f64 {
    smaller(larger(value, low), high)
}
