//! The index: where it is, the data set is complete.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{canonical, read_text, Disk};
use super::error::{Malformed, ShardError, ShardResult};
use super::journal::{Entry, FileEntry};
use super::plan::{Kind, Plan};
use super::FORMAT;

/// Name of the index in the folder of its data set.
pub const INDEX: &str = "index.json";

/// A shard as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexShard {
    pub file: String,
    /// Number of its first pose among those drawn.
    pub first: u64,
    pub count: u64,
    pub bytes: u64,
    pub blake3: String,
    /// The file with the poses, where `file` has the pictures.
    pub poses: Option<FileEntry>,
}

/// The finished data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub count: u64,
    pub format: u32,
    pub kind: Kind,
    /// BLAKE3 of `plan.json`.
    pub plan: String,
    pub shards: Vec<IndexShard>,
    pub skeleton: String,
}

impl Index {
    /// The index of the shards that the journals have.
    pub(super) fn new(plan: &Plan, entries: &BTreeMap<usize, Entry>) -> Self {
        let shards: Vec<_> = entries
            .values()
            .map(|entry| {
                let main = entry.files[0].clone();
                IndexShard {
                    file: main.file,
                    first: plan.shards[entry.shard][0],
                    count: entry.ok,
                    bytes: main.bytes,
                    blake3: main.blake3,
                    poses: entry.files.get(1).cloned(),
                }
            })
            .collect();
        Self {
            count: shards.iter().map(|shard| shard.count).sum(),
            format: FORMAT,
            kind: plan.kind,
            plan: plan.hash(),
            shards,
            skeleton: plan.skeleton.clone(),
        }
    }

    pub(super) fn publish(&self, disk: &Disk, folder: &Path) -> ShardResult<()> {
        disk.publish(&folder.join(INDEX), canonical(self).as_bytes(), "index")
    }

    /// Reads the index of the data set in `folder` and holds it against the plan.
    ///
    /// # Errors
    /// [`ShardError::Usage`] if the data set is not finished, [`ShardError::Data`] if the index is not valid.
    pub fn read(folder: &Path, plan: &Plan) -> ShardResult<Self> {
        let path = folder.join(INDEX);
        if !path.is_file() {
            let message = format!(
                "{}: is not finished: there is no {INDEX} in it; go on with it by --resume",
                folder.display()
            );
            return Err(ShardError::Usage(message));
        }
        let index: Self = serde_json::from_str(&read_text(&path)?)
            .map_err(|err| Malformed::file(err.to_string()).at(&path))?;
        index.check(plan).map_err(|what| what.at(&path))?;
        Ok(index)
    }

    fn check(&self, plan: &Plan) -> Result<(), Malformed> {
        if self.format != FORMAT {
            return Err(Malformed::field(
                "format",
                format!("must be {FORMAT}, got {}", self.format),
            ));
        }
        if self.plan != plan.hash() {
            return Err(Malformed::field("plan", "is the hash of another plan.json"));
        }
        if self.kind != plan.kind || self.skeleton != plan.skeleton {
            return Err(Malformed::file("kind and skeleton must be those of plan.json"));
        }
        if self.count != self.shards.iter().map(|shard| shard.count).sum::<u64>() {
            return Err(Malformed::field("count", "must be the sum of the shards"));
        }
        // Shards that were torn for good may be missing, but each one that is there is one of the plan.
        let mut planned = plan.shards.iter().enumerate();
        for (number, shard) in self.shards.iter().enumerate() {
            let fits = planned.any(|(k, &[first, end])| {
                let poses = shard.poses.iter().map(|poses| poses.file.clone());
                let files: Vec<_> = std::iter::once(shard.file.clone()).chain(poses).collect();
                first == shard.first && end - first == shard.count && files == plan.kind.files(k)
            });
            let hashes = shard.as_entries().iter().all(FileEntry::hash_is_hash);
            if !fits || !hashes {
                return Err(Malformed::field(
                    format!("shards[{number}]"),
                    "is none of plan.json",
                ));
            }
        }
        Ok(())
    }

    /// The shards by their numbers in the plan.
    pub(super) fn entries(&self, plan: &Plan) -> BTreeMap<usize, Entry> {
        let numbers: BTreeMap<u64, usize> = (0..plan.shards.len()).map(|k| (plan.shards[k][0], k)).collect();
        let entry = |shard: &IndexShard| {
            let number = *numbers.get(&shard.first)?;
            let (files, ok) = (shard.as_entries(), shard.count);
            Some((
                number,
                Entry {
                    shard: number,
                    files,
                    ok,
                    bad: 0,
                },
            ))
        };
        self.shards.iter().filter_map(entry).collect()
    }
}

impl IndexShard {
    fn as_entries(&self) -> Vec<FileEntry> {
        let main = FileEntry {
            file: self.file.clone(),
            bytes: self.bytes,
            blake3: self.blake3.clone(),
        };
        std::iter::once(main).chain(self.poses.clone()).collect()
    }
}

/// Whether the data set is finished.
pub(super) fn is_there(folder: &Path) -> bool {
    folder.join(INDEX).is_file()
}
