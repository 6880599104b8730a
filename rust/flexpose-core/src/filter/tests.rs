//! Against the definition in `f64`, at every level of this CPU.

use super::{filter, Filter};
use crate::convolution::tests::numbers;
use crate::convolution::Number;
use crate::dispatch::WideLevel;
use crate::error::Error;

const TAPS: [f32; 4] = [0.125, 0.5, 0.25, 0.0625]; // not the same from either end

struct Case {
    size: [usize; 2],
    out_size: [usize; 2],
    channels: usize,
    up: usize,
    down: usize,
    before: isize,
    taps: Vec<f32>,
}

const IMAGES: usize = 2;

impl Case {
    fn x(&self) -> Vec<f32> {
        numbers(IMAGES * self.size[0] * self.size[1] * self.channels, 1)
    }

    fn filter<'a, T: Number>(&'a self, x: &'a [T]) -> Filter<'a, T> {
        Filter {
            images: IMAGES,
            size: self.size,
            out_size: self.out_size,
            channels: self.channels,
            up: self.up,
            down: self.down,
            before: self.before,
            taps: &self.taps,
            gain: 1.5,
            x,
        }
    }

    /// The value of the picture with zeros in between.
    fn spread(&self, x: &[f32], image: usize, row: isize, column: isize, channel: usize) -> f64 {
        let up = self.up.cast_signed();
        let [height, width] = self.size;
        if row.rem_euclid(up) != 0 || column.rem_euclid(up) != 0 {
            return 0.0;
        }
        let (row, column) = (row.div_euclid(up), column.div_euclid(up));
        if row < 0 || column < 0 || row >= height.cast_signed() || column >= width.cast_signed() {
            return 0.0;
        }
        let place = (image * height + row.cast_unsigned()) * width + column.cast_unsigned();
        f64::from(x[place * self.channels + channel])
    }

    fn expected(&self) -> Vec<f64> {
        let x = self.x();
        let [height, width] = self.out_size;
        let begin = |o: usize| (o * self.down).cast_signed() - self.before;
        let mut y = Vec::new();
        for image in 0..IMAGES {
            for place in 0..height * width {
                let (row, column) = (begin(place / width), begin(place % width));
                for channel in 0..self.channels {
                    let mut sum = 0.0;
                    for (i, a) in (0..).zip(&self.taps) {
                        for (j, b) in (0..).zip(&self.taps) {
                            let value = self.spread(&x, image, row + i, column + j, channel);
                            sum += f64::from(a * b) * value;
                        }
                    }
                    y.push(1.5 * sum);
                }
            }
        }
        y
    }
}

fn cases() -> Vec<Case> {
    let case = |size, out_size, channels, up, down, before| Case {
        size,
        out_size,
        channels,
        up,
        down,
        before,
        taps: TAPS.to_vec(),
    };
    vec![
        case([5, 8], [6, 9], 19, 1, 1, 2),
        case([5, 8], [10, 16], 16, 2, 1, 2),
        case([5, 8], [10, 16], 3, 2, 1, 1),
        case([7, 6], [4, 3], 33, 1, 2, 1),
        case([7, 6], [2, 9], 5, 3, 2, -1),
        case([1, 1], [9, 9], 17, 1, 1, 4), // far outside as well
        Case {
            taps: vec![1.0],
            ..case([4, 3], [4, 3], 20, 1, 1, 0)
        },
    ]
}

#[test]
fn equals_the_definition() {
    for (number, case) in cases().iter().enumerate() {
        let (x, expected) = (case.x(), case.expected());
        for level in WideLevel::available() {
            let mut out = vec![f32::NAN; expected.len()];
            filter(level, &case.filter(&x), None, &mut out).unwrap();
            for (found, wanted) in out.iter().zip(&expected) {
                let off = (f64::from(*found) - wanted).abs();
                assert!(
                    off < 1e-6,
                    "case {number} at {}: {found} for {wanted}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn halves_are_rounded_once() {
    let case = &cases()[1];
    let expected = case.expected();
    let x: Vec<u16> = case.x().iter().map(|v| (v.to_bits() >> 16) as u16).collect();
    for level in WideLevel::available() {
        let mut out = vec![0; expected.len()];
        filter(level, &case.filter(&x), None, &mut out).unwrap();
        for (found, wanted) in out.iter().zip(&expected) {
            let found = f64::from(f32::from_bits(u32::from(*found) << 16));
            assert!(
                (found - wanted).abs() <= wanted.abs() / 250.0 + 1e-6,
                "{found} for {wanted}"
            );
        }
    }
}

#[test]
fn what_is_not_a_number_stays_what_it_is() {
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0];
    let same = Filter {
        images: 1,
        size: [1, 1],
        out_size: [1, 1],
        channels: 4,
        up: 1,
        down: 1,
        before: 0,
        taps: &[1.0],
        gain: 1.0,
        x: &x,
    };
    for level in WideLevel::available() {
        let mut out = [0.0; 4];
        filter(level, &same, None, &mut out).unwrap();
        assert!(out[0].is_nan(), "{}", level.name());
        assert_eq!(out[1..], x[1..]);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let case = &cases()[3];
    let (x, length) = (case.x(), case.expected().len());
    let run = |workers: usize| {
        let mut out = vec![0.0; length];
        let level = WideLevel::available().pop().unwrap();
        filter(level, &case.filter(&x), workers.try_into().ok(), &mut out).unwrap();
        out
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn wrong_sizes_are_refused() {
    let case = &cases()[1];
    let x = case.x();
    let good = case.filter(&x);
    let level = WideLevel::available()[0];
    let mut out = vec![0.0; case.expected().len()];
    let refused = |changed: &Filter<'_, f32>, out: &mut [f32]| match filter(level, changed, None, out) {
        Err(Error::Length { argument, .. } | Error::Size { argument, .. }) => argument,
        other => panic!("{other:?}"),
    };
    let (short, long) = (&x[1..], &[1.0; 5]);
    assert_eq!(refused(&Filter { x: short, ..good }, &mut out), "x");
    assert_eq!(refused(&Filter { up: 0, ..good }, &mut out), "up");
    assert_eq!(refused(&Filter { down: 0, ..good }, &mut out), "down");
    assert_eq!(refused(&Filter { taps: &[], ..good }, &mut out), "taps");
    assert_eq!(refused(&Filter { taps: long, ..good }, &mut out), "taps");
    assert_eq!(refused(&good, &mut out[1..]), "out");
}
