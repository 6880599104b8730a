//! What can go wrong with a data set.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Errors of the data set writer and its readers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The call makes no sense as it is: a folder that holds something else, a shard that does not exist.
    #[error("{0}")]
    Usage(String),

    /// The data set was begun with other settings or other inputs; the message has the differences.
    #[error("{0}")]
    Settings(String),

    /// A file of the data set holds what it must not.
    #[error("{}: {what}", path.display())]
    Data { path: PathBuf, what: Malformed },

    /// Another process writes here.
    #[error("{0}")]
    Busy(String),

    /// The disk, the quota or the file size limit is exhausted; `needed` bytes of the job were still to be written.
    #[error("{}: no room left for it: {reason}", path.display())]
    NoRoom {
        path: PathBuf,
        reason: io::Error,
        needed: Option<u64>,
    },

    /// The system refused something else.
    #[error("{}: {reason}", path.display())]
    Io { path: PathBuf, reason: io::Error },

    /// A pose cannot be drawn.
    #[error(transparent)]
    Core(#[from] Error),

    /// The caller asked for an end; what was published stays.
    #[error("stopped on request")]
    Stopped,
}

/// Result of this module's functions.
pub type ShardResult<T> = Result<T, ShardError>;

/// Why a file is refused; `field` says where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub field: Option<String>,
    pub message: String,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Malformed {
    /// A fault of the whole file.
    pub fn file(message: impl Into<String>) -> Self {
        let (field, message) = (None, message.into());
        Self { field, message }
    }

    /// A fault of one field or entry.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (Some(field.into()), message.into());
        Self { field, message }
    }

    pub(super) fn at(self, path: &Path) -> ShardError {
        let (path, what) = (path.to_path_buf(), self);
        ShardError::Data { path, what }
    }
}

/// A reader's error before the path is known.
#[derive(Debug)]
pub enum ReadError {
    Io(io::Error),
    Malformed(Malformed),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl ReadError {
    /// Says which file it is about.
    #[must_use]
    pub fn at(self, path: &Path) -> ShardError {
        match self {
            Self::Io(reason) => io_error(path, reason),
            Self::Malformed(what) => what.at(path),
        }
    }
}

/// Sorts an error of the system: no room, or anything else.
pub(super) fn io_error(path: &Path, reason: io::Error) -> ShardError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let path = path.to_path_buf();
    match reason.kind() {
        StorageFull | FileTooLarge | QuotaExceeded => ShardError::NoRoom {
            path,
            reason,
            needed: None,
        },
        _ => ShardError::Io { path, reason },
    }
}

/// Attaches the path to errors of the system.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> ShardResult<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> ShardResult<T> {
        self.map_err(|reason| io_error(path, reason))
    }
}
