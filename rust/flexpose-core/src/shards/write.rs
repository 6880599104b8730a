//! Writing a data set: draw and encode on all threads, publish in order on one.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::check;
use super::disk::{file_name, parse_temporary, remove, Disk, NewFile, Sealed, Temporary};
use super::error::{At, ShardError, ShardResult};
use super::index::{self, Index};
use super::journal::{self, Entry, FileEntry, Journal};
use super::lock::{process_lives, Lock};
use super::npy;
use super::ordered::in_order;
use super::plan::{shard_of, Kind, Plan};
use super::poses::Poses;
use super::safetensors::{self, About};
use super::sample::{Artist, Made, Words};
use super::tar;
use crate::raster::Skeleton;

/// Bytes and poses that a thread makes at a time; the bytes of the data set do not depend on it.
const CHUNK_BYTES: usize = 1 << 18;
const CHUNK_POSES: usize = 64;

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
    fn bad_in(&self, shard: usize) -> u64 {
        let row = |pose: u64| self.poses.index.get(pose as usize - self.poses.first);
        let [first, end] = self.plan.shards[shard];
        let below =
            |row: Option<&i64>| row.map_or(self.bad.len(), |row| self.bad.partition_point(|bad| bad < row));
        let start = if shard == 0 { 0 } else { below(row(first)) };
        (below(row(end)) - start) as u64
    }
}

fn go_on(tick: &mut dyn FnMut(u64) -> bool, done: u64) -> ShardResult<()> {
    if tick(done) {
        Ok(())
    } else {
        Err(ShardError::Stopped)
    }
}

/// The poses that are made together: a shard and a stretch of its poses.
#[derive(Debug, Clone)]
struct Chunk {
    shard: usize,
    poses: Range<usize>,
}

fn chunks(plan: &Plan, shards: &[usize]) -> Vec<Chunk> {
    let image_len = plan.image.map_or(0, |image| image.len());
    let pose_bytes = match plan.kind {
        Kind::Npy => image_len,
        Kind::Webdataset | Kind::Png => image_len / 8 + 2048,
        Kind::Keypoints => 0,
    };
    let length = match plan.kind {
        Kind::Keypoints => usize::MAX,
        _ => (CHUNK_BYTES / pose_bytes.max(1)).clamp(1, CHUNK_POSES),
    };
    let mut chunks = Vec::new();
    for &shard in shards {
        let [mut first, end] = plan.shards[shard].map(|pose| pose as usize);
        while first < end {
            let last = first.saturating_add(length).min(end);
            chunks.push(Chunk {
                shard,
                poses: first..last,
            });
            first = last;
        }
    }
    chunks
}

fn artists<'a>(
    plan: &Plan,
    skeleton: &'a Skeleton,
    threads: NonZeroUsize,
    chunks: usize,
) -> ShardResult<Vec<Artist<'a>>> {
    let threads = threads.get().min(chunks.max(1));
    (0..threads).map(|_| Artist::new(plan, skeleton)).collect()
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
    let mut publisher = Publisher {
        job,
        disk,
        journal,
        open: None,
        entries: Vec::new(),
        bytes: 0,
        poses: 0,
    };
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

/// Puts chunks into the files of their shards, and finished shards into the journal.
struct Publisher<'a, 'd> {
    job: &'a Job<'a>,
    disk: &'d Disk,
    journal: Journal<'d>,
    open: Option<Body<'d>>,
    entries: Vec<Entry>,
    /// Bytes and poses so far, those of chunks that failed to be written among them.
    bytes: u64,
    poses: u64,
}

/// The pictures of the shard that is being written.
enum Body<'d> {
    File(NewFile<'d>),
    Folder {
        temporary: Temporary,
        hasher: blake3::Hasher,
        bytes: u64,
    },
    /// Poses only.
    Nothing,
}

impl<'d> Publisher<'_, 'd> {
    fn take(&mut self, chunk: &Chunk, made: &Made) -> ShardResult<()> {
        let plan = self.job.plan;
        let keypoints = safetensors::data_len(chunk.poses.len(), self.job.poses.num_keypoints);
        let files: u64 = made.files.iter().map(|(_, bytes, _)| bytes).sum();
        self.bytes += keypoints as u64 + made.bytes.len() as u64 + files;
        self.poses += chunk.poses.len() as u64;
        let mut body = match self.open.take() {
            Some(body) => body,
            None => self.begin(chunk.shard)?,
        };
        match &mut body {
            Body::File(file) => file.write(&made.bytes)?,
            Body::Folder { hasher, bytes, .. } => made.files.iter().for_each(|(name, length, hash)| {
                *bytes += length;
                hash_member(hasher, name, *length, hash);
            }),
            Body::Nothing => {}
        }
        if chunk.poses.end as u64 == plan.shards[chunk.shard][1] {
            return self.finish(chunk.shard, body);
        }
        self.open = Some(body);
        Ok(())
    }

    fn begin(&self, shard: usize) -> ShardResult<Body<'d>> {
        let (folder, plan) = (self.job.folder, self.job.plan);
        let name = plan.kind.file(shard);
        Ok(match (plan.kind, plan.image) {
            (Kind::Keypoints, _) => Body::Nothing,
            (Kind::Png, _) => Body::Folder {
                temporary: Temporary::new(folder, &name),
                hasher: blake3::Hasher::new(),
                bytes: 0,
            },
            (Kind::Npy, Some(image)) => {
                let mut file = NewFile::create(self.disk, folder, &name)?;
                let count = plan.shard_len(shard);
                file.write(&npy::header(count, image.height, image.width, image.channels))?;
                Body::File(file)
            }
            _ => Body::File(NewFile::create(self.disk, folder, &name)?),
        })
    }

    /// Syncs, renames, syncs the folder, and only then writes the line.
    fn finish(&mut self, shard: usize, body: Body<'d>) -> ShardResult<()> {
        let (folder, plan, disk) = (self.job.folder, self.job.plan, self.disk);
        let mut sealed = Vec::new();
        match body {
            Body::Nothing => {}
            Body::File(mut file) => {
                if plan.kind == Kind::Webdataset {
                    file.write(&tar::END)?;
                }
                sealed.push(file.seal("shard-fsync")?);
            }
            Body::Folder {
                temporary,
                hasher,
                bytes,
            } => {
                disk.sync_folder(&temporary.path, "shard-fsync")?;
                let name = plan.kind.file(shard);
                sealed.push(Sealed {
                    path: folder.join(&name),
                    temporary,
                    entry: FileEntry {
                        file: name,
                        bytes,
                        blake3: hasher.finalize().to_hex().to_string(),
                    },
                });
            }
        }
        sealed.push(self.seal_poses(shard)?);
        let files = sealed
            .into_iter()
            .map(|sealed| sealed.publish(disk, "shard-rename"));
        let files = files.collect::<ShardResult<Vec<_>>>()?;
        disk.sync_folder(folder, "shard-folder")?;
        let entry = Entry {
            shard,
            files,
            ok: plan.shard_len(shard) as u64,
            bad: self.job.bad_in(shard),
        };
        self.journal.append(&entry)?;
        disk.pass("journal-done");
        self.entries.push(entry);
        Ok(())
    }

    fn seal_poses(&self, shard: usize) -> ShardResult<Sealed> {
        let (plan, disk) = (self.job.plan, self.disk);
        let [first, end] = plan.shards[shard].map(|pose| pose as usize);
        let name = Kind::Keypoints.file(shard);
        let mut file = NewFile::create(disk, self.job.folder, &name)?;
        let about = About {
            skeleton: plan.skeleton.clone(),
            labels: plan.labels.clone(),
        };
        safetensors::write(&self.job.poses.slice(first..end), &about, |piece| {
            file.write(piece)
        })?;
        file.seal("poses-fsync")
    }
}

/// The hash of a folder is that of the names, lengths and hashes of its files, by name.
pub(super) fn hash_member(hasher: &mut blake3::Hasher, name: &str, length: u64, hash: &blake3::Hash) {
    hasher.update(name.as_bytes());
    hasher.update(&[0]);
    hasher.update(&length.to_le_bytes());
    hasher.update(hash.as_bytes());
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

/// Writes all poses into one tar file, without plan, journal and index; the file is there whole or not at all.
///
/// # Errors
/// As [`write`].
pub fn write_tar(
    path: &Path,
    plan: &Plan,
    poses: &Poses<'_>,
    skeleton: &Skeleton,
    threads: NonZeroUsize,
    tick: &mut dyn FnMut(u64) -> bool,
) -> ShardResult<Report> {
    let (disk, words) = (Disk::new(), Words::new(plan));
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).at(folder)?;
    poses.check(plan.labels.as_ref().map_or(0, Vec::len))?;
    let all: Vec<usize> = (0..plan.shards.len()).collect();
    let chunks = chunks(plan, &all);
    let mut file = NewFile::create(&disk, folder, &file_name(path))?;
    let done = std::cell::Cell::new((0, 0));
    in_order(
        artists(plan, skeleton, threads, chunks.len())?,
        chunks.len(),
        |artist, number| {
            artist.make(
                plan.kind,
                &poses.slice(chunks[number].poses.clone()),
                &words,
                &disk,
                None,
            )
        },
        |number, made| {
            let (poses, bytes) = done.get();
            done.set((
                poses + chunks[number].poses.len() as u64,
                bytes + made.bytes.len() as u64,
            ));
            file.write(&made.bytes)
        },
        || go_on(tick, done.get().0),
    )
    .map_err(|error| match error {
        ShardError::NoRoom { path, reason, .. } => {
            let (so_far, bytes) = done.get();
            let needed = bytes as f64 / so_far.max(1) as f64 * poses.len() as f64;
            let needed = Some(needed as u64);
            ShardError::NoRoom { path, reason, needed }
        }
        other => other,
    })?;
    file.write(&tar::END)?;
    let entry = file.seal("shard-fsync")?.publish(&disk, "shard-rename")?;
    disk.sync_folder(folder, "shard-folder")?;
    Ok(Report {
        written: 1,
        bytes: entry.bytes,
        complete: true,
        ..Report::default()
    })
}

/// What some poses take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Bytes on disk of a pose.
    pub bytes_per_pose: f64,
    /// Seconds that one thread takes for it, without the disk.
    pub seconds_per_pose: f64,
}

/// Draws up to `sample` poses, spread over all, and throws them away. The bytes are the same on every machine.
///
/// # Errors
/// As [`write`].
pub fn estimate(plan: &Plan, poses: &Poses<'_>, skeleton: &Skeleton, sample: usize) -> ShardResult<Estimate> {
    let (disk, words) = (Disk::default(), Words::new(plan));
    let mut artist = Artist::new(plan, skeleton)?;
    let number = sample.min(poses.len()).max(1);
    let begin = Instant::now();
    let mut bytes = 0;
    for k in 0..number.min(poses.len()) {
        let pose = poses.first + k * poses.len() / number;
        let made = artist.make(plan.kind, &poses.slice(pose..pose + 1), &words, &disk, None)?;
        let files: u64 = made.files.iter().map(|(_, bytes, _)| bytes).sum();
        // The buffer of PNG files is the file itself.
        bytes += if plan.kind == Kind::Png {
            files
        } else {
            made.bytes.len() as u64
        };
    }
    Ok(Estimate {
        bytes_per_pose: bytes as f64 / number as f64 + safetensors::data_len(1, poses.num_keypoints) as f64,
        seconds_per_pose: begin.elapsed().as_secs_f64() / number as f64,
    })
}

/// The journal's entries of a data set, by shard.
pub(super) type Entries = BTreeMap<usize, Entry>;
