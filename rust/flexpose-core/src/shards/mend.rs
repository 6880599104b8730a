//! Mending a data set: take away what is torn, so that it can be written again, or leave it out for good.

use std::path::Path;

use serde::Serialize;

use super::check::{torn, Problem};
use super::disk::{remove, Disk};
use super::error::ShardResult;
use super::index::{self, Index};
use super::journal;
use super::lock::Lock;
use super::plan::Plan;
use super::write::{publish_index, sweep};

/// What was done to a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// Temporary files that were removed.
    pub swept: Vec<String>,
    /// Shards that were torn; their files are removed.
    pub torn: Vec<Problem>,
    /// Shards that are to be written by a resumed run.
    pub missing: Vec<usize>,
    /// Whether there is an index now.
    pub complete: bool,
}

/// Removes temporary files and torn shards, and writes the index if nothing is missing.
///
/// # Errors
/// [`super::ShardError::Busy`] if somebody writes here.
pub fn sweep_and_index(folder: &Path) -> ShardResult<Mended> {
    let (plan, disk) = (Plan::read(folder)?, Disk::new());
    let all = 0..plan.shards.len();
    let _lock = Lock::take(folder, &all, plan.shards.len())?;
    let swept = sweep(folder, &plan, &all)?;
    let entries = journal::read_all(folder, &plan)?;
    let torn = torn(folder, &plan, &entries)?;
    let lost: Vec<usize> = torn.iter().filter_map(|problem| problem.shard).collect();
    // The index goes first: without it nobody takes the data set for whole while it is not.
    let index_fits = index::is_there(folder) && Index::read(folder, &plan).is_ok();
    if !lost.is_empty() || !index_fits {
        remove(&folder.join(index::INDEX))?;
    }
    journal::forget(&disk, folder, &plan, &lost)?;
    for &shard in &lost {
        for file in plan.kind.files(shard) {
            remove(&folder.join(file))?;
        }
    }
    let dropped = index_fits && lost.is_empty();
    let missing = if dropped {
        Vec::new()
    } else {
        publish_index(&disk, folder, &plan)?
    };
    Ok(Mended {
        swept,
        torn,
        complete: missing.is_empty(),
        missing,
    })
}

/// Gives up the shards that are missing: the index has those that are there.
///
/// # Errors
/// [`super::ShardError::Busy`] if somebody writes here.
pub fn drop_torn(folder: &Path) -> ShardResult<Mended> {
    let mut mended = sweep_and_index(folder)?;
    let (plan, disk) = (Plan::read(folder)?, Disk::new());
    let _lock = Lock::take(folder, &(0..plan.shards.len()), plan.shards.len())?;
    if !mended.complete {
        Index::new(&plan, &journal::read_all(folder, &plan)?).publish(&disk, folder)?;
        mended.complete = true;
    }
    Ok(mended)
}
