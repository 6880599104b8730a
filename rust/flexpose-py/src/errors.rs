//! Errors of the core become the exceptions of `flexpose.errors`.

use flexpose_core::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

/// Which class of `flexpose.errors` an error becomes.
#[derive(Clone, Copy)]
pub enum Kind {
    Usage,
    Config,
    Data,
    Resource,
}

/// Makes the exception of `kind`, with the keyword arguments of its class.
pub fn exception(py: Python<'_>, kind: Kind, message: String, details: Option<&Bound<'_, PyDict>>) -> PyErr {
    static USAGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CONFIG: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static DATA: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static RESOURCE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (class, name) = match kind {
        Kind::Usage => (&USAGE, "UsageError"),
        Kind::Config => (&CONFIG, "ConfigError"),
        Kind::Data => (&DATA, "DataError"),
        Kind::Resource => (&RESOURCE, "ResourceError"),
    };
    class
        .import(py, "flexpose.errors", name)
        .and_then(|class| class.call((message,), details))
        .map_or_else(|err| err, PyErr::from_value)
}

/// Maps an error of the core; what it knows of the record goes with it.
pub fn to_py_err(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::NotFinite { record, .. } => {
            let details = PyDict::new(py);
            let filled = details
                .set_item("record", record)
                .and_then(|()| details.set_item("field", "keypoints"));
            match filled {
                Ok(()) => exception(py, Kind::Data, message, Some(&details)),
                Err(err) => err,
            }
        }
        Error::Threads { .. } => exception(py, Kind::Resource, message, None),
        _ => exception(py, Kind::Usage, message, None),
    }
}
