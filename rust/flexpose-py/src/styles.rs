//! Drawings that other programs define, for Python; `flexpose.styles` brings dtypes and shapes into form first.

use std::num::NonZeroUsize;

use flexpose_core::raster::{PoseBatch, Skeleton};
use flexpose_core::styles::{draw_into, Keypointgan, Openpose, Preset, Style};
use numpy::{PyArray2, PyArray3, PyArray4, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{borrow, contiguous, rows, usage_error};
use crate::errors::to_py_err;

/// Draws `keypoints [N, 18, 2]` into `out [N, S, S, 3]`.
#[pyfunction]
#[pyo3(signature = (keypoints, visibility, out, *, preset, workers))]
fn draw_openpose<'py>(
    py: Python<'py>,
    keypoints: &Bound<'py, PyArray3<f32>>,
    visibility: Option<&Bound<'py, PyArray2<u8>>>,
    out: &Bound<'py, PyArray4<u8>>,
    preset: &str,
    workers: Option<NonZeroUsize>,
) -> PyResult<()> {
    let preset = match preset {
        "sd15" => Preset::Sd15,
        "sdxl-thick" => Preset::SdxlThick,
        got => return Err(usage_error(py, format!("there is no preset {got:?}"))),
    };
    let style = Openpose::new(out.shape()[1], preset).map_err(|err| to_py_err(py, &err))?;
    draw(py, keypoints, visibility, out, &style, workers)
}

/// Draws `keypoints [N, K, 2]` into `out [N, S, S, 1]`.
#[pyfunction]
#[pyo3(signature = (keypoints, visibility, bones, out, *, sigma, workers))]
fn draw_keypointgan<'py>(
    py: Python<'py>,
    keypoints: &Bound<'py, PyArray3<f32>>,
    visibility: Option<&Bound<'py, PyArray2<u8>>>,
    bones: &Bound<'py, PyArray2<i64>>,
    out: &Bound<'py, PyArray4<u8>>,
    sigma: f64,
    workers: Option<NonZeroUsize>,
) -> PyResult<()> {
    let bones = rows("bones", bones)?;
    let black = vec![[0; 3]; bones.len().max(keypoints.shape()[1])]; // the lines have no colour
    let skeleton = Skeleton::new(&bones, &black[..bones.len()], &black[..keypoints.shape()[1]])
        .map_err(|err| to_py_err(py, &err))?;
    let style = Keypointgan::new(&skeleton, out.shape()[1], sigma).map_err(|err| to_py_err(py, &err))?;
    draw(py, keypoints, visibility, out, &style, workers)
}

fn draw<'py>(
    py: Python<'py>,
    keypoints: &Bound<'py, PyArray3<f32>>,
    visibility: Option<&Bound<'py, PyArray2<u8>>>,
    out: &Bound<'py, PyArray4<u8>>,
    style: &(impl Style + Sync),
    workers: Option<NonZeroUsize>,
) -> PyResult<()> {
    let (size, channels) = (style.size_px(), style.channels());
    let &[number, num_keypoints, 2] = keypoints.shape() else {
        let message = format!("keypoints must be [N, K, 2], got {:?}", keypoints.shape());
        return Err(usage_error(py, message));
    };
    if out.shape() != [number, size, size, channels] {
        let message = format!(
            "out must be [{number}, {size}, {size}, {channels}], got {:?}",
            out.shape()
        );
        return Err(usage_error(py, message));
    }
    let keypoints = borrow("keypoints", keypoints)?;
    let visibility = visibility.map(|seen| borrow("visibility", seen)).transpose()?;
    let seen = visibility
        .as_ref()
        .map(|seen| contiguous(py, "visibility", seen))
        .transpose()?;
    let poses = PoseBatch::new(contiguous(py, "keypoints", &keypoints)?, seen, num_keypoints)
        .map_err(|err| to_py_err(py, &err))?;
    let mut out = out
        .try_readwrite()
        .map_err(|err| usage_error(py, format!("out: {err}")))?;
    let images = out
        .as_slice_mut()
        .map_err(|_| usage_error(py, "out must be C-contiguous".to_owned()))?;
    py.detach(|| draw_into(&poses, style, workers, images))
        .map_err(|err| to_py_err(py, &err))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(draw_openpose, module)?)?;
    module.add_function(wrap_pyfunction!(draw_keypointgan, module)?)
}
