//! Data sets on disk for Python: arrays and paths in, JSON text out.

#![allow(clippy::needless_pass_by_value)] // Python's calling convention

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexpose_core::raster::Skeleton;
use flexpose_core::shards::{self, safetensors, tar, Index, Job, Plan, Poses, ShardError, ShardResult};
use numpy::{IntoPyArray, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3};
use numpy::{PyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{contiguous, rows};
use crate::errors::{self, exception, Kind};

/// How often Python hears of the progress, and a signal is looked for.
const EVERY: Duration = Duration::from_millis(100);

/// The attributes of `flexpose.shards.drawn.DrawnPoses` that are needed here.
#[derive(FromPyObject)]
struct Drawn<'py> {
    keypoints: PyReadonlyArray3<'py, f32>,
    visibility: PyReadonlyArray2<'py, u8>,
    index: PyReadonlyArray1<'py, i64>,
    id: PyReadonlyArray1<'py, i64>,
    frame: PyReadonlyArray2<'py, f64>,
    label: PyReadonlyArray1<'py, i32>,
    bad: PyReadonlyArray1<'py, i64>,
    first: usize,
    bones: Bound<'py, PyArray2<i64>>,
    bone_colors: Bound<'py, PyArray2<u8>>,
    joint_colors: Bound<'py, PyArray2<u8>>,
}

impl Drawn<'_> {
    fn poses(&self, py: Python<'_>) -> PyResult<Poses<'_>> {
        Ok(Poses {
            first: self.first,
            num_keypoints: self.keypoints.shape()[1],
            keypoints: contiguous(py, "keypoints", &self.keypoints)?,
            visibility: contiguous(py, "visibility", &self.visibility)?,
            index: contiguous(py, "index", &self.index)?,
            id: contiguous(py, "id", &self.id)?,
            frame: contiguous(py, "frame", &self.frame)?,
            label: contiguous(py, "label", &self.label)?,
        })
    }

    fn skeleton(&self, py: Python<'_>) -> PyResult<Skeleton> {
        Skeleton::new(
            &rows("bones", &self.bones)?,
            &rows("bone_colors", &self.bone_colors)?,
            &rows("joint_colors", &self.joint_colors)?,
        )
        .map_err(|err| errors::to_py_err(py, &err))
    }
}

fn to_py_err(py: Python<'_>, error: &ShardError) -> PyErr {
    let message = error.to_string();
    let details = PyDict::new(py);
    match error {
        ShardError::Usage(_) => exception(py, Kind::Usage, message, None),
        ShardError::Settings(_) => exception(py, Kind::Config, message, None),
        ShardError::Data { path, what } => {
            let filled = details
                .set_item("path", path.as_os_str())
                .and_then(|()| details.set_item("field", &what.field));
            match filled {
                Ok(()) => exception(py, Kind::Data, what.message.clone(), Some(&details)),
                Err(err) => err,
            }
        }
        ShardError::NoRoom { needed, .. } => {
            let error = exception(py, Kind::Resource, message, None);
            match error.value(py).setattr("needed", needed) {
                Ok(()) => error,
                Err(err) => err,
            }
        }
        ShardError::Core(error) => errors::to_py_err(py, error),
        _ => exception(py, Kind::Resource, message, None),
    }
}

/// Runs `work` without the interpreter lock; `progress` is called some times a second, and what it raises ends the work.
fn watched<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&mut dyn FnMut(u64) -> bool) -> ShardResult<T> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let result = py.detach(|| {
        let mut last: Option<Instant> = None;
        let mut tick = |done: u64| {
            if last.is_some_and(|last| last.elapsed() < EVERY) {
                return true;
            }
            last = Some(Instant::now());
            let told = Python::attach(|py| {
                py.check_signals()?;
                progress
                    .as_ref()
                    .map_or(Ok(()), |progress| progress.call1(py, (done,)).map(drop))
            });
            raised = told.err();
            raised.is_none()
        };
        work(&mut tick)
    });
    match raised {
        Some(error) => Err(error),
        None => result.map_err(|error| to_py_err(py, &error)),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The text of `plan.json` for the JSON of its fields.
#[pyfunction]
fn plan_text(py: Python<'_>, fields: &str) -> PyResult<String> {
    Plan::new(fields)
        .map(|plan| plan.text())
        .map_err(|error| to_py_err(py, &error))
}

#[pyfunction]
fn publish_plan(
    py: Python<'_>,
    folder: PathBuf,
    fields: &str,
    bad: &str,
    resume: bool,
    shared: bool,
) -> PyResult<()> {
    Plan::new(fields)
        .and_then(|plan| plan.publish(&folder, bad, resume, shared))
        .map_err(|error| to_py_err(py, &error))
}

/// The text of `plan.json` and, where the data set is finished, of `index.json`.
#[pyfunction]
fn read_dataset(py: Python<'_>, folder: PathBuf, finished: bool) -> PyResult<(String, Option<String>)> {
    let read = || {
        let plan = Plan::read(&folder)?;
        let index = finished.then(|| Index::read(&folder, &plan)).transpose()?;
        Ok((plan.text(), index.map(|index| json(&index))))
    };
    read().map_err(|error| to_py_err(py, &error))
}

#[pyfunction]
#[pyo3(signature = (folder, drawn, *, shards, threads, resume, full, progress=None))]
#[allow(clippy::too_many_arguments)] // what a job consists of
fn write_shards(
    py: Python<'_>,
    folder: PathBuf,
    drawn: Drawn<'_>,
    shards: (usize, usize),
    threads: NonZeroUsize,
    resume: bool,
    full: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let plan = Plan::read(&folder).map_err(|error| to_py_err(py, &error))?;
    let (poses, skeleton) = (drawn.poses(py)?, drawn.skeleton(py)?);
    let job = Job {
        folder: &folder,
        plan: &plan,
        poses,
        skeleton: &skeleton,
        shards: shards.0..shards.1,
        threads,
        resume,
        full,
        bad: contiguous(py, "bad", &drawn.bad)?,
    };
    watched(py, progress, |tick| shards::write(&job, tick)).map(|report| json(&report))
}

#[pyfunction]
#[pyo3(signature = (path, fields, drawn, *, threads, progress=None))]
fn write_tar(
    py: Python<'_>,
    path: PathBuf,
    fields: &str,
    drawn: Drawn<'_>,
    threads: NonZeroUsize,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let plan = Plan::new(fields).map_err(|error| to_py_err(py, &error))?;
    let (poses, skeleton) = (drawn.poses(py)?, drawn.skeleton(py)?);
    watched(py, progress, |tick| {
        shards::write_tar(&path, &plan, &poses, &skeleton, threads, tick)
    })
    .map(|report| json(&report))
}

/// Bytes on disk of a pose, and the seconds that a thread takes for it.
#[pyfunction]
fn estimate_shards(py: Python<'_>, fields: &str, drawn: Drawn<'_>, sample: usize) -> PyResult<(f64, f64)> {
    let plan = Plan::new(fields).map_err(|error| to_py_err(py, &error))?;
    let (poses, skeleton) = (drawn.poses(py)?, drawn.skeleton(py)?);
    py.detach(|| shards::estimate(&plan, &poses, &skeleton, sample))
        .map(|estimate| (estimate.bytes_per_pose, estimate.seconds_per_pose))
        .map_err(|error| to_py_err(py, &error))
}

#[pyfunction]
fn hash_poses(py: Python<'_>, drawn: Drawn<'_>) -> PyResult<String> {
    let poses = drawn.poses(py)?;
    Ok(py.detach(|| poses.hash()))
}

/// Length and BLAKE3 of a file.
#[pyfunction]
fn hash_file(py: Python<'_>, path: PathBuf) -> PyResult<(u64, String)> {
    py.detach(|| shards::hash_file(&path))
        .map_err(|error| to_py_err(py, &error))
}

#[pyfunction]
#[pyo3(signature = (folder, *, full, progress=None))]
fn verify_shards(
    py: Python<'_>,
    folder: PathBuf,
    full: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    watched(py, progress, |tick| shards::verify(&folder, full, tick)).map(|found| json(&found))
}

#[pyfunction]
fn mend_shards(py: Python<'_>, folder: PathBuf, drop_torn: bool) -> PyResult<String> {
    let mend = if drop_torn {
        shards::drop_torn
    } else {
        shards::sweep_and_index
    };
    py.detach(|| mend(&folder))
        .map(|mended| json(&mended))
        .map_err(|error| to_py_err(py, &error))
}

#[pyfunction]
#[pyo3(signature = (sources, folder, *, progress=None))]
fn merge_shards(
    py: Python<'_>,
    sources: Vec<PathBuf>,
    folder: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    watched(py, progress, |tick| shards::merge(&sources, &folder, tick)).map(|report| json(&report))
}

/// Writes the index of a data set that is finished but for it.
#[pyfunction]
fn finish_shards(py: Python<'_>, folder: PathBuf) -> PyResult<String> {
    py.detach(|| shards::finish(&folder))
        .map(|index| json(&index))
        .map_err(|error| to_py_err(py, &error))
}

/// The poses of a shard, and what its file says about them.
#[pyfunction]
fn read_keypoint_shard(py: Python<'_>, path: PathBuf, max_bytes: u64) -> PyResult<Bound<'_, PyDict>> {
    let read = || {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        safetensors::read(BufReader::new(file), length, max_bytes)
    };
    let (poses, about) = py.detach(read).map_err(|error| to_py_err(py, &error.at(&path)))?;
    let (n, k) = (poses.index.len(), poses.num_keypoints);
    let arrays = PyDict::new(py);
    arrays.set_item("keypoints", poses.keypoints.into_pyarray(py).reshape([n, k, 2])?)?;
    arrays.set_item("visibility", poses.visibility.into_pyarray(py).reshape([n, k])?)?;
    arrays.set_item("index", poses.index.into_pyarray(py))?;
    arrays.set_item("id", poses.id.into_pyarray(py))?;
    arrays.set_item("frame", poses.frame.into_pyarray(py).reshape([n, 3])?)?;
    arrays.set_item("label", poses.label.into_pyarray(py))?;
    arrays.set_item("labels", about.labels)?;
    arrays.set_item("skeleton", about.skeleton)?;
    Ok(arrays)
}

/// Name, offset and size of the files in a tar shard.
#[pyfunction]
fn list_tar(
    py: Python<'_>,
    path: PathBuf,
    max_entry: u64,
    max_entries: u64,
) -> PyResult<Vec<(String, u64, u64)>> {
    let limits = tar::Limits {
        max_entry,
        max_entries,
    };
    let list = || tar::list(BufReader::new(File::open(&path)?), limits);
    let entries = py.detach(list).map_err(|error| to_py_err(py, &error.at(&path)))?;
    Ok(entries
        .into_iter()
        .map(|entry| (entry.name, entry.offset, entry.size))
        .collect())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(plan_text, module)?)?;
    module.add_function(wrap_pyfunction!(publish_plan, module)?)?;
    module.add_function(wrap_pyfunction!(read_dataset, module)?)?;
    module.add_function(wrap_pyfunction!(write_shards, module)?)?;
    module.add_function(wrap_pyfunction!(write_tar, module)?)?;
    module.add_function(wrap_pyfunction!(estimate_shards, module)?)?;
    module.add_function(wrap_pyfunction!(hash_poses, module)?)?;
    module.add_function(wrap_pyfunction!(hash_file, module)?)?;
    module.add_function(wrap_pyfunction!(verify_shards, module)?)?;
    module.add_function(wrap_pyfunction!(mend_shards, module)?)?;
    module.add_function(wrap_pyfunction!(merge_shards, module)?)?;
    module.add_function(wrap_pyfunction!(finish_shards, module)?)?;
    module.add_function(wrap_pyfunction!(read_keypoint_shard, module)?)?;
    module.add_function(wrap_pyfunction!(list_tar, module)?)
}
