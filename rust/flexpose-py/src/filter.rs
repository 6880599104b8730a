//! The filter for Python; `flexpose.ops` brings tensors into form first.

use std::num::NonZeroUsize;

use flexpose_core::convolution::Number;
use flexpose_core::filter::{filter as compute, Filter};
use flexpose_core::WideLevel;
use numpy::{Element, PyArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{borrow, borrow_mut, contiguous, contiguous_mut, usage_error, wide_level, Numbers};
use crate::errors::to_py_err;

/// What does not depend on the type.
struct Rest<'a, 'py> {
    py: Python<'py>,
    level: WideLevel,
    taps: &'a [f32],
    up: usize,
    down: usize,
    before: isize,
    gain: f32,
    workers: Option<NonZeroUsize>,
}

impl Rest<'_, '_> {
    fn run<T: Number + Element>(
        &self,
        x: &Bound<'_, PyArray4<T>>,
        out: &Bound<'_, PyArray4<T>>,
    ) -> PyResult<()> {
        let py = self.py;
        let (&[images, height, width, channels], &[out_images, out_height, out_width, out_channels]) =
            (x.shape(), out.shape())
        else {
            return Err(usage_error(py, "x and out must be [N, H, W, C]".to_owned()));
        };
        if (images, channels) != (out_images, out_channels) {
            let message = format!(
                "out must have the images and channels of x, {images} and {channels}, got {out_images} and {out_channels}"
            );
            return Err(usage_error(py, message));
        }
        let x = borrow("x", x)?;
        let filter = Filter::<T> {
            images,
            size: [height, width],
            out_size: [out_height, out_width],
            channels,
            up: self.up,
            down: self.down,
            before: self.before,
            taps: self.taps,
            gain: self.gain,
            x: contiguous(py, "x", &x)?,
        };
        let mut out = borrow_mut("out", out)?;
        let out = contiguous_mut(py, "out", &mut out)?;
        let (level, workers) = (self.level, self.workers);
        py.detach(|| compute(level, &filter, workers, out))
            .map_err(|err| to_py_err(py, &err))
    }
}

/// Filters `x [N, H, W, C]` into `out [N, H', W', C]`, with `taps` in either direction.
#[pyfunction]
#[pyo3(signature = (x, out, *, taps, up, down, before, gain, workers, level=None))]
#[allow(clippy::too_many_arguments)] // what a filter consists of, as Python has it
#[allow(clippy::needless_pass_by_value)] // as extracted
fn filter<'py>(
    py: Python<'py>,
    x: Numbers<'py>,
    out: Numbers<'py>,
    taps: Vec<f32>,
    up: usize,
    down: usize,
    before: isize,
    gain: f32,
    workers: Option<NonZeroUsize>,
    level: Option<&str>,
) -> PyResult<()> {
    let rest = Rest {
        py,
        level: wide_level(py, level)?,
        taps: &taps,
        up,
        down,
        before,
        gain,
        workers,
    };
    match (x, out) {
        (Numbers::Floats(x), Numbers::Floats(out)) => rest.run(&x, &out),
        (Numbers::Halves(x), Numbers::Halves(out)) => rest.run(&x, &out),
        _ => Err(usage_error(py, "x and out must be of one type".to_owned())),
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(filter, module)?)
}
