//! A place for one value, which threads wait for until a deadline: no queue, and so no channel.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Slot<T> {
    inside: Mutex<Inside<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Inside<T> {
    value: Option<T>,
    /// To wake nobody costs a system call, which a value that nobody waits for should not.
    waiting: usize,
}

impl<T> Slot<T> {
    pub(crate) fn empty() -> Slot<T> {
        Slot::with(None)
    }

    pub(crate) fn full(value: T) -> Slot<T> {
        Slot::with(Some(value))
    }

    fn with(value: Option<T>) -> Slot<T> {
        Slot {
            inside: Mutex::new(Inside { value, waiting: 0 }),
            filled: Condvar::new(),
        }
    }

    /// For the first of those who wait, or the next that comes. The value takes the place of one
    /// that nobody has taken.
    pub(crate) fn put(&self, value: T) {
        let mut inside = self.lock();
        inside.value = Some(value);
        let is_awaited = inside.waiting > 0;
        // Whoever wakes wants the lock.
        drop(inside);
        if is_awaited {
            self.filled.notify_one();
        }
    }

    /// `None`: there was no value in time.
    pub(crate) fn take(&self, within: Duration) -> Option<T> {
        let mut inside = self.lock();
        if inside.value.is_none() {
            inside.waiting += 1;
            let empty = |inside: &mut Inside<T>| inside.value.is_none();
            let waited = self.filled.wait_timeout_while(inside, within, empty);
            (inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
            inside.waiting -= 1;
        }
        inside.value.take()
    }

    fn lock(&self) -> MutexGuard<'_, Inside<T>> {
        // Nothing can panic while the lock is held, so what is inside is whole in any case.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn a_value_is_taken_once() {
        let slot = Slot::full(1);
        assert_eq!(slot.take(Duration::ZERO), Some(1));
        assert_eq!(slot.take(Duration::from_millis(1)), None);
        slot.put(2);
        assert_eq!(slot.take(Duration::MAX), Some(2));
    }

    #[test]
    fn each_of_those_who_wait_gets_one_value() {
        const TAKERS: u32 = 8;
        let (slot, passed) = (Slot::empty(), Slot::empty());
        thread::scope(|scope| {
            for _ in 0..TAKERS {
                // As the turn to write is handed on: taken, and put back for the next.
                scope.spawn(|| {
                    let count: u32 = slot.take(SOON).unwrap();
                    slot.put(count + 1);
                    if count + 1 == TAKERS {
                        passed.put(count + 1);
                    }
                });
            }
            slot.put(0);
        });
        assert_eq!(passed.take(SOON), Some(TAKERS));
    }
}
