//! All poses in one tar file.

use std::num::NonZeroUsize;
use std::path::Path;

use super::chunks::{artists, chunks};
use super::disk::{file_name, Disk, NewFile};
use super::error::{At, ShardError, ShardResult};
use super::ordered::in_order;
use super::plan::Plan;
use super::poses::Poses;
use super::sample::Words;
use super::tar;
use super::write::{go_on, Report};
use crate::raster::Skeleton;

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
