//! Shards on their way to the disk: open, sealed, published, in the journal.

use super::chunks::Chunk;
use super::disk::{Disk, NewFile, Sealed, Temporary};
use super::error::{At, ShardResult};
use super::journal::{Entry, FileEntry, Journal};
use super::npy;
use super::plan::Kind;
use super::safetensors::{self, About};
use super::sample::Made;
use super::tar;
use super::write::Job;

/// Puts chunks into the files of their shards, and finished shards into the journal.
pub(super) struct Publisher<'a, 'd> {
    job: &'a Job<'a>,
    disk: &'d Disk,
    journal: Journal<'d>,
    open: Option<Body<'d>>,
    pub(super) entries: Vec<Entry>,
    /// Bytes and poses so far, those of chunks that failed to be written among them.
    pub(super) bytes: u64,
    pub(super) poses: u64,
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

impl<'a, 'd> Publisher<'a, 'd> {
    pub(super) fn new(job: &'a Job<'a>, disk: &'d Disk, journal: Journal<'d>) -> Self {
        Self {
            job,
            disk,
            journal,
            open: None,
            entries: Vec::new(),
            bytes: 0,
            poses: 0,
        }
    }

    /// Takes the next chunk; the last one of a shard publishes it.
    pub(super) fn take(&mut self, chunk: &Chunk, made: &Made) -> ShardResult<()> {
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
        disk.pass("journal-done").at(folder)?;
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
