//! What a data set will take.

use std::time::Instant;

use serde::Serialize;

use super::disk::Disk;
use super::error::ShardResult;
use super::plan::{Kind, Plan};
use super::poses::Poses;
use super::safetensors;
use super::sample::{Artist, Words};
use crate::raster::Skeleton;

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
