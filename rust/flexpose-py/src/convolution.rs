//! The 3x3 convolution for Python; `flexpose.ops` brings tensors into form first.

use std::num::NonZeroUsize;

use flexpose_core::convolution::{
    convolve as compute, weight_gradient as weight_gradient_of, Convolution, Number, Shape, WeightGradient,
};
use flexpose_core::WideLevel;
use numpy::{Element, PyArray1, PyArray2, PyArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{borrow, borrow_mut, contiguous, contiguous_mut, usage_error, wide_level, Numbers};
use crate::errors::to_py_err;

/// What does not depend on the type.
struct Rest<'a, 'py> {
    py: Python<'py>,
    level: WideLevel,
    pre: &'a Bound<'py, PyArray2<f32>>,
    post: &'a Bound<'py, PyArray2<f32>>,
    noise: &'a Bound<'py, PyArray1<f32>>,
    bias: &'a Bound<'py, PyArray1<f32>>,
    up: usize,
    slope: f32,
    gain: f32,
    clamp: f32,
    workers: Option<NonZeroUsize>,
}

impl Rest<'_, '_> {
    fn run<T>(
        &self,
        x: &Bound<'_, PyArray4<T>>,
        kernels: &Bound<'_, PyAny>,
        out: &Bound<'_, PyArray4<T>>,
    ) -> PyResult<()>
    where
        T: Number + Element,
        T::Word: Element,
    {
        let py = self.py;
        let kernels = kernels
            .cast::<PyArray1<T::Word>>()
            .map_err(|_| usage_error(py, "kernels must be words of the type of x".to_owned()))?;
        let (x, kernels) = (borrow("x", x)?, borrow("kernels", kernels)?);
        let (pre, post) = (borrow("pre", self.pre)?, borrow("post", self.post)?);
        let (noise, bias) = (borrow("noise", self.noise)?, borrow("bias", self.bias)?);
        let [images, height, width, inputs] = *x.shape() else {
            return Err(usage_error(py, "x must be [N, H, W, I]".to_owned()));
        };
        let wanted = [images, height * self.up, width * self.up, post.shape()[1]];
        if out.shape() != wanted || pre.shape() != [images, inputs] || post.shape()[0] != images {
            let message = format!(
                "pre, post and out must be [{images}, {inputs}], [{images}, O] and {wanted:?}, got {:?}, {:?} and {:?}",
                pre.shape(),
                post.shape(),
                out.shape()
            );
            return Err(usage_error(py, message));
        }
        let convolution = Convolution::<T> {
            shape: Shape {
                images,
                height,
                width,
                inputs,
                outputs: wanted[3],
                up: self.up,
            },
            x: contiguous(py, "x", &x)?,
            kernels: contiguous(py, "kernels", &kernels)?,
            pre: contiguous(py, "pre", &pre)?,
            post: contiguous(py, "post", &post)?,
            noise: contiguous(py, "noise", &noise)?,
            bias: contiguous(py, "bias", &bias)?,
            slope: self.slope,
            gain: self.gain,
            clamp: self.clamp,
        };
        let mut out = borrow_mut("out", out)?;
        let out = contiguous_mut(py, "out", &mut out)?;
        let (level, workers) = (self.level, self.workers);
        py.detach(|| compute(level, &convolution, workers, out))
            .map_err(|err| to_py_err(py, &err))
    }
}

/// Convolves `x [N, H, W, I]` with transformed kernels into `out [N, H * up, W * up, O]`.
#[pyfunction]
#[pyo3(signature = (
    x, kernels, pre, post, noise, bias, out, *, up, slope, gain, clamp, workers, level=None
))]
#[allow(clippy::too_many_arguments)] // what a modulated convolution consists of, as Python has it
fn convolve<'py>(
    py: Python<'py>,
    x: Numbers<'py>,
    kernels: &Bound<'py, PyAny>,
    pre: &Bound<'py, PyArray2<f32>>,
    post: &Bound<'py, PyArray2<f32>>,
    noise: &Bound<'py, PyArray1<f32>>,
    bias: &Bound<'py, PyArray1<f32>>,
    out: Numbers<'py>,
    up: usize,
    slope: f32,
    gain: f32,
    clamp: f32,
    workers: Option<NonZeroUsize>,
    level: Option<&str>,
) -> PyResult<()> {
    let level = wide_level(py, level)?;
    let rest = Rest {
        py,
        level,
        pre,
        post,
        noise,
        bias,
        up,
        slope,
        gain,
        clamp,
        workers,
    };
    match (x, out) {
        (Numbers::Floats(x), Numbers::Floats(out)) => rest.run(&x, kernels, &out),
        (Numbers::Halves(x), Numbers::Halves(out)) => rest.run(&x, kernels, &out),
        _ => Err(usage_error(py, "x and out must be of one type".to_owned())),
    }
}

/// The gradient of 3x3 kernels, `out [O, 3, 3, I]`, from `x [N, H, W, I]` and the `gradient [N, H, W, O]` of the result.
#[pyfunction]
#[pyo3(signature = (x, gradient, pre, post, out, *, workers, level=None))]
#[allow(clippy::too_many_arguments)] // as above
#[allow(clippy::needless_pass_by_value)] // as extracted
fn weight_gradient<'py>(
    py: Python<'py>,
    x: Numbers<'py>,
    gradient: Numbers<'py>,
    pre: &Bound<'py, PyArray2<f32>>,
    post: &Bound<'py, PyArray2<f32>>,
    out: &Bound<'py, PyArray4<f32>>,
    workers: Option<NonZeroUsize>,
    level: Option<&str>,
) -> PyResult<()> {
    let level = wide_level(py, level)?;
    match (x, gradient) {
        (Numbers::Floats(x), Numbers::Floats(gradient)) => {
            weight_gradient_in(py, level, &x, &gradient, pre, post, out, workers)
        }
        (Numbers::Halves(x), Numbers::Halves(gradient)) => {
            weight_gradient_in(py, level, &x, &gradient, pre, post, out, workers)
        }
        _ => Err(usage_error(py, "x and gradient must be of one type".to_owned())),
    }
}

#[allow(clippy::too_many_arguments)]
fn weight_gradient_in<T: Number + Element>(
    py: Python<'_>,
    level: WideLevel,
    x: &Bound<'_, PyArray4<T>>,
    gradient: &Bound<'_, PyArray4<T>>,
    pre: &Bound<'_, PyArray2<f32>>,
    post: &Bound<'_, PyArray2<f32>>,
    out: &Bound<'_, PyArray4<f32>>,
    workers: Option<NonZeroUsize>,
) -> PyResult<()> {
    let (&[images, height, width, inputs], &[.., outputs]) = (x.shape(), gradient.shape()) else {
        return Err(usage_error(py, "x and gradient must be [N, H, W, C]".to_owned()));
    };
    if gradient.shape() != [images, height, width, outputs]
        || pre.shape() != [images, inputs]
        || post.shape() != [images, outputs]
        || out.shape() != [outputs, 3, 3, inputs]
    {
        let message = format!(
            "gradient, pre, post and out must fit x {:?}, got {:?}, {:?}, {:?} and {:?}",
            x.shape(),
            gradient.shape(),
            pre.shape(),
            post.shape(),
            out.shape()
        );
        return Err(usage_error(py, message));
    }
    let (x, gradient) = (borrow("x", x)?, borrow("gradient", gradient)?);
    let (pre, post) = (borrow("pre", pre)?, borrow("post", post)?);
    let problem = WeightGradient::<T> {
        shape: Shape {
            images,
            height,
            width,
            inputs,
            outputs,
            up: 1,
        },
        x: contiguous(py, "x", &x)?,
        gradient: contiguous(py, "gradient", &gradient)?,
        pre: contiguous(py, "pre", &pre)?,
        post: contiguous(py, "post", &post)?,
    };
    let mut out = borrow_mut("out", out)?;
    let out = contiguous_mut(py, "out", &mut out)?;
    py.detach(|| weight_gradient_of(level, &problem, workers, out))
        .map_err(|err| to_py_err(py, &err))
}

/// Names of the wide vector instructions that this CPU has, the fastest last.
#[pyfunction]
fn convolution_levels() -> Vec<&'static str> {
    WideLevel::available().into_iter().map(WideLevel::name).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(convolve, module)?)?;
    module.add_function(wrap_pyfunction!(weight_gradient, module)?)?;
    module.add_function(wrap_pyfunction!(convolution_levels, module)?)
}
