//! Filled shapes of integer points without anti-aliasing, pixel for pixel as `OpenCV` fills them.

/// Fractional bits of the columns of an edge.
const SHIFT: u32 = 16;
const ONE: i64 = 1 << SHIFT;

pub(super) type Point = [i64; 2];

/// Pixels of a row, all on the picture: the row, the first column, and the last.
pub(super) type Run = [i64; 3];

/// Points of an ellipse, a degree each and rounded to pixels (halves to even), without repetitions.
///
/// `axes` are half its length and half its width; `angle`, in whole degrees from -360 to 360, turns the first. Sines
/// have seven decimals.
pub(super) fn ellipse(sines: &Sines, center: Point, axes: [i64; 2], angle: i64, out: &mut Vec<Point>) {
    out.clear();
    let angle = if angle < 0 { angle + 360 } else { angle } as usize;
    let (cos, sin) = (sines.0[450 - angle], sines.0[angle]);
    let [cx, cy] = center.map(|value| value as f64);
    for degree in 0..=360 {
        let x = axes[0] as f64 * sines.0[450 - degree];
        let y = axes[1] as f64 * sines.0[degree];
        let point = [cx + x * cos - y * sin, cy + x * sin + y * cos].map(rounded);
        if out.last() != Some(&point) {
            out.push(point);
        }
    }
    if out.len() == 1 {
        *out = vec![center; 2];
    }
}

/// The nearest integer, of two the even one, for anything below 2^51. (`round_ties_even` is a call where the CPU has no
/// instruction for it.)
fn rounded(value: f64) -> i64 {
    const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52: a double there has no fraction
    (value + ROUNDER - ROUNDER) as i64
}

/// Sines of 0 to 450 degrees.
#[derive(Debug, Clone)]
pub(super) struct Sines(Box<[f64; 451]>);

impl Sines {
    pub(super) fn new() -> Self {
        // `f32` between, as the table that everyone has is one of those.
        let sine = |degree: usize| ((degree as f64).to_radians().sin() * 1e7).round() / 1e7;
        Self(Box::new(std::array::from_fn(|degree| {
            f64::from(sine(degree) as f32)
        })))
    }
}

/// Calls `put` with the pixels of a polygon that is convex but for rounding, outline included, on a picture of `size` x
/// `size`; some come twice.
pub(super) fn fill(points: &[Point], size: i64, put: &mut impl FnMut(Run)) {
    let Some(&last) = points.last() else { return };
    let mut before = last;
    for &point in points {
        line(before, point, size, put);
        before = point;
    }
    let bottom = points.iter().map(|p| p[1]).max().unwrap_or(0).min(size - 1);
    if points.len() < 3 || bottom < 0 {
        return;
    }
    // The first of the highest points: one edge goes down from it in the order of the points, the other against it.
    let mut top = 0;
    for (index, point) in points.iter().enumerate() {
        if point[1] < points[top][1] {
            top = index;
        }
    }
    let mut y = points[top][1];
    let mut edges = [1, points.len() - 1].map(|step| Edge {
        index: top,
        step,
        end: y,
        x: -ONE,
        slope: 0,
    });
    let mut unused = points.len();
    while y <= bottom {
        for edge in &mut edges {
            if y >= edge.end {
                edge.advance(points, y, &mut unused);
            }
        }
        if y < 0 {
            // Nothing is seen before the picture begins or an edge ends.
            let next = edges[0].end.min(edges[1].end).clamp(y + 1, 0.max(y + 1));
            for edge in &mut edges {
                edge.x += edge.slope * (next - y);
            }
            y = next;
            continue;
        }
        let (left, right) = (edges[0].x.min(edges[1].x), edges[0].x.max(edges[1].x));
        let (first, last) = ((left + ONE / 2) >> SHIFT, (right + ONE / 2) >> SHIFT);
        put_clipped([y, first, last], size, put);
        for edge in &mut edges {
            edge.x += edge.slope;
        }
        y += 1;
    }
}

/// A side of a polygon on the way down.
struct Edge {
    index: usize,
    step: usize,
    /// Row in which the next edge begins.
    end: i64,
    /// Column with [`SHIFT`] fractional bits, and what it gains a row.
    x: i64,
    slope: i64,
}

impl Edge {
    /// Goes on to the edge that leads below row `y`, if there are `unused` points left.
    fn advance(&mut self, points: &[Point], y: i64, unused: &mut usize) {
        let mut from = self.index;
        let mut to = (from + self.step) % points.len();
        while *unused > 0 {
            *unused -= 1;
            let rows = points[to][1] - y;
            if rows > 0 {
                let [start, end] = [points[from][0] << SHIFT, points[to][0] << SHIFT];
                self.end = points[to][1];
                self.slope = ((end - start) * 2 + rows) / (2 * rows);
                self.x = start;
                self.index = to;
                return;
            }
            from = to;
            to = (to + self.step) % points.len();
        }
    }
}

/// A disc.
pub(super) fn disc(center: Point, radius: i64, size: i64, put: &mut impl FnMut(Run)) {
    let [x, y] = center;
    let (mut dx, mut dy) = (radius, 0);
    let (mut error, mut plus, mut minus) = (0, 1, 2 * radius - 1);
    while dx >= dy {
        for row in [y - dy, y + dy] {
            put_clipped([row, x - dx, x + dx], size, put);
        }
        for row in [y - dx, y + dx] {
            put_clipped([row, x - dy, x + dy], size, put);
        }
        dy += 1;
        error += plus;
        plus += 2;
        if error > 0 {
            error -= minus;
            dx -= 1;
            minus -= 2;
        }
    }
}

fn put_clipped([row, first, last]: Run, size: i64, put: &mut impl FnMut(Run)) {
    let (first, last) = (first.max(0), last.min(size - 1));
    if (0..size).contains(&row) && first <= last {
        put([row, first, last]);
    }
}

/// A line of connected pixels, from left to right.
fn line(a: Point, b: Point, size: i64, put: &mut impl FnMut(Run)) {
    let Some((a, b)) = clip(a, b, size) else { return };
    let (a, b) = if b[0] < a[0] { (b, a) } else { (a, b) };
    let (dx, dy) = (b[0] - a[0], (b[1] - a[1]).abs());
    let down = (b[1] - a[1]).signum();
    let ([mut x, mut y], steep) = (a, dy > dx);
    let (long, short) = if steep { (dy, dx) } else { (dx, dy) };
    let mut error = long - 2 * short;
    let mut start = x;
    for _ in 0..long {
        let both = error < 0;
        error += if both { 2 * (long - short) } else { -2 * short };
        if steep || both {
            put([y, start, x]);
            y += down;
            x += i64::from(!steep || both);
            start = x;
        } else {
            x += 1;
        }
    }
    put([y, start, x]);
}

/// The part of a line that lies on the picture, if any, rounded to pixels towards the ends.
fn clip(mut a: Point, mut b: Point, size: i64) -> Option<(Point, Point)> {
    let end = size - 1;
    let beside = |p: Point| (i64::from(p[0] < 0)) | (i64::from(p[0] > end) << 1);
    let code = |p: Point| beside(p) | (i64::from(p[1] < 0) << 2) | (i64::from(p[1] > end) << 3);
    // What has to be added to coordinate `1 - axis` where coordinate `axis` of `from` becomes `to`.
    let shift = |a: Point, b: Point, from: Point, axis: usize, to: i64| {
        ((to - from[axis]) as f64 * (b[1 - axis] - a[1 - axis]) as f64 / (b[axis] - a[axis]) as f64) as i64
    };
    let (mut at_a, mut at_b) = (code(a), code(b));
    if at_a & at_b == 0 && at_a | at_b != 0 {
        if at_a & 0b1100 != 0 {
            let to = if at_a < 8 { 0 } else { end };
            a = [a[0] + shift(a, b, a, 1, to), to];
            at_a = beside(a);
        }
        if at_b & 0b1100 != 0 {
            let to = if at_b < 8 { 0 } else { end };
            b = [b[0] + shift(a, b, b, 1, to), to];
            at_b = beside(b);
        }
        if at_a & at_b == 0 && at_a | at_b != 0 {
            if at_a != 0 {
                let to = if at_a == 1 { 0 } else { end };
                a = [to, a[1] + shift(a, b, a, 0, to)];
                at_a = 0;
            }
            if at_b != 0 {
                let to = if at_b == 1 { 0 } else { end };
                b = [to, b[1] + shift(a, b, b, 0, to)];
                at_b = 0;
            }
        }
    }
    (at_a | at_b == 0).then_some((a, b))
}
