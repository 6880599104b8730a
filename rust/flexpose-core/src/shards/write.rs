//! Writing a data set: draw and encode on all threads, publish in order on one.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use super::check;
use super::chunks::{artists, chunks};
use super::disk::{file_name, parse_temporary, remove, Disk, Temporary};
use super::error::{At, ShardError, ShardResult};
use super::index::{self, Index};
use super::journal::{self, Entry, Journal};
use super::lock::{process_lives, Lock};
use super::ordered::in_order;
use super::plan::{shard_of, Kind, Plan};
use super::poses::Poses;
use super::publisher::Publisher;
use super::sample::Words;
use crate::raster::Skeleton;

/// A data set, or some of its shards, to be written.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    pub folder: &'a Path,
    /// As it is in the folder.
    pub plan: &'a Plan,
    /// At least the poses of `shards`.
    pub poses: Poses<'a>,
    /// What the plan's skeleton text says.
    pub skeleton: &'a Skeleton,
    pub shards: Range<usize>,
    pub threads: NonZeroUsize,
    /// Keep the shards that are finished.
    pub resume: bool,
    /// Hash the finished shards instead of looking at their lengths only.
    pub full: bool,
    /// Rows of the input that were left out as bad, ascending.
    pub bad: &'a [i64],
}

/// What a call has written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Shards written now.
    pub written: usize,
    /// Shards that were finished before.
    pub kept: usize,
    /// Finished shards that were not as the journal says, and were written again.
    pub mended: usize,
    /// Bytes of all files of these shards.
    pub bytes: u64,
    /// Whether the whole data set is finished now.
    pub complete: bool,
}

/// Writes the shards of `job` that are not there, and the index if that makes the data set complete.
///
/// `tick` gets the number of poses that are done, some times a second at least, and says whether to go on.
///
/// # Errors
/// [`ShardError::Busy`] if another process writes these shards, [`ShardError::NoRoom`], [`ShardError::Io`];
/// [`ShardError::Stopped`] if `tick` said so. Whatever it is, what was published stays, and a later call goes on.
pub fn write(job: &Job<'_>, tick: &mut dyn FnMut(u64) -> bool) -> ShardResult<Report> {
    let (folder, plan, disk) = (job.folder, job.plan, Disk::new());
    job.check()?;
    let _lock = Lock::take(folder, &job.shards, plan.shards.len())?;
    sweep(folder, plan, &job.shards)?;
    let mut finished = journal::read_all(folder, plan)?;
    finished.retain(|shard, _| job.shards.contains(shard));
    if !job.resume && !finished.is_empty() {
        let message = format!(
            "{}: {} shards are written already; go on by --resume",
            folder.display(),
            finished.len()
        );
        return Err(ShardError::Usage(message));
    }
    let mut lost = Vec::new();
    for entry in finished.values() {
        if check::entry(folder, entry, job.full)?.is_some() {
            lost.push(entry.shard);
        }
        go_on(tick, 0)?;
    }
    finished.retain(|shard, _| !lost.contains(shard));
    let mut report = Report {
        kept: finished.len(),
        mended: lost.len(),
        ..Report::default()
    };
    let todo: Vec<usize> = job
        .shards
        .clone()
        .filter(|shard| !finished.contains_key(shard))
        .collect();
    if !todo.is_empty() {
        remove(&folder.join(index::INDEX))?;
    }
    let name = journal::name(&job.shards, plan.shards.len());
    let journal = Journal::open(&disk, folder, &name, plan, &lost)?;
    let written = write_shards(job, &disk, journal, &todo, tick);
    if written.is_err() {
        // The error says more than what the sweeping could add.
        let _ = sweep(folder, plan, &job.shards);
    }
    let written = written?;
    report.written = written.len();
    let files = finished.values().chain(&written).flat_map(|entry| &entry.files);
    report.bytes = files.map(|file| file.bytes).sum();
    report.complete = publish_index(&disk, folder, plan)?.is_empty();
    Ok(report)
}

/// Makes the index of a data set of which all shards are written.
///
/// # Errors
/// [`ShardError::Usage`] names the shards that are missing.
pub fn finish(folder: &Path) -> ShardResult<Index> {
    let (plan, disk) = (Plan::read(folder)?, Disk::new());
    let missing = publish_index(&disk, folder, &plan)?;
    if missing.is_empty() {
        return Index::read(folder, &plan);
    }
    let few: Vec<_> = missing.iter().take(8).map(ToString::to_string).collect();
    let dots = if missing.len() > few.len() { ", ..." } else { "" };
    Err(ShardError::Usage(format!(
        "{}: {} of {} shards are not written yet: {}{dots}",
        folder.display(),
        missing.len(),
        plan.shards.len(),
        few.join(", ")
    )))
}

/// Publishes the index if all shards are there; gives those that are missing.
pub(super) fn publish_index(disk: &Disk, folder: &Path, plan: &Plan) -> ShardResult<Vec<usize>> {
    let entries = journal::read_all(folder, plan)?;
    let missing: Vec<_> = (0..plan.shards.len())
        .filter(|shard| !entries.contains_key(shard))
        .collect();
    if missing.is_empty() {
        let index = Index::new(plan, &entries);
        if !index::is_there(folder) || Index::read(folder, plan)? != index {
            index.publish(disk, folder)?;
        }
    }
    Ok(missing)
}

impl Job<'_> {
    fn check(&self) -> ShardResult<()> {
        let (plan, poses) = (self.plan, &self.poses);
        poses.check(plan.labels.as_ref().map_or(0, Vec::len))?;
        if self.shards.end > plan.shards.len() || self.shards.start > self.shards.end {
            let message = format!(
                "shards must be in 0 to {}, got {:?}",
                plan.shards.len(),
                self.shards
            );
            return Err(ShardError::Usage(message));
        }
        let needed = self.shards.clone().map(|shard| plan.shards[shard]);
        let there = [poses.first as u64, (poses.first + poses.len()) as u64];
        if needed
            .clone()
            .any(|[first, end]| first < there[0] || end > there[1])
        {
            let message = format!(
                "poses must be those of the shards {:?}, got {there:?}",
                self.shards
            );
            return Err(ShardError::Usage(message));
        }
        Ok(())
    }

    /// Rows left out between those of this shard and those of the next.
    pub(super) fn bad_in(&self, shard: usize) -> u64 {
        let row = |pose: u64| self.poses.index.get(pose as usize - self.poses.first);
        let [first, end] = self.plan.shards[shard];
        let below =
            |row: Option<&i64>| row.map_or(self.bad.len(), |row| self.bad.partition_point(|bad| bad < row));
        let start = if shard == 0 { 0 } else { below(row(first)) };
        (below(row(end)) - start) as u64
    }
}

pub(super) fn go_on(tick: &mut dyn FnMut(u64) -> bool, done: u64) -> ShardResult<()> {
    if tick(done) {
        Ok(())
    } else {
        Err(ShardError::Stopped)
    }
}

/// Draws and publishes shards; the entries of those that were.
fn write_shards(
    job: &Job<'_>,
    disk: &Disk,
    journal: Journal<'_>,
    shards: &[usize],
    tick: &mut dyn FnMut(u64) -> bool,
) -> ShardResult<Vec<Entry>> {
    let (plan, words) = (job.plan, Words::new(job.plan));
    let chunks = chunks(plan, shards);
    let total: u64 = chunks.iter().map(|chunk| chunk.poses.len() as u64).sum();
    let mut publisher = Publisher::new(job, disk, journal);
    let done = std::cell::Cell::new(0);
    let result = in_order(
        artists(plan, job.skeleton, job.threads, chunks.len())?,
        chunks.len(),
        |artist, number| {
            let chunk = &chunks[number];
            let folder = match plan.kind {
                Kind::Png => Some(Temporary::path(job.folder, &plan.kind.file(chunk.shard))),
                _ => None,
            };
            if let Some(folder) = &folder {
                std::fs::create_dir_all(folder).at(folder)?;
            }
            let poses = job.poses.slice(chunk.poses.clone());
            artist.make(plan.kind, &poses, &words, disk, folder.as_deref())
        },
        |number, made| {
            publisher.take(&chunks[number], &made)?;
            done.set(publisher.poses);
            Ok(())
        },
        || go_on(tick, done.get()),
    );
    match result {
        Ok(()) => Ok(publisher.entries),
        Err(ShardError::NoRoom { path, reason, .. }) => {
            // The part of the open shard counts as not written: it is thrown away.
            let kept: u64 = publisher.entries.iter().map(|entry| entry.ok).sum();
            let each = publisher.bytes as f64 / publisher.poses.max(1) as f64;
            let needed = Some((each * (total - kept) as f64) as u64);
            Err(ShardError::NoRoom { path, reason, needed })
        }
        Err(other) => Err(other),
    }
}

/// Removes what processes that died have left of these shards; of everything if these are all shards.
///
/// Whoever holds the lock is the only one who writes the shards, so every temporary file of theirs is a dead one.
pub(super) fn sweep(folder: &Path, plan: &Plan, shards: &Range<usize>) -> ShardResult<Vec<String>> {
    let whole = *shards == (0..plan.shards.len());
    let mut swept = Vec::new();
    for entry in std::fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        let name = file_name(&path);
        let Some((base, pid)) = parse_temporary(&name) else {
            continue;
        };
        let dead = match shard_of(base) {
            Some(shard) => shards.contains(&shard),
            None => whole && (pid == std::process::id() || !process_lives(pid)),
        };
        if dead {
            remove(&path)?;
            swept.push(name);
        }
    }
    swept.sort();
    Ok(swept)
}
