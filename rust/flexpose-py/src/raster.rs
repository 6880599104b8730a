//! alpha for Python; `flexpose.raster` brings dtypes and shapes into form first.

use std::num::NonZeroUsize;

use flexpose_core::raster::{draw_into_at, Layout, Pen, PoseBatch, Sample, Skeleton, Style};
use flexpose_core::Level;
use numpy::{Element, PyArray2, PyArray3, PyArray4, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::convert::{borrow, contiguous, rows, usage_error};
use crate::errors::to_py_err;

/// Pictures: bytes, floats, or the bits of bfloat16 numbers.
#[derive(FromPyObject)]
enum Images<'py> {
    Bytes(Bound<'py, PyArray4<u8>>),
    Floats(Bound<'py, PyArray4<f32>>),
    Halves(Bound<'py, PyArray4<u16>>),
}

/// Draws `keypoints [N, K, 2]` into `out`, `[N, S, S, C]` or, if `planar`, `[N, C, S, S]`.
#[pyfunction]
#[pyo3(signature = (
    keypoints, visibility, bones, bone_colors, joint_colors, out, *,
    line_width_px, joint_radius_px, planar, style, workers, level=None
))]
#[allow(clippy::too_many_arguments)] // what a skeleton and a pen consist of, as Python has it
fn rasterize<'py>(
    py: Python<'py>,
    keypoints: &Bound<'py, PyArray3<f32>>,
    visibility: Option<&Bound<'py, PyArray2<u8>>>,
    bones: &Bound<'py, PyArray2<i64>>,
    bone_colors: &Bound<'py, PyArray2<u8>>,
    joint_colors: &Bound<'py, PyArray2<u8>>,
    out: Images<'py>,
    line_width_px: f64,
    joint_radius_px: f64,
    planar: bool,
    style: &str,
    workers: Option<NonZeroUsize>,
    level: Option<&str>,
) -> PyResult<()> {
    let num_keypoints = match *keypoints.shape() {
        [_, k, 2] => k,
        ref got => {
            return Err(usage_error(
                py,
                format!("keypoints must be [N, K, 2], got {got:?}"),
            ))
        }
    };
    let shape = match &out {
        Images::Bytes(out) => out.shape(),
        Images::Floats(out) => out.shape(),
        Images::Halves(out) => out.shape(),
    };
    let layout = if planar { Layout::Nchw } else { Layout::Nhwc };
    let style = match style {
        "flexpose" => Style::Color,
        "gray" => Style::Gray,
        "per-bone" => Style::PerBone,
        got => return Err(usage_error(py, format!("there is no style {got:?}"))),
    };
    let pen = Pen::new(shape[2], line_width_px, joint_radius_px, layout)
        .map_err(|err| to_py_err(py, &err))?
        .with_style(style);
    let skeleton = Skeleton::new(
        &rows("bones", bones)?,
        &rows("bone_colors", bone_colors)?,
        &rows("joint_colors", joint_colors)?,
    )
    .map_err(|err| to_py_err(py, &err))?;
    let channels = pen.channels(&skeleton);
    let size = shape[2];
    let image = if planar {
        [channels, size, size]
    } else {
        [size, size, channels]
    };
    if shape[0] != keypoints.shape()[0] || shape[1..] != image {
        let message = format!(
            "out must be [N, {}, {}, {}], got {shape:?}",
            image[0], image[1], image[2]
        );
        return Err(usage_error(py, message));
    }
    let level = match level {
        None => Level::best(),
        Some(name) => Level::named(name).map_err(|err| to_py_err(py, &err))?,
    };

    let keypoints = borrow("keypoints", keypoints)?;
    let visibility = visibility.map(|seen| borrow("visibility", seen)).transpose()?;
    let seen = visibility
        .as_ref()
        .map(|seen| contiguous(py, "visibility", seen))
        .transpose()?;
    let poses = PoseBatch::new(contiguous(py, "keypoints", &keypoints)?, seen, num_keypoints)
        .map_err(|err| to_py_err(py, &err))?;
    let drawing = Drawing {
        level,
        poses,
        skeleton,
        pen,
        workers,
    };
    match out {
        Images::Bytes(out) => drawing.draw(py, &out),
        Images::Floats(out) => drawing.draw(py, &out),
        Images::Halves(out) => drawing.draw(py, &out),
    }
}

/// What is drawn, whatever the pictures are made of.
struct Drawing<'a> {
    level: Level,
    poses: PoseBatch<'a>,
    skeleton: Skeleton,
    pen: Pen,
    workers: Option<NonZeroUsize>,
}

impl Drawing<'_> {
    fn draw<T: Sample + Element>(&self, py: Python<'_>, out: &Bound<'_, PyArray4<T>>) -> PyResult<()> {
        let mut out = out
            .try_readwrite()
            .map_err(|err| usage_error(py, format!("out: {err}")))?;
        let images = out
            .as_slice_mut()
            .map_err(|_| usage_error(py, "out must be C-contiguous".to_owned()))?;
        py.detach(|| {
            draw_into_at(
                self.level,
                &self.poses,
                &self.skeleton,
                &self.pen,
                self.workers,
                images,
            )
        })
        .map_err(|err| to_py_err(py, &err))
    }
}

/// Names of the vector instructions that this CPU has, the fastest last.
#[pyfunction]
fn levels() -> Vec<&'static str> {
    Level::available().into_iter().map(Level::name).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rasterize, module)?)?;
    module.add_function(wrap_pyfunction!(levels, module)?)
}
