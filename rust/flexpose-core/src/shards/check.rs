//! Whether a data set is what its journal and index say.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Serialize;

use super::disk::{file_name, hash_file, parse_temporary};
use super::error::{At, Malformed, ShardError, ShardResult};
use super::index::{self, Index};
use super::journal::{self, Entries, Entry, FileEntry};
use super::npy;
use super::plan::{Kind, Plan};
use super::png_check;
use super::poses::OwnedPoses;
use super::publisher::hash_member;
use super::safetensors;
use super::sample::{check_description, key};
use super::tar::{Limits, TarReader};

/// What is wrong with a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// None if it is not about one shard.
    pub shard: Option<usize>,
    pub file: String,
    pub message: String,
}

/// The state of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Shards of the plan.
    pub shards: usize,
    /// Those that are as they should be.
    pub intact: usize,
    /// Those that are not written, or were left out.
    pub missing: usize,
    pub poses: u64,
    pub bytes: u64,
    /// Whether there is an index.
    pub complete: bool,
    /// Temporary files that somebody left, or is writing now.
    pub temporary: Vec<String>,
    pub problems: Vec<Problem>,
}

/// Compares all shards with what was written down: their lengths; if `full`, also the hashes, and every entry.
///
/// # Errors
/// [`ShardError::Usage`] if there is no data set, [`ShardError::Data`] if the plan cannot be read,
/// [`ShardError::Stopped`] if `tick` said so.
pub fn verify(folder: &Path, full: bool, tick: &mut dyn FnMut(u64) -> bool) -> ShardResult<Verification> {
    let plan = Plan::read(folder)?;
    let (mut entries, mut problems) = (journal::read_all(folder, &plan)?, Vec::new());
    let complete = index::is_there(folder);
    if complete {
        match Index::read(folder, &plan) {
            // The index is what readers go by.
            Ok(index) => entries = index.entries(&plan),
            Err(ShardError::Data { what, .. }) => problems.push(Problem {
                shard: None,
                file: index::INDEX.into(),
                message: what.to_string(),
            }),
            Err(other) => return Err(other),
        }
    }
    let mut found = Verification {
        shards: plan.shards.len(),
        intact: 0,
        missing: plan.shards.len() - entries.len(),
        poses: 0,
        bytes: 0,
        complete,
        temporary: Vec::new(),
        problems,
    };
    for entry in entries.values() {
        if !tick(found.poses) {
            return Err(ShardError::Stopped);
        }
        let problem = match entry_problem(folder, &plan, entry, full)? {
            None => {
                found.intact += 1;
                None
            }
            some => some,
        };
        found.problems.extend(problem);
        found.poses += entry.ok;
        found.bytes += entry.files.iter().map(|file| file.bytes).sum::<u64>();
    }
    for path in fs::read_dir(folder).at(folder)? {
        let name = file_name(&path.at(folder)?.path());
        if parse_temporary(&name).is_some() {
            found.temporary.push(name);
        }
    }
    found.temporary.sort();
    Ok(found)
}

/// The shards that are not as they should be.
pub(super) fn torn(folder: &Path, plan: &Plan, entries: &Entries) -> ShardResult<Vec<Problem>> {
    let mut found = Vec::new();
    for entry in entries.values() {
        found.extend(entry_problem(folder, plan, entry, true)?);
    }
    Ok(found)
}

fn entry_problem(folder: &Path, plan: &Plan, entry: &Entry, full: bool) -> ShardResult<Option<Problem>> {
    if let Some(problem) = self::entry(folder, entry, full)? {
        return Ok(Some(problem));
    }
    if full {
        match contents(folder, plan, entry) {
            Err(ShardError::Data { path, what }) => {
                return Ok(Some(problem(entry, &file_name(&path), what.to_string())));
            }
            other => other?,
        }
    }
    Ok(None)
}

fn problem(entry: &Entry, file: &str, message: String) -> Problem {
    Problem {
        shard: Some(entry.shard),
        file: file.to_owned(),
        message,
    }
}

/// Lengths of the files of a shard; their hashes if `full`.
pub(super) fn entry(folder: &Path, entry: &Entry, full: bool) -> ShardResult<Option<Problem>> {
    for file in &entry.files {
        let path = folder.join(&file.file);
        let Some(bytes) = length(&path, entry.ok)? else {
            return Ok(Some(problem(
                entry,
                &file.file,
                "is not there as it was written".into(),
            )));
        };
        if bytes != file.bytes {
            let message = format!("must have {} bytes, has {bytes}", file.bytes);
            return Ok(Some(problem(entry, &file.file, message)));
        }
        if full && hash(&path)? != file.blake3 {
            let message = "has other content than was written: its hash differs".into();
            return Ok(Some(problem(entry, &file.file, message)));
        }
    }
    Ok(None)
}

/// Bytes of a file, or of a folder with `count` files; None if there is neither. Links are not followed.
fn length(path: &Path, count: u64) -> ShardResult<Option<u64>> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(super::error::io_error(path, error)),
    };
    if about.is_file() {
        return Ok(Some(about.len()));
    }
    if !about.is_dir() {
        return Ok(None);
    }
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(path).at(path)? {
        let about = entry.at(path)?.metadata().at(path)?;
        if !about.is_file() {
            return Ok(None);
        }
        bytes += about.len();
        files += 1;
    }
    Ok(Some(bytes).filter(|_| files == count))
}

fn hash(path: &Path) -> ShardResult<String> {
    if !path.is_dir() {
        return Ok(hash_file(path)?.1);
    }
    let mut hasher = blake3::Hasher::new();
    for name in members(path)? {
        let (bytes, hex) = hash_file(&path.join(&name))?;
        if let Ok(hash) = blake3::Hash::from_hex(&hex) {
            hash_member(&mut hasher, &name, bytes, &hash);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Names of the files in a folder, sorted.
pub(super) fn members(folder: &Path) -> ShardResult<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        names.push(file_name(&entry.at(folder)?.path()));
    }
    names.sort();
    Ok(names)
}

/// The poses of a shard as they are on disk.
pub(super) fn read_poses(folder: &Path, plan: &Plan, entry: &Entry) -> ShardResult<OwnedPoses> {
    let file = entry.files.last().map_or("", |file| file.file.as_str());
    let path = folder.join(file);
    let opened = File::open(&path).at(&path)?;
    let length = opened.metadata().at(&path)?.len();
    let (poses, about) =
        safetensors::read(BufReader::new(opened), length, length).map_err(|error| error.at(&path))?;
    if about.skeleton != plan.skeleton || about.labels != plan.labels {
        return Err(Malformed::field("metadata", "must be that of plan.json").at(&path));
    }
    if poses.index.len() != plan.shard_len(entry.shard) {
        let message = format!("must hold {} poses, has {}", entry.ok, poses.index.len());
        return Err(Malformed::file(message).at(&path));
    }
    Ok(poses)
}

/// Opens everything in a shard.
fn contents(folder: &Path, plan: &Plan, entry: &Entry) -> ShardResult<()> {
    let poses = read_poses(folder, plan, entry)?;
    let Some(image) = plan.image else {
        return Ok(());
    };
    let FileEntry { file, bytes, .. } = &entry.files[0];
    let path = folder.join(file);
    let picture = |png: &[u8]| png_check::check(png, image.height, image.width, image.channels);
    match plan.kind {
        Kind::Keypoints => {}
        Kind::Npy => {
            let header = npy::header(poses.index.len(), image.height, image.width, image.channels);
            let length = header.len() + poses.index.len() * image.height * image.width * image.channels;
            let mut start = vec![0; header.len()];
            File::open(&path)
                .and_then(|mut file| file.read_exact(&mut start))
                .at(&path)?;
            if start != header || length as u64 != *bytes {
                return Err(Malformed::file("must be the array that plan.json says").at(&path));
            }
        }
        Kind::Png => {
            let expected: Vec<_> = poses
                .index
                .iter()
                .map(|&row| format!("{}.png", key(row)))
                .collect();
            let mut sorted = expected.clone();
            sorted.sort();
            if members(&path)? != sorted {
                return Err(Malformed::file("must hold the pictures of its poses").at(&path));
            }
            for name in expected {
                let file = path.join(&name);
                let png = fs::read(&file).at(&file)?;
                picture(&png).map_err(|what| Malformed::field(name, what.to_string()).at(&path))?;
            }
        }
        Kind::Webdataset => {
            let opened = BufReader::new(File::open(&path).at(&path)?);
            let read = |what: super::error::ReadError| what.at(&path);
            let limits = Limits {
                max_entries: 2 * poses.index.len() as u64,
                ..Limits::default()
            };
            let mut reader = TarReader::new(opened, limits).map_err(read)?;
            let mut data = Vec::new();
            for key in poses.index.iter().map(|&row| key(row)) {
                for ending in ["json", "png"] {
                    let name = format!("{key}.{ending}");
                    let found = reader.next_entry(Some(&mut data)).map_err(read)?;
                    if found.is_none_or(|found| found.name != name) {
                        return Err(Malformed::file(format!("must have {name} next")).at(&path));
                    }
                    let checked = match ending {
                        "png" => picture(&data),
                        _ => check_description(&data, poses.num_keypoints),
                    };
                    checked.map_err(|what| Malformed::field(name, what.to_string()).at(&path))?;
                }
            }
            if reader.next_entry(None).map_err(read)?.is_some() {
                return Err(Malformed::file("must end after its last pose").at(&path));
            }
        }
    }
    Ok(())
}
