//! Against the plain sum in `f64`, at every level of this CPU.

use super::{weight_gradient, Number, Shape, WeightGradient};
use crate::convolution::tests::{bits, numbers, worst};
use crate::dispatch::WideLevel;
use crate::error::Error;

struct Tensors {
    shape: Shape,
    x: Vec<f32>,
    gradient: Vec<f32>,
    pre: Vec<f32>,
    post: Vec<f32>,
}

impl Tensors {
    fn new(images: usize, height: usize, width: usize, inputs: usize, outputs: usize) -> Self {
        let pixels = images * height * width;
        Self {
            shape: Shape {
                images,
                height,
                width,
                inputs,
                outputs,
                up: 1,
            },
            x: numbers(pixels * inputs, 1),
            gradient: numbers(pixels * outputs, 2),
            pre: numbers(images * inputs, 3),
            post: numbers(images * outputs, 4),
        }
    }

    fn problem<'a, T: Number>(&'a self, x: &'a [T], gradient: &'a [T]) -> WeightGradient<'a, T> {
        WeightGradient {
            shape: self.shape,
            x,
            gradient,
            pre: &self.pre,
            post: &self.post,
        }
    }

    fn expected(&self) -> Vec<f64> {
        let Shape {
            images,
            height,
            width,
            inputs,
            outputs,
            ..
        } = self.shape;
        let mut sums = vec![0.0; outputs * 9 * inputs];
        for n in 0..images {
            for place in 0..height * width * 9 {
                let (pixel, k) = (place / 9, place % 9);
                let (row, column) = (pixel / width + k / 3, pixel % width + k % 3);
                if row == 0 || column == 0 || row > height || column > width {
                    continue;
                }
                let from = ((n * height + row - 1) * width + column - 1) * inputs;
                let to = (n * height * width + pixel) * outputs;
                for o in 0..outputs {
                    let g = f64::from(self.gradient[to + o]) * f64::from(self.post[n * outputs + o]);
                    for i in 0..inputs {
                        let x = f64::from(self.x[from + i]) * f64::from(self.pre[n * inputs + i]);
                        sums[(o * 9 + k) * inputs + i] += g * x;
                    }
                }
            }
        }
        sums
    }
}

fn tensors() -> [Tensors; 4] {
    [
        Tensors::new(2, 7, 9, 32, 16),
        Tensors::new(1, 1, 1, 32, 32),
        Tensors::new(3, 8, 13, 64, 48),
        Tensors::new(2, 48, 40, 32, 16), // more than one strip and part
    ]
}

#[test]
fn equals_the_plain_sum() {
    for tensors in tensors() {
        let expected = tensors.expected();
        let [x, gradient] =
            [&tensors.x, &tensors.gradient].map(|v| v.iter().copied().map(bits).collect::<Vec<_>>());
        for level in WideLevel::available() {
            let mut out = vec![f32::NAN; expected.len()];
            let problem = tensors.problem(&tensors.x, &tensors.gradient);
            weight_gradient(level, &problem, None, &mut out).unwrap();
            let off = worst(out.iter().copied(), &expected);
            assert!(off < 3e-6, "{:?} at {}: {off}", tensors.shape, level.name());
            let problem = tensors.problem(&x, &gradient);
            weight_gradient(level, &problem, None, &mut out).unwrap();
            let off = worst(out.iter().copied(), &expected);
            assert!(
                off < 2e-2,
                "halves, {:?} at {}: {off}",
                tensors.shape,
                level.name()
            );
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let tensors = Tensors::new(2, 48, 40, 32, 16);
    let run = |workers: usize| {
        let mut out = vec![0.0; 16 * 9 * 32];
        let level = WideLevel::available().pop().unwrap();
        let problem = tensors.problem(&tensors.x, &tensors.gradient);
        weight_gradient(level, &problem, workers.try_into().ok(), &mut out).unwrap();
        out
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn no_images_have_no_gradient() {
    let tensors = Tensors::new(0, 8, 8, 32, 16);
    let mut out = vec![f32::NAN; 16 * 9 * 32];
    let problem = tensors.problem(&tensors.x, &tensors.gradient);
    weight_gradient(WideLevel::available()[0], &problem, None, &mut out).unwrap();
    assert!(out.iter().all(|&value| value == 0.0));
}

#[test]
fn wrong_sizes_are_refused() {
    let tensors = Tensors::new(2, 4, 4, 32, 16);
    let good = tensors.problem(&tensors.x, &tensors.gradient);
    let mut out = vec![0.0; 16 * 9 * 32];
    let level = WideLevel::available()[0];
    let refused =
        |problem: &WeightGradient<'_, f32>, out: &mut [f32]| match weight_gradient(level, problem, None, out)
        {
            Err(Error::Length { argument, .. } | Error::Size { argument, .. }) => argument,
            other => panic!("{other:?}"),
        };
    let short = &tensors.x[1..];
    assert_eq!(refused(&WeightGradient { x: short, ..good }, &mut out), "x");
    let short = &tensors.gradient[1..];
    assert_eq!(
        refused(
            &WeightGradient {
                gradient: short,
                ..good
            },
            &mut out
        ),
        "gradient"
    );
    assert_eq!(refused(&WeightGradient { pre: &[], ..good }, &mut out), "pre");
    assert_eq!(refused(&WeightGradient { post: &[], ..good }, &mut out), "post");
    assert_eq!(refused(&good, &mut out[1..]), "out");
    for (argument, shape) in [
        (
            "inputs",
            Shape {
                inputs: 16,
                ..good.shape
            },
        ),
        (
            "outputs",
            Shape {
                outputs: 8,
                ..good.shape
            },
        ),
        ("up", Shape { up: 2, ..good.shape }),
    ] {
        assert_eq!(refused(&WeightGradient { shape, ..good }, &mut out), argument);
    }
}
