//! Against the plain sum in `f64`, at every level of this CPU.

use super::{convolve, Convolution, Number, Shape, COLUMNS};
use crate::dispatch::WideLevel;
use crate::error::Error;

/// Numbers in [-1, 1) that are exact in bfloat16.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 57) as f32 / 64.0 - 1.0
        })
        .collect()
}

pub(crate) fn bits(value: f32) -> u16 {
    (value.to_bits() >> 16) as u16
}

fn value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rows of G for the points of each type.
const SMALL: [[f64; 3]; 4] = [
    [1.0, 0.0, 0.0],
    [0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0.0, 0.0, 1.0],
];

fn large() -> Vec<[f64; 3]> {
    let (a, b) = (0.5_f64.sqrt(), 2.0_f64.sqrt());
    let row = |p: f64, n: f64| [1.0 / n, p / n, p * p / n];
    vec![
        row(0.0, 1.0),
        row(a, -1.5),
        row(-a, -1.5),
        row(b, 6.0),
        row(-b, 6.0),
        [0.0, 0.0, 1.0],
    ]
}

/// `[A * A][P / COLUMNS][I][COLUMNS]` of kernels `[P, I, 3, 3]`.
fn transformed(kernels: &[f32], g: &[[f64; 3]], inputs: usize) -> Vec<f32> {
    let planes = kernels.len() / inputs / 9;
    let mut result = Vec::new();
    for ga in g {
        for gb in g {
            for block in 0..planes / COLUMNS {
                for i in 0..inputs {
                    for o in block * COLUMNS..(block + 1) * COLUMNS {
                        let kernel = &kernels[(o * inputs + i) * 9..][..9];
                        let sum: f64 = (0..9).map(|k| ga[k / 3] * gb[k % 3] * f64::from(kernel[k])).sum();
                        result.push(sum as f32);
                    }
                }
            }
        }
    }
    result
}

struct Case {
    shape: Shape,
    x: Vec<f32>,
    kernels: Vec<f32>,
    pre: Vec<f32>,
    post: Vec<f32>,
    noise: Vec<f32>,
    bias: Vec<f32>,
    slope: f32,
    gain: f32,
    clamp: f32,
}

impl Case {
    fn new(shape: Shape, noisy: usize) -> Self {
        let Shape {
            images,
            height,
            width,
            inputs,
            outputs,
            up,
        } = shape;
        Self {
            shape,
            x: numbers(images * height * width * inputs, 1),
            kernels: numbers(outputs * up * up * inputs * 9, 2),
            pre: numbers(images * inputs, 3),
            post: numbers(images * outputs, 4),
            noise: numbers(noisy * height * width * up * up, 5),
            bias: if noisy == 0 {
                Vec::new()
            } else {
                numbers(outputs, 6)
            },
            slope: if noisy == 0 { 1.0 } else { 0.2 },
            gain: 1.5,
            clamp: if noisy == 1 { 4.0 } else { f32::INFINITY },
        }
    }

    fn convolution<'a, T: Number>(&'a self, x: &'a [T], kernels: &'a [T::Word]) -> Convolution<'a, T> {
        Convolution {
            shape: self.shape,
            x,
            kernels,
            pre: &self.pre,
            post: &self.post,
            noise: &self.noise,
            bias: &self.bias,
            slope: self.slope,
            gain: self.gain,
            clamp: self.clamp,
        }
    }

    fn expected(&self) -> Vec<f64> {
        let Shape {
            images,
            height,
            width,
            inputs,
            outputs,
            up,
        } = self.shape;
        let mut y = Vec::new();
        for n in 0..images {
            for row in 0..height * up {
                for column in 0..width * up {
                    for o in 0..outputs {
                        let phase = row % up * up + column % up;
                        let mut sum = 0.0;
                        for i in 0..inputs {
                            let kernel = &self.kernels[((phase * outputs + o) * inputs + i) * 9..][..9];
                            for k in 0..9 {
                                let (h, w) = (row / up + k / 3, column / up + k % 3);
                                if h > 0 && h <= height && w > 0 && w <= width {
                                    let x = self.x[((n * height + h - 1) * width + w - 1) * inputs + i];
                                    sum += f64::from(x * self.pre[n * inputs + i]) * f64::from(kernel[k]);
                                }
                            }
                        }
                        let pixels = height * up * width * up;
                        let place = row * width * up + column;
                        let mut z = sum * f64::from(self.post[n * outputs + o]);
                        if !self.noise.is_empty() {
                            let own = if self.noise.len() == pixels { 0 } else { n * pixels };
                            z += f64::from(self.noise[own + place]);
                            z += f64::from(self.bias[o]);
                        }
                        z = if z < 0.0 { z * f64::from(self.slope) } else { z } * f64::from(self.gain);
                        y.push(z.clamp(-f64::from(self.clamp), f64::from(self.clamp)));
                    }
                }
            }
        }
        y
    }
}

pub(crate) fn worst(found: impl Iterator<Item = f32>, expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let off = found.zip(expected).map(|(a, b)| (f64::from(a) - b).abs());
    off.fold(0.0, f64::max) / largest
}

fn shapes() -> Vec<(Shape, usize)> {
    let shape = |images, height, width, up| Shape {
        images,
        height,
        width,
        inputs: 16,
        outputs: 32,
        up,
    };
    vec![
        (shape(2, 8, 8, 1), 0),
        (shape(2, 7, 9, 1), 2),
        (shape(1, 1, 1, 1), 1),
        (shape(2, 5, 13, 2), 1),
        (shape(1, 24, 36, 1), 1),
        (
            Shape {
                inputs: 48,
                outputs: 64,
                ..shape(2, 4, 6, 2)
            },
            2,
        ),
    ]
}

#[test]
fn floats_equal_the_plain_sum() {
    for (shape, noisy) in shapes() {
        let case = Case::new(shape, noisy);
        let kernels = transformed(&case.kernels, &large(), shape.inputs);
        let expected = case.expected();
        for level in WideLevel::available() {
            let mut out = vec![f32::NAN; expected.len()];
            convolve(level, &case.convolution(&case.x, &kernels), None, &mut out).unwrap();
            let off = worst(out.into_iter(), &expected);
            assert!(off < 3e-6, "{shape:?} at {}: {off}", level.name());
        }
    }
}

#[test]
fn halves_equal_the_plain_sum() {
    for (shape, noisy) in shapes() {
        let case = Case::new(shape, noisy);
        let kernels = transformed(&case.kernels, &SMALL, shape.inputs);
        // Two inputs a word: [.., I, COLUMNS] to [.., I / 2, COLUMNS].
        let words: Vec<u32> = kernels
            .chunks_exact(2 * COLUMNS)
            .flat_map(|pair| {
                let word = |c: usize| u32::from(bits(pair[c])) | (u32::from(bits(pair[COLUMNS + c])) << 16);
                (0..COLUMNS).map(word).collect::<Vec<_>>()
            })
            .collect();
        let x: Vec<u16> = case.x.iter().copied().map(bits).collect();
        let expected = case.expected();
        for level in WideLevel::available() {
            let mut out = vec![u16::MAX; expected.len()];
            convolve(level, &case.convolution(&x, &words), None, &mut out).unwrap();
            let off = worst(out.into_iter().map(value), &expected);
            assert!(off < 2e-2, "{shape:?} at {}: {off}", level.name());
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let case = Case::new(shapes()[3].0, 1);
    let kernels = transformed(&case.kernels, &large(), 16);
    let level = WideLevel::available().pop().unwrap();
    let run = |workers: usize| {
        let mut out = vec![0.0; case.expected().len()];
        let convolution = case.convolution(&case.x, &kernels);
        convolve(level, &convolution, workers.try_into().ok(), &mut out).unwrap();
        out
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn wrong_sizes_are_refused() {
    let case = Case::new(shapes()[0].0, 0);
    let kernels = transformed(&case.kernels, &large(), 16);
    let level = WideLevel::available()[0];
    let good = case.convolution(&case.x, &kernels);
    let mut out = vec![0.0; 2 * 8 * 8 * 32];
    let short = &mut out[1..];
    let refused = |convolution: &Convolution<'_, f32>, out: &mut [f32]| {
        convolve(level, convolution, None, out).unwrap_err()
    };
    assert!(matches!(
        refused(&good, short),
        Error::Length { argument: "out", .. }
    ));
    for (argument, changed) in [
        (
            "x",
            Convolution {
                x: &case.x[1..],
                ..good
            },
        ),
        (
            "kernels",
            Convolution {
                kernels: &kernels[1..],
                ..good
            },
        ),
        ("pre", Convolution { pre: &[], ..good }),
        ("post", Convolution { post: &[], ..good }),
        (
            "noise",
            Convolution {
                noise: &[0.0],
                ..good
            },
        ),
        ("bias", Convolution { bias: &[0.0], ..good }),
    ] {
        match refused(&changed, &mut out) {
            Error::Length { argument: got, .. } => assert_eq!(got, argument),
            other => panic!("{argument}: {other}"),
        }
    }
    for shape in [
        Shape {
            inputs: 8,
            ..good.shape
        },
        Shape {
            outputs: 16,
            ..good.shape
        },
        Shape { up: 3, ..good.shape },
    ] {
        let changed = Convolution { shape, ..good };
        assert!(
            matches!(refused(&changed, &mut out), Error::Size { .. }),
            "{shape:?}"
        );
    }
}
