//! The 3x3 convolution for Python; `flexpose.ops` brings tensors into form first.

use std::num::NonZeroUsize;

use flexpose_core::convolution::{convolve as compute, Convolution, Number, Shape};
use flexpose_core::{Error, WideLevel};
use numpy::{Element, PyArray1, PyArray2, PyArray4, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{borrow, contiguous, usage_error};
use crate::errors::to_py_err;

/// Activations and transformed kernels of one type.
#[derive(FromPyObject)]
enum Array<'py> {
    Floats(Bound<'py, PyArray4<f32>>),
    Halves(Bound<'py, PyArray4<u16>>),
}

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
        let mut out = out
            .try_readwrite()
            .map_err(|err| usage_error(py, format!("out: {err}")))?;
        let out = out
            .as_slice_mut()
            .map_err(|_| usage_error(py, "out must be C-contiguous".to_owned()))?;
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
    x: Array<'py>,
    kernels: &Bound<'py, PyAny>,
    pre: &Bound<'py, PyArray2<f32>>,
    post: &Bound<'py, PyArray2<f32>>,
    noise: &Bound<'py, PyArray1<f32>>,
    bias: &Bound<'py, PyArray1<f32>>,
    out: Array<'py>,
    up: usize,
    slope: f32,
    gain: f32,
    clamp: f32,
    workers: Option<NonZeroUsize>,
    level: Option<&str>,
) -> PyResult<()> {
    let mut levels = WideLevel::available().into_iter().rev();
    let found = levels.find(|found| level.is_none_or(|name| name == found.name()));
    let Some(level) = found else {
        let got = level.unwrap_or_default().to_owned();
        return Err(to_py_err(py, &Error::Level { got }));
    };
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
        (Array::Floats(x), Array::Floats(out)) => rest.run(&x, kernels, &out),
        (Array::Halves(x), Array::Halves(out)) => rest.run(&x, kernels, &out),
        _ => Err(usage_error(py, "x and out must be of one type".to_owned())),
    }
}

/// Names of the wide vector instructions that this CPU has, the fastest last.
#[pyfunction]
fn convolution_levels() -> Vec<&'static str> {
    WideLevel::available().into_iter().map(WideLevel::name).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(convolve, module)?)?;
    module.add_function(wrap_pyfunction!(convolution_levels, module)?)
}
