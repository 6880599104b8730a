//! Work on several threads, its results in order on one.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often `tick` is called at least while there is nothing else to do.
const TICK: Duration = Duration::from_millis(50);

struct State<T> {
    /// Next item that nobody has begun.
    begun: usize,
    /// Next item that `take` has not seen.
    taken: usize,
    made: BTreeMap<usize, T>,
    stop: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// An item was made, or a thread gave up.
    made: Condvar,
    /// There is room for another item, or it is over.
    room: Condvar,
}

impl<T> Shared<T> {
    /// The next item to be made, as soon as there is room for it; None when it is over.
    fn next(&self, count: usize, window: usize) -> Option<usize> {
        let mut now = self.lock();
        while !now.stop && now.begun < count && now.begun >= now.taken + window {
            now = self.room.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        if now.stop || now.begun == count {
            return None;
        }
        now.begun += 1;
        Some(now.begun - 1)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing is done under the lock that could leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends all threads when it goes away: always, or only if its own thread panics.
struct Stop<'a, T> {
    shared: &'a Shared<T>,
    always: bool,
}

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        if self.always || std::thread::panicking() {
            self.shared.lock().stop = true;
            self.shared.room.notify_all();
            self.shared.made.notify_all();
        }
    }
}

/// Calls `take(i, make(i))` for each `i` below `count`: `make` on as many threads as there are `workers` (each gets one
/// of them to keep), `take` in order and on this thread, which makes items as well when the next one is not there yet.
/// At most two items a thread are finished and not taken, so memory is bounded. `tick` is called between items.
///
/// # Errors
/// The first error of `take` or `tick`, or that of `make` whose item comes first.
pub(super) fn in_order<W: Send, T: Send, E: Send>(
    mut workers: Vec<W>,
    count: usize,
    make: impl Fn(&mut W, usize) -> Result<T, E> + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
    mut tick: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    let window = 2 * workers.len();
    let shared: Shared<Result<T, E>> = Shared {
        state: Mutex::new(State {
            begun: 0,
            taken: 0,
            made: BTreeMap::new(),
            stop: false,
        }),
        made: Condvar::new(),
        room: Condvar::new(),
    };
    let (shared, make) = (&shared, &make);
    let work = move |mut worker: W| {
        let _stop = Stop {
            shared,
            always: false,
        };
        while let Some(item) = shared.next(count, window) {
            let result = make(&mut worker, item);
            shared.lock().made.insert(item, result);
            shared.made.notify_one();
        }
    };
    let Some(mut own) = workers.pop() else {
        return Ok(());
    };
    std::thread::scope(|scope| {
        let _stop = Stop { shared, always: true };
        for worker in workers.into_iter().take(count.saturating_sub(1)) {
            scope.spawn(move || work(worker));
        }
        for item in 0..count {
            let result = loop {
                tick()?;
                let mut now = shared.lock();
                if let Some(result) = now.made.remove(&item) {
                    now.taken = item + 1;
                    break result;
                }
                if now.stop {
                    return Ok(()); // a thread panicked, which the scope passes on
                }
                if now.begun < count && now.begun < now.taken + window {
                    let mine = now.begun;
                    now.begun += 1;
                    drop(now);
                    let result = make(&mut own, mine);
                    shared.lock().made.insert(mine, result);
                } else {
                    let waited = shared.made.wait_timeout(now, TICK);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
            };
            shared.room.notify_all();
            take(item, result?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 5, 40] {
            let mut seen = Vec::new();
            let made = in_order(
                vec![0_u64; threads],
                200,
                |calls, item| {
                    *calls += 1;
                    std::thread::sleep(std::time::Duration::from_micros(item as u64 * 7919 % 97));
                    Ok::<_, ()>(item * item)
                },
                |item, square| {
                    seen.push((item, square));
                    Ok(())
                },
                || Ok(()),
            );
            assert_eq!(made, Ok(()));
            assert_eq!(seen, (0..200).map(|i| (i, i * i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_ends_it() {
        for threads in [1, 3] {
            let mut taken = 0;
            let make = |(): &mut (), item| if item == 20 { Err("made") } else { Ok(item) };
            let take = |_, _| {
                taken += 1;
                Ok(())
            };
            assert_eq!(
                in_order(vec![(); threads], 1000, make, take, || Ok(())),
                Err("made")
            );
            assert_eq!(taken, 20);
            let stop = in_order(
                vec![(); threads],
                1000,
                |(), _| Ok(()),
                |_, ()| Ok(()),
                || Err("stopped"),
            );
            assert_eq!(stop, Err("stopped"));
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_passed_on() {
        let main = std::thread::current().id();
        let make = |(): &mut (), item| {
            assert!(std::thread::current().id() == main, "on purpose");
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok::<_, ()>(item)
        };
        let _ = in_order(vec![(); 3], 10_000, make, |_, _| Ok(()), || Ok(()));
    }
}
