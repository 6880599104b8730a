//! PNG for Python.

use std::num::NonZeroUsize;

use flexpose_core::png::{encode, Shape};
use numpy::{PyArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::convert::{borrow, contiguous};
use crate::errors::to_py_err;

/// Encodes `images [N, H, W, C]` as PNG files.
#[pyfunction]
#[pyo3(signature = (images, *, workers))]
fn encode_png<'py>(
    py: Python<'py>,
    images: &Bound<'py, PyArray4<u8>>,
    workers: Option<NonZeroUsize>,
) -> PyResult<Bound<'py, PyList>> {
    let dims = images.shape();
    let shape = Shape::new(dims[1], dims[2], dims[3]).map_err(|err| to_py_err(py, &err))?;
    let images = borrow("images", images)?;
    let pixels = contiguous(py, "images", &images)?;
    let files = py
        .detach(|| encode(pixels, shape, workers))
        .map_err(|err| to_py_err(py, &err))?;
    PyList::new(py, files.iter().map(|file| PyBytes::new(py, file)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(encode_png, module)?)
}
