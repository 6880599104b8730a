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

/// Calls `work(state, index, chunk)` for every `chunk_len` elements of `buffer`, each exactly once.
///
/// `state` makes what a thread may reuse from one chunk to the next; the result must not depend on it.
///
/// # Errors
/// [`Error::Threads`] if the system starts no thread.
pub(crate) fn for_each_chunk<T: Send, S>(
    buffer: &mut [T],
    chunk_len: usize,
    workers: Option<NonZeroUsize>,
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
) -> Result<()> {
    let threads = num_threads(workers, buffer.len() / chunk_len.max(1));
    if threads == 1 {
        let mut state = state();
        for (index, chunk) in buffer.chunks_mut(chunk_len).enumerate() {
            work(&mut state, index, chunk);
        }
        return Ok(());
    }
    in_pool(threads, || {
        buffer
            .par_chunks_mut(chunk_len)
            .enumerate()
            .for_each_init(state, |state, (index, chunk)| work(state, index, chunk));
    })
}
