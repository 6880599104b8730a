//! alpha for Python; `flexpose.raster` brings dtypes and shapes into form first.

use std::num::NonZeroUsize;

use flexpose_core::raster::{draw_into, Layout, Pen, PoseBatch, Skeleton};
use numpy::{PyArray2, PyArray3, PyArray4, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{borrow, contiguous, rows, usage_error};
use crate::errors::to_py_err;

/// Draws `keypoints [N, K, 2]` into `out`, `[N, S, S, 3]` or, if `planar`, `[N, 3, S, S]`.
#[pyfunction]
#[pyo3(signature = (
    keypoints, visibility, bones, bone_colors, joint_colors, out, *, line_width_px, joint_radius_px, planar, workers
))]
#[allow(clippy::too_many_arguments)] // what a skeleton and a pen consist of, as Python has it
fn rasterize<'py>(
    py: Python<'py>,
    keypoints: &Bound<'py, PyArray3<f32>>,
    visibility: Option<&Bound<'py, PyArray2<u8>>>,
    bones: &Bound<'py, PyArray2<i64>>,
    bone_colors: &Bound<'py, PyArray2<u8>>,
    joint_colors: &Bound<'py, PyArray2<u8>>,
    out: &Bound<'py, PyArray4<u8>>,
    line_width_px: f64,
    joint_radius_px: f64,
    planar: bool,
    workers: Option<NonZeroUsize>,
) -> PyResult<()> {
    let (num_poses, num_keypoints) = match *keypoints.shape() {
        [n, k, 2] => (n, k),
        ref got => {
            return Err(usage_error(
                py,
                format!("keypoints must be [N, K, 2], got {got:?}"),
            ))
        }
    };
    let (size, layout, expected) = if planar {
        let size = out.shape()[2];
        (size, Layout::Nchw, [num_poses, 3, size, size])
    } else {
        let size = out.shape()[1];
        (size, Layout::Nhwc, [num_poses, size, size, 3])
    };
    if out.shape() != expected {
        let message = format!("out must be {expected:?}, got {:?}", out.shape());
        return Err(usage_error(py, message));
    }
    let pen = Pen::new(size, line_width_px, joint_radius_px, layout).map_err(|err| to_py_err(py, &err))?;
    let skeleton = Skeleton::new(
        &rows("bones", bones)?,
        &rows("bone_colors", bone_colors)?,
        &rows("joint_colors", joint_colors)?,
    )
    .map_err(|err| to_py_err(py, &err))?;

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
    py.detach(|| draw_into(&poses, &skeleton, &pen, workers, images))
        .map_err(|err| to_py_err(py, &err))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rasterize, module)?)
}
