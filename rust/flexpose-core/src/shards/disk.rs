//! Files that are whole or not there, with their length and hash, and places where a test may end the process.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;

use super::error::{At, Malformed, ShardResult};
use super::journal::FileEntry;

/// Environment variable with `POINT:COUNT`: the process aborts when it comes to that point for that time. With
/// `POINT:COUNT:ERRNO` the system refuses that step, by this number of an error, and whatever follows goes its way.
const FAIL_AT: &str = "FLEXPOSE_FAIL_AT";
/// JSON files of a data set are refused beyond this.
const MAX_JSON: u64 = 256 << 20;

/// The way to the disk; every call names the point that a test can let fail, before it does anything.
#[derive(Debug, Default)]
pub(super) struct Disk {
    failure: Option<Failure>,
    hits: AtomicU64,
}

/// What a test wants to go wrong.
#[derive(Debug)]
struct Failure {
    point: String,
    /// At which time, from 1.
    count: u64,
    /// The system's error; None ends the process.
    errno: Option<i32>,
}

impl Failure {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        Some(Self {
            point: parts.next()?.to_owned(),
            count: parts.next()?.parse().ok()?,
            errno: parts.next().and_then(|errno| errno.parse().ok()),
        })
    }
}

impl Disk {
    /// Reads the point of failure from the environment, once.
    pub(super) fn new() -> Self {
        Self {
            failure: std::env::var(FAIL_AT).ok().and_then(|text| Failure::parse(&text)),
            hits: AtomicU64::new(0),
        }
    }

    /// The failure, if this is the time for it at `point`.
    fn failure(&self, point: &str) -> Option<&Failure> {
        let failure = self.failure.as_ref().filter(|failure| failure.point == point)?;
        (self.hits.fetch_add(1, Ordering::Relaxed) + 1 == failure.count).then_some(failure)
    }

    /// Whether the process shall end in the middle of what `point` names.
    pub(super) fn fails(&self, point: &str) -> bool {
        self.failure(point).is_some()
    }

    pub(super) fn pass(&self, point: &str) -> io::Result<()> {
        match self.failure(point) {
            None => Ok(()),
            Some(Failure {
                errno: Some(errno), ..
            }) => Err(io::Error::from_raw_os_error(*errno)),
            Some(_) => std::process::abort(),
        }
    }

    pub(super) fn write(&self, file: &mut File, data: &[u8], path: &Path, point: &str) -> ShardResult<()> {
        self.pass(point).and_then(|()| file.write_all(data)).at(path)
    }

    pub(super) fn sync(&self, file: &File, path: &Path, point: &str) -> ShardResult<()> {
        self.pass(point).and_then(|()| file.sync_all()).at(path)
    }

    pub(super) fn sync_folder(&self, folder: &Path, point: &str) -> ShardResult<()> {
        self.pass(point).at(folder)?;
        // Folders cannot be opened for this everywhere; where they cannot, renames are durable by themselves.
        if cfg!(unix) {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .at(folder)?;
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path, point: &str) -> ShardResult<()> {
        self.pass(point).and_then(|()| fs::rename(from, to)).at(to)
    }

    /// Publishes a small file in one step; `point` is the first part of its points' names.
    pub(super) fn publish(&self, path: &Path, data: &[u8], point: &str) -> ShardResult<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = NewFile::create(self, folder, &file_name(path))?;
        file.write(data)?;
        let sealed = file.seal(&format!("{point}-fsync"))?;
        sealed.publish(self, &format!("{point}-rename"))?;
        self.sync_folder(folder, &format!("{point}-folder"))
    }
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The final name and the process of a temporary name.
pub(super) fn parse_temporary(name: &str) -> Option<(&str, u32)> {
    let (base, pid) = name.rsplit_once(".tmp-")?;
    Some((base, pid.parse().ok()?))
}

/// Removes a file or a folder with all that is in it; that it is not there is no error.
pub(super) fn remove(path: &Path) -> ShardResult<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at(path),
    }
}

/// A temporary file or folder, which goes away with this unless it was published.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) path: PathBuf,
    published: bool,
}

impl Temporary {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self {
            path: Self::path(folder, name),
            published: false,
        }
    }

    /// Where it is, `NAME.tmp-<pid>`.
    pub(super) fn path(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.tmp-{}", std::process::id()))
    }

    pub(super) fn publish(mut self, disk: &Disk, to: &Path, point: &str) -> ShardResult<()> {
        disk.rename(&self.path, to, point)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // There is already an error on its way, and the next run sweeps what stays.
            let _ = remove(&self.path);
        }
    }
}

/// A file that is being written under its temporary name, hashed on the way.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    disk: &'a Disk,
    folder: PathBuf,
    name: String,
    temporary: Temporary,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> NewFile<'a> {
    pub(super) fn create(disk: &'a Disk, folder: &Path, name: &str) -> ShardResult<Self> {
        let temporary = Temporary::new(folder, name);
        let file = File::create(&temporary.path).at(&temporary.path)?;
        Ok(Self {
            disk,
            folder: folder.to_path_buf(),
            name: name.to_owned(),
            temporary,
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> ShardResult<()> {
        self.hasher.update(data);
        self.bytes += data.len() as u64;
        let path = self.folder.join(&self.name);
        self.disk.write(&mut self.file, data, &path, "write")
    }

    /// Makes the content durable; the name is still the temporary one.
    pub(super) fn seal(self, point: &str) -> ShardResult<Sealed> {
        let path = self.folder.join(&self.name);
        self.disk.sync(&self.file, &path, point)?;
        Ok(Sealed {
            entry: FileEntry {
                file: self.name,
                bytes: self.bytes,
                blake3: self.hasher.finalize().to_hex().to_string(),
            },
            path,
            temporary: self.temporary,
        })
    }
}

/// A file or folder with all its content on disk, to be published by a rename.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) entry: FileEntry,
    pub(super) path: PathBuf,
    pub(super) temporary: Temporary,
}

impl Sealed {
    pub(super) fn publish(self, disk: &Disk, point: &str) -> ShardResult<FileEntry> {
        if self.path.is_dir() {
            // A folder is not replaced by a rename. No journal knows it, or it would not be written again.
            remove(&self.path)?;
        }
        self.temporary.publish(disk, &self.path, point)?;
        Ok(self.entry)
    }
}

/// Length and BLAKE3 hash of a file, read in pieces.
///
/// # Errors
/// [`super::ShardError::Io`] if it cannot be read.
pub fn hash_file(path: &Path) -> ShardResult<(u64, String)> {
    let mut file = File::open(path).at(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).at(path)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().to_hex().to_string()));
        }
        bytes += read as u64;
        hasher.update(&buffer[..read]);
    }
}

/// JSON with sorted keys, no blanks, and a line feed at the end.
pub(super) fn canonical(value: &impl Serialize) -> String {
    // Numbers, text, lists and maps with text keys: nothing that JSON cannot hold.
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    format!("{value}\n")
}

/// The bytes of a small file of the data set, which a stranger may have written.
pub(super) fn read_bytes(path: &Path) -> ShardResult<Vec<u8>> {
    let file = File::open(path).at(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_JSON + 1).read_to_end(&mut bytes).at(path)?;
    if bytes.len() as u64 > MAX_JSON {
        return Err(Malformed::file(format!("must not be larger than {MAX_JSON} bytes")).at(path));
    }
    Ok(bytes)
}

/// Its text.
pub(super) fn read_text(path: &Path) -> ShardResult<String> {
    String::from_utf8(read_bytes(path)?).map_err(|_| Malformed::file("must be UTF-8").at(path))
}
