//! The work of a data set in pieces that a thread makes at a time.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::error::ShardResult;
use super::plan::{Kind, Plan};
use super::sample::Artist;
use crate::raster::Skeleton;

/// Bytes and poses that a thread makes at a time; the bytes of the data set do not depend on it.
const CHUNK_BYTES: usize = 1 << 18;
const CHUNK_POSES: usize = 64;

/// The poses that are made together: a shard and a stretch of its poses.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) shard: usize,
    pub(super) poses: Range<usize>,
}

pub(super) fn chunks(plan: &Plan, shards: &[usize]) -> Vec<Chunk> {
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

/// As many as there is work for.
pub(super) fn artists<'a>(
    plan: &Plan,
    skeleton: &'a Skeleton,
    threads: NonZeroUsize,
    chunks: usize,
) -> ShardResult<Vec<Artist<'a>>> {
    let threads = threads.get().min(chunks.max(1));
    (0..threads).map(|_| Artist::new(plan, skeleton)).collect()
}
