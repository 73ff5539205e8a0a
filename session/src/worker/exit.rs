//! Exit handlers: each runs at most once, on a thread of its own, isolated from the others.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::report::ExitReason;
use crate::thread;

/// Each takes a thread when the process ends, all at the same time.
pub(super) const MAX_EXIT_HANDLERS: usize = 64;

type Handler = Box<dyn FnOnce(&ExitReason) + Send>;

/// Hears of the handlers.
pub(super) trait Observer: Send + Sync {
    /// One failed; this is how. Comes before its end.
    fn failed(&self, how: String);
    /// One is counted as running no more.
    fn ended(&self);
}

/// The exit handlers of this process.
pub(super) struct ExitHandlers {
    /// `None` once they were started: there is no second time, and no way back.
    waiting: Mutex<Option<Vec<Handler>>>,
    running: Arc<AtomicUsize>,
}

impl ExitHandlers {
    pub(super) fn new() -> ExitHandlers {
        ExitHandlers {
            waiting: Mutex::new(Some(Vec::new())),
            running: Arc::default(),
        }
    }

    pub(super) fn add(&self, handler: Handler) -> Result<()> {
        let mut waiting = self.lock();
        let handlers = waiting.as_mut().ok_or(Error::Stopping)?;
        if handlers.len() >= MAX_EXIT_HANDLERS {
            return Err(Error::Invalid(format!(
                "expected at most {MAX_EXIT_HANDLERS} exit handlers, found one more: let one \
                 handler do the work of several"
            )));
        }
        handlers.push(handler);
        Ok(())
    }

    /// Starts them all, together. A second call starts nothing.
    pub(super) fn start(&self, reason: &ExitReason, observer: &Arc<dyn Observer>) {
        let Some(handlers) = self.lock().take() else {
            return;
        };
        self.running.store(handlers.len(), Ordering::SeqCst);
        for (at, handler) in handlers.into_iter().enumerate() {
            let duty = Duty {
                number: at + 1,
                running: Arc::clone(&self.running),
                observer: Arc::clone(observer),
            };
            duty.start(handler, reason.clone());
        }
    }

    /// How many have not ended yet.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Handler>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ExitHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitHandlers")
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

/// One handler that is owed an end.
struct Duty {
    number: usize,
    running: Arc<AtomicUsize>,
    observer: Arc<dyn Observer>,
}

thread_local! {
    /// The duty of this thread, if it runs an exit handler that has not ended.
    static DUTY: Cell<Option<Duty>> = const { Cell::new(None) };
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
}

impl Duty {
    fn start(self, handler: Handler, reason: ExitReason) {
        let number = self.number;
        let (running, observer) = (Arc::clone(&self.running), Arc::clone(&self.observer));
        let spawned = thread::start(&format!("session-exit-{number}"), move || {
            self.run(handler, &reason);
        });
        if let Err(error) = spawned {
            let unstarted = Duty {
                number,
                running,
                observer,
            };
            unstarted.end(Some(&format!("could not be started: {error}")));
        }
    }

    fn run(self, handler: Handler, reason: &ExitReason) {
        IN_HANDLER.set(true);
        DUTY.set(Some(self));
        let outcome = catch_unwind(AssertUnwindSafe(|| handler(reason)));
        if let Some(duty) = DUTY.take() {
            match &outcome {
                Ok(()) => duty.end(None),
                Err(payload) => duty.end(Some(&panicked(&message_of(&**payload)))),
            }
        }
    }

    fn end(self, failure: Option<&str>) {
        if let Some(why) = failure {
            let how = format!("exit handler {} {why}", self.number);
            self.observer.failed(how);
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.observer.ended();
    }
}

/// Does this thread run an exit handler?
pub(super) fn in_handler() -> bool {
    IN_HANDLER.get()
}

/// This thread's handler panicked and will not come back from it.
pub(super) fn abandon_handler(message: &str) {
    if let Some(duty) = DUTY.take() {
        duty.end(Some(&panicked(message)));
    }
}

fn panicked(message: &str) -> String {
    format!("panicked: {message}")
}

/// The text of a panic, where it has one.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::{Duration, Instant};

    use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Sends `Some` for a failure, `None` for an end.
    struct Told(Sender<Option<String>>);

    impl Observer for Told {
        fn failed(&self, how: String) {
            self.0.send(Some(how)).unwrap();
        }

        fn ended(&self) {
            self.0.send(None).unwrap();
        }
    }

    fn observed() -> (Arc<dyn Observer>, Receiver<Option<String>>) {
        let (sender, ends) = unbounded();
        (Arc::new(Told(sender)), ends)
    }

    #[test]
    fn all_start_together_with_the_reason_and_run_once() {
        let handlers = ExitHandlers::new();
        let (observer, ends) = observed();
        let (sender, ran) = unbounded();
        let together = Arc::new(Barrier::new(MAX_EXIT_HANDLERS));
        for _ in 0..MAX_EXIT_HANDLERS {
            let (sender, together) = (sender.clone(), Arc::clone(&together));
            handlers
                .add(Box::new(move |reason| {
                    together.wait();
                    sender.send(reason.clone()).unwrap();
                }))
                .unwrap();
        }
        drop(sender);
        handlers.start(&ExitReason::Restart, &observer);
        handlers.start(&ExitReason::Finished, &observer);
        let mut times = 0;
        while let Ok(reason) = ran.recv_timeout(PATIENCE) {
            assert_eq!(reason, ExitReason::Restart);
            times += 1;
        }
        assert_eq!(times, MAX_EXIT_HANDLERS);
        for _ in 0..MAX_EXIT_HANDLERS {
            assert_eq!(ends.recv_timeout(PATIENCE), Ok(None));
        }
        assert_eq!(handlers.running(), 0);
    }

    #[test]
    fn a_panic_stops_no_other_and_is_told() {
        let handlers = ExitHandlers::new();
        let (observer, ends) = observed();
        handlers.add(Box::new(|_| panic!("no disk"))).unwrap();
        handlers.add(Box::new(|_| ())).unwrap();
        handlers
            .add(Box::new(|_| std::panic::panic_any(7)))
            .unwrap();
        handlers.start(&ExitReason::Finished, &observer);
        let mut told: Vec<_> = (0..5)
            .map(|_| ends.recv_timeout(PATIENCE).unwrap())
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                None,
                None,
                None,
                Some("exit handler 1 panicked: no disk".into()),
                Some("exit handler 3 panicked: a panic without a text".into()),
            ]
        );
        assert_eq!(handlers.running(), 0);
    }

    #[test]
    fn one_that_hangs_is_counted_until_its_deadline() {
        let handlers = ExitHandlers::new();
        let (observer, ends) = observed();
        let (release, released) = unbounded::<()>();
        handlers
            .add(Box::new(move |_| {
                let _ = released.recv();
            }))
            .unwrap();
        handlers.add(Box::new(|_| ())).unwrap();
        handlers.start(&ExitReason::Finished, &observer);
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(None));
        let deadline = Instant::now() + Duration::from_millis(20);
        let hung = ends.recv_deadline(deadline);
        assert_eq!(hung, Err(RecvTimeoutError::Timeout));
        assert_eq!(handlers.running(), 1);
        drop(release);
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(None));
        assert_eq!(handlers.running(), 0);
    }

    #[test]
    fn none_is_added_once_they_started() {
        let handlers = ExitHandlers::new();
        let (observer, _ends) = observed();
        handlers.start(&ExitReason::Finished, &observer);
        let late = handlers.add(Box::new(|_| ()));
        assert!(matches!(late, Err(Error::Stopping)));
        assert_eq!(handlers.running(), 0);
    }

    #[test]
    fn their_number_has_a_bound() {
        let handlers = ExitHandlers::new();
        for at in 0..10 * MAX_EXIT_HANDLERS {
            let added = handlers.add(Box::new(|_| ()));
            assert_eq!(added.is_ok(), at < MAX_EXIT_HANDLERS, "handler {at}");
        }
    }

    #[test]
    fn a_handler_that_is_abandoned_ends_once() {
        let handlers = ExitHandlers::new();
        let (observer, ends) = observed();
        handlers
            .add(Box::new(|_| {
                assert!(in_handler());
                abandon_handler("no disk");
            }))
            .unwrap();
        handlers.start(&ExitReason::Finished, &observer);
        let told = ends.recv_timeout(PATIENCE).unwrap();
        assert_eq!(told, Some("exit handler 1 panicked: no disk".into()));
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(None));
        // The end of its thread is no second end of the handler.
        assert!(ends.recv_timeout(Duration::from_millis(20)).is_err());
        assert_eq!(handlers.running(), 0);
        assert!(!in_handler());
    }
}
