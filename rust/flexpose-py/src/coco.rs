//! COCO keypoints JSON: arrays in, arrays out.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use flexpose_core::coco::{self, CocoError, CocoPoses, Options, WriteInput};
use numpy::{IntoPyArray, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::{exception, Kind};

/// `OSError` where reading or writing fails; the package's own errors for a wrong path and wrong content.
fn to_py_err(py: Python<'_>, error: CocoError, path: Option<&Path>) -> PyErr {
    let (place, message) = match error {
        CocoError::Io(error) => return error.into(),
        CocoError::Open(error) => {
            let path = path.unwrap_or(Path::new("")).to_string_lossy();
            let message = format!("path must be a file that can be read, got {path:?}: {error}");
            return exception(py, Kind::Usage, message, None);
        }
        CocoError::Malformed { place, message } => (place, message),
    };
    let details = PyDict::new(py);
    let filled = details
        .set_item("path", path.map(Path::as_os_str))
        .and_then(|()| details.set_item("record", place.record))
        .and_then(|()| details.set_item("field", place.field_name()));
    match filled {
        Ok(()) => exception(py, Kind::Data, message, Some(&details)),
        Err(error) => error,
    }
}

#[pyfunction]
#[pyo3(signature = (path, label_field=None, leave_out_bad=false))]
#[allow(clippy::needless_pass_by_value)] // Python's calling convention
fn read_coco(
    py: Python<'_>,
    path: PathBuf,
    label_field: Option<String>,
    leave_out_bad: bool,
) -> PyResult<Bound<'_, PyDict>> {
    let options = Options {
        label_field: label_field.as_deref(),
        leave_out_bad,
    };
    let poses = py
        .detach(|| coco::read_path(&path, &options))
        .map_err(|error| to_py_err(py, error, Some(&path)))?;
    let CocoPoses {
        names,
        category,
        bones,
        num_keypoints: k,
        ..
    } = poses;
    let CocoPoses {
        keypoints,
        visibility,
        image_size,
        ids,
        labels,
        counts,
        bad,
        ..
    } = poses;
    let n = ids.len();
    let result = PyDict::new(py);
    result.set_item("names", names)?;
    result.set_item("category", category)?;
    result.set_item("bones", bones)?;
    result.set_item("keypoints", keypoints.into_pyarray(py).reshape([n, k, 2])?)?;
    result.set_item("visibility", visibility.into_pyarray(py).reshape([n, k])?)?;
    result.set_item("image_size", image_size.into_pyarray(py).reshape([n, 2])?)?;
    result.set_item("ids", ids.into_pyarray(py))?;
    result.set_item(
        "labels",
        labels.map(|labels| (labels.table, labels.codes.into_pyarray(py))),
    )?;
    let report = PyDict::new(py);
    report.set_item("annotations", counts.annotations)?;
    report.set_item("images", counts.images)?;
    report.set_item("crowd", counts.crowd)?;
    report.set_item("unlabelled", counts.unlabelled)?;
    report.set_item("count_mismatch", counts.count_mismatch)?;
    report.set_item("unknown_size", counts.unknown_size)?;
    result.set_item("counts", report)?;
    result.set_item("bad_count", bad.count)?;
    let bad = bad.first.into_iter();
    let bad: Vec<_> = bad.map(|bad| (bad.record, bad.field, bad.reason)).collect();
    result.set_item("bad", bad)?;
    Ok(result)
}

#[pyfunction]
#[pyo3(signature = (path, keypoints, visibility, image_size, ids, labels, *, names, bones, category, description))]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // Python's calling convention
fn write_coco(
    py: Python<'_>,
    path: PathBuf,
    keypoints: PyReadonlyArray3<'_, f32>,
    visibility: PyReadonlyArray2<'_, u8>,
    image_size: PyReadonlyArray2<'_, i32>,
    ids: PyReadonlyArray1<'_, i64>,
    labels: Option<Vec<String>>,
    names: Vec<String>,
    bones: Vec<(usize, usize)>,
    category: String,
    description: String,
) -> PyResult<()> {
    let input = WriteInput {
        keypoints: keypoints.as_slice()?,
        visibility: visibility.as_slice()?,
        image_size: image_size.as_slice()?,
        ids: ids.as_slice()?,
        labels: labels.as_deref(),
        names: &names,
        bones: &bones,
        category: &category,
        version: env!("CARGO_PKG_VERSION"),
        description: &description,
    };
    py.detach(|| coco::write(&input, BufWriter::with_capacity(1 << 16, File::create(&path)?)))
        .map_err(|error| to_py_err(py, error, None))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(read_coco, module)?)?;
    module.add_function(wrap_pyfunction!(write_coco, module)?)?;
    Ok(())
}
