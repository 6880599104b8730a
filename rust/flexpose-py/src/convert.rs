//! Arrays of Python to slices of the core, with errors that name the argument.

use flexpose_core::{Error, WideLevel};
use numpy::ndarray::Dimension;
use numpy::{
    Element, PyArray, PyArray2, PyArray4, PyArrayMethods, PyReadonlyArray, PyReadwriteArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::errors::{exception, to_py_err, Kind};

/// Activations: floats, or the bits of bfloat16.
#[derive(FromPyObject)]
pub enum Numbers<'py> {
    Floats(Bound<'py, PyArray4<f32>>),
    Halves(Bound<'py, PyArray4<u16>>),
}

/// The wide vector instructions of this name, or the fastest.
pub fn wide_level(py: Python<'_>, level: Option<&str>) -> PyResult<WideLevel> {
    let mut levels = WideLevel::available().into_iter().rev();
    let found = levels.find(|found| level.is_none_or(|name| name == found.name()));
    found.ok_or_else(|| {
        let got = level.unwrap_or_default().to_owned();
        to_py_err(py, &Error::Level { got })
    })
}

/// `flexpose.errors.UsageError` with this message.
pub fn usage_error(py: Python<'_>, message: String) -> PyErr {
    exception(py, Kind::Usage, message, None)
}

/// Takes an array for reading; native writers are refused as long as the result lives.
pub fn borrow<'py, T: Element, D: Dimension>(
    argument: &str,
    array: &Bound<'py, PyArray<T, D>>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    array
        .try_readonly()
        .map_err(|err| usage_error(array.py(), format!("{argument}: {err}")))
}

/// Takes an array for writing; nobody else may use it as long as the result lives.
pub fn borrow_mut<'py, T: Element, D: Dimension>(
    argument: &str,
    array: &Bound<'py, PyArray<T, D>>,
) -> PyResult<PyReadwriteArray<'py, T, D>> {
    array
        .try_readwrite()
        .map_err(|err| usage_error(array.py(), format!("{argument}: {err}")))
}

/// The elements of a C-contiguous array, to be written.
pub fn contiguous_mut<'a, T: Element, D: Dimension>(
    py: Python<'_>,
    argument: &str,
    array: &'a mut PyReadwriteArray<'_, T, D>,
) -> PyResult<&'a mut [T]> {
    array
        .as_slice_mut()
        .map_err(|_| usage_error(py, format!("{argument} must be C-contiguous")))
}

/// The elements of a C-contiguous array.
pub fn contiguous<'a, T: Element, D: Dimension>(
    py: Python<'_>,
    argument: &str,
    array: &'a PyReadonlyArray<'_, T, D>,
) -> PyResult<&'a [T]> {
    array
        .as_slice()
        .map_err(|_| usage_error(py, format!("{argument} must be C-contiguous")))
}

/// The rows of a C-contiguous `[M, W]` array.
pub fn rows<const W: usize, T: Element + Copy + Default>(
    argument: &str,
    array: &Bound<'_, PyArray2<T>>,
) -> PyResult<Vec<[T; W]>> {
    let py = array.py();
    if array.shape()[1] != W {
        let message = format!("{argument} must be [M, {W}], got {:?}", array.shape());
        return Err(usage_error(py, message));
    }
    let borrowed = borrow(argument, array)?;
    let rows = contiguous(py, argument, &borrowed)?.chunks_exact(W);
    Ok(rows
        .map(|row| {
            let mut copy = [T::default(); W];
            copy.copy_from_slice(row);
            copy
        })
        .collect())
}
