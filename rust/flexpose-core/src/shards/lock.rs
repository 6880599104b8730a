//! One writer at a time: a lock file with the name of its owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::canonical;
use super::error::{At, ShardError, ShardResult};

const LOCK: &str = ".lock";

/// Who holds a lock, and for which shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
    /// Changes with every start of the machine; empty where the system does not tell.
    boot: String,
    first: usize,
    end: usize,
}

impl Owner {
    fn this(shards: &Range<usize>) -> Self {
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
        let named = |variable: &str| std::env::var(variable).ok();
        Self {
            pid: std::process::id(),
            host: line("/proc/sys/kernel/hostname")
                .or_else(|_| line("/etc/hostname"))
                .ok()
                .or_else(|| named("HOSTNAME"))
                .or_else(|| named("COMPUTERNAME"))
                .unwrap_or_default(),
            boot: line("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            first: shards.start,
            end: shards.end,
        }
    }

    /// Whether it may still be at work, seen from the machine of `here`: nobody knows of another machine.
    fn may_live(&self, here: &Self) -> bool {
        if self.host != here.host {
            return true;
        }
        self.boot == here.boot && (self.pid == here.pid || process_lives(self.pid))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first < other.end && other.first < self.end
    }
}

/// Whether a process of this machine lives; in doubt it does.
pub(super) fn process_lives(pid: u32) -> bool {
    if Path::new("/proc/self").exists() {
        return Path::new(&format!("/proc/{pid}")).exists();
    }
    let asked = std::process::Command::new("kill")
        .args(["-0", &pid.to_string()])
        .output();
    asked.map_or(true, |answer| answer.status.success())
}

/// The right to write some shards of a data set; given back when this goes away.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock of `shards`, of which the data set has `total`. That of a dead process is taken over.
    ///
    /// The system's own lock on the file goes with its process. What is written in it decides where the file system
    /// knows no such locks, or where the owner works on another machine.
    ///
    /// # Errors
    /// [`ShardError::Busy`] if somebody else writes any of these shards.
    pub(super) fn take(folder: &Path, shards: &Range<usize>, total: usize) -> ShardResult<Self> {
        let owner = Owner::this(shards);
        let name = if *shards == (0..total) {
            LOCK.to_owned()
        } else {
            format!("{LOCK}-{:05}-{:05}", shards.start, shards.end)
        };
        let lock = Self::open(folder.join(name), &owner)?;
        // Two that write down their shards before either looks for the other both find each other.
        for entry in fs::read_dir(folder).at(folder)? {
            let path = entry.at(folder)?.path();
            let named = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(LOCK);
            if path != lock.path && path.file_name().is_some_and(named) {
                refuse_neighbour(&path, &owner)?;
            }
        }
        Ok(lock)
    }

    fn open(path: PathBuf, owner: &Owner) -> ShardResult<Self> {
        loop {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).at(&path)?;
            let held = file.try_lock();
            let before = read_owner(&mut file);
            if let Err(TryLockError::WouldBlock) = held {
                return Err(busy(&path, before));
            }
            // Its last owner may have removed the file between the opening and the locking.
            if !same_file(&file, &path) {
                continue;
            }
            if let Some(before) = before {
                if before.host != owner.host || (held.is_err() && before.may_live(owner)) {
                    return Err(busy(&path, Some(before)));
                }
            }
            file.set_len(0).at(&path)?;
            file.rewind().at(&path)?;
            file.write_all(canonical(owner).as_bytes()).at(&path)?;
            return Ok(Self { path, file });
        }
    }
}

fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(1 << 16).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held: whoever opens it now finds another file, or none.
        if self.file.set_len(0).is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn busy(path: &Path, owner: Option<Owner>) -> ShardError {
    let folder = path.parent().unwrap_or(path).display();
    ShardError::Busy(match owner {
        Some(Owner { pid, host, .. }) => format!(
            "{folder}: process {pid} on {host} writes in it; wait for it, or remove {} if it is known to be dead",
            path.display()
        ),
        None => format!("{folder}: another process writes in it"),
    })
}

/// Looks at the lock of other shards.
fn refuse_neighbour(path: &Path, owner: &Owner) -> ShardResult<()> {
    let Ok(mut file) = File::open(path) else {
        return Ok(()); // just given back
    };
    let Some(other) = read_owner(&mut file) else {
        return Ok(()); // given back, or not yet written: then the other one finds this lock
    };
    let held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    if other.overlaps(owner) && (held || other.may_live(owner)) {
        return Err(busy(path, Some(other)));
    }
    Ok(())
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_: &File, path: &Path) -> bool {
    path.exists()
}
