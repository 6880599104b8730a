//! Work over many images, on threads that live no longer than the call.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use crate::error::{Error, Result};

/// Number of threads for `num_items` items: what was asked for, else what the affinity mask and the
/// cgroup quota of this process allow; never more than there are items.
#[must_use]
pub fn num_threads(workers: Option<NonZeroUsize>, num_items: usize) -> usize {
    let wanted = workers.or_else(|| available_parallelism().ok());
    wanted.map_or(1, NonZeroUsize::get).min(num_items).max(1)
}

/// Calls `work(index, chunk)` for every `chunk_len` elements of `buffer`, each exactly once.
///
/// # Errors
/// [`Error::Threads`] if the system starts no thread.
pub(crate) fn for_each_chunk<T: Send>(
    buffer: &mut [T],
    chunk_len: usize,
    workers: Option<NonZeroUsize>,
    work: impl Fn(usize, &mut [T]) + Sync,
) -> Result<()> {
    for_each_chunk_with(
        buffer,
        chunk_len,
        workers,
        || (),
        |(), index, chunk| work(index, chunk),
    )
}

/// As [`for_each_chunk`], with something that every thread makes for itself and keeps from chunk to chunk.
///
/// The caller's thread works as well, and one thread starts no other. There is no pool that outlives the call: its
/// threads would not exist in a forked child, which would wait for them for ever. Whoever is free takes the next
/// chunk.
///
/// # Errors
/// [`Error::Threads`] if the system starts no thread; some chunks may have been worked on.
pub(crate) fn for_each_chunk_with<T: Send, Own>(
    buffer: &mut [T],
    chunk_len: usize,
    workers: Option<NonZeroUsize>,
    own: impl Fn() -> Own + Sync,
    work: impl Fn(&mut Own, usize, &mut [T]) + Sync,
) -> Result<()> {
    let threads = num_threads(workers, buffer.len().div_ceil(chunk_len));
    let chunks = Mutex::new(buffer.chunks_mut(chunk_len).enumerate());
    let take = || chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut own = own();
        while let Some((index, chunk)) = take() {
            work(&mut own, index, chunk);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            if let Err(reason) = thread::Builder::new().spawn_scoped(scope, run) {
                while take().is_some() {} // those that have started need not finish
                return Err(Error::Threads {
                    workers: threads,
                    reason,
                });
            }
        }
        run();
        Ok(())
    })
}
