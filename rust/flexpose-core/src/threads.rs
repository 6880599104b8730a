//! Work over many images, on threads that live no longer than the call.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use rayon::prelude::*;
use rayon::ThreadPoolBuilder;

use crate::error::{Error, Result};

/// Number of threads for `num_items` items: what was asked for, else what the affinity mask and the
/// cgroup quota of this process allow; never more than there are items.
#[must_use]
pub fn num_threads(workers: Option<NonZeroUsize>, num_items: usize) -> usize {
    let wanted = workers.or_else(|| available_parallelism().ok());
    wanted.map_or(1, NonZeroUsize::get).min(num_items).max(1)
}

/// Runs `work` in a rayon pool of `threads` threads, or on the caller's thread when that is one.
///
/// There is no global pool: its threads would not exist in a forked child, which would wait for them
/// for ever. All threads have ended when this returns.
///
/// # Errors
/// [`Error::Threads`] if the system starts no thread.
fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_scoped(rayon::ThreadBuilder::run, |pool| pool.install(work))
        .map_err(|err| Error::Threads {
            workers: threads,
            reason: std::io::Error::other(err),
        })
}

/// Calls `work(index, chunk)` for every `chunk_len` elements of `buffer`, each exactly once.
///
/// # Errors
/// [`Error::Threads`] if the system starts no thread.
pub(crate) fn for_each_chunk<T: Send>(
    buffer: &mut [T],
    chunk_len: usize,
    workers: Option<NonZeroUsize>,
    work: impl Fn(usize, &mut [T]) + Sync + Send,
) -> Result<()> {
    let threads = num_threads(workers, buffer.len() / chunk_len.max(1));
    if threads == 1 {
        for (index, chunk) in buffer.chunks_mut(chunk_len).enumerate() {
            work(index, chunk);
        }
        return Ok(());
    }
    in_pool(threads, || {
        let chunks = buffer.par_chunks_mut(chunk_len).enumerate();
        chunks.for_each(|(index, chunk)| work(index, chunk));
    })
}
