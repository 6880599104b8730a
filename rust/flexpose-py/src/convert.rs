//! Arrays of Python to slices of the core, with errors that name the argument.

use numpy::ndarray::Dimension;
use numpy::{Element, PyArray, PyArray2, PyArrayMethods, PyReadonlyArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::{exception, Kind};

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
