//! The journal: one line a finished shard.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{canonical, file_name, read_bytes, Disk};
use super::error::{At, ShardResult};
use super::plan::Plan;

/// The entries of a data set, by shard.
pub(super) type Entries = BTreeMap<usize, Entry>;

/// A published file (or folder, with the bytes of all its files) and what must be in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    pub file: String,
    pub bytes: u64,
    pub blake3: String,
}

impl FileEntry {
    pub(super) fn hash_is_hash(&self) -> bool {
        self.blake3.len() == 64 && self.blake3.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// One line: a shard of which all files are published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub shard: usize,
    /// The pictures, if any, and the poses.
    pub files: Vec<FileEntry>,
    /// Poses in it.
    pub ok: u64,
    /// Poses of the input that were left out between those as bad.
    pub bad: u64,
}

impl Entry {
    /// Whether the plan has such a shard.
    fn fits(&self, plan: &Plan) -> bool {
        self.shard < plan.shards.len()
            && self.ok == plan.shard_len(self.shard) as u64
            && self.files.iter().all(FileEntry::hash_is_hash)
            && self
                .files
                .iter()
                .map(|file| &file.file)
                .eq(&plan.kind.files(self.shard))
    }
}

/// Everything that all journals of a data set hold. Lines that were torn, or fit no shard of the plan, do not count.
pub(super) fn read_all(folder: &Path, plan: &Plan) -> ShardResult<Entries> {
    let mut entries = Entries::new();
    for path in paths(folder)? {
        entries.extend(read(&path, plan)?.1);
    }
    Ok(entries)
}

/// The journals of a data set, one for each range of shards that was written by itself.
pub(super) fn paths(folder: &Path) -> ShardResult<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        let name = file_name(&path);
        if name.starts_with("journal") && name.strip_suffix(".jsonl").is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The lines that count, and the text that they make: what the file should hold.
fn read(path: &Path, plan: &Plan) -> ShardResult<(String, Entries)> {
    let (mut text, mut entries) = (String::new(), Entries::new());
    // A torn line may be anything, but it ends nothing that is text.
    for line in String::from_utf8_lossy(&read_bytes(path)?).split_inclusive('\n') {
        let Some(entry) = parse(line).filter(|entry| entry.fits(plan)) else {
            continue;
        };
        text.push_str(line);
        entries.insert(entry.shard, entry);
    }
    Ok((text, entries))
}

/// A line without its end was torn.
fn parse(line: &str) -> Option<Entry> {
    serde_json::from_str(line.strip_suffix('\n')?).ok()
}

/// A journal that lines are added to.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    disk: &'a Disk,
    path: PathBuf,
    file: File,
}

impl<'a> Journal<'a> {
    /// Opens the journal of a range of shards; without the shards that `lost` names, and without torn lines.
    pub(super) fn open(
        disk: &'a Disk,
        folder: &Path,
        name: &str,
        plan: &Plan,
        lost: &[usize],
    ) -> ShardResult<Self> {
        forget(disk, folder, plan, lost)?;
        let path = folder.join(name);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .at(&path)?;
        Ok(Self { disk, path, file })
    }

    /// Adds a line and makes it durable.
    pub(super) fn append(&mut self, entry: &Entry) -> ShardResult<()> {
        let line = canonical(entry);
        if self.disk.fails("journal-torn") {
            let _ = self.file.write_all(&line.as_bytes()[..line.len() / 2]);
            std::process::abort();
        }
        self.disk
            .write(&mut self.file, line.as_bytes(), &self.path, "journal-append")?;
        self.disk.sync(&self.file, &self.path, "journal-fsync")
    }
}

/// Name of the journal of a range of the shards.
pub(super) fn name(shards: &std::ops::Range<usize>, total: usize) -> String {
    if *shards == (0..total) {
        return "journal.jsonl".to_owned();
    }
    format!("journal-{:05}-{:05}.jsonl", shards.start, shards.end)
}

/// Rewrites the journals that hold torn lines or shards that are `lost`.
pub(super) fn forget(disk: &Disk, folder: &Path, plan: &Plan, lost: &[usize]) -> ShardResult<()> {
    for path in paths(folder)? {
        let (mut text, entries) = read(&path, plan)?;
        if entries.keys().any(|shard| lost.contains(shard)) {
            let kept = entries.values().filter(|entry| !lost.contains(&entry.shard));
            text = kept.map(canonical).collect();
        }
        if read_bytes(&path)? != text.as_bytes() {
            disk.publish(&path, text.as_bytes(), "journal-rewrite")?;
        }
    }
    Ok(())
}
