//! How the session ends: once, and nothing makes a stop gentler.

use super::generation::Phase;
use super::supervisor::{Slot, Stop, Supervisor, Want};
use super::{
    Action, Asker, HANDLERS_BEYOND_GRACE, HANDLERS_FORCED, How, Leaving, Notice, SIGNAL_DEBOUNCE,
    Time, UNKILLABLE_CODE,
};

impl Supervisor {
    pub(super) fn stop(
        &mut self,
        now: Time,
        how: How,
        code: u8,
        asker: Asker,
        out: &mut Vec<Action>,
    ) {
        match self.want {
            Want::Run => {
                out.push(Action::Tell(Notice::Stopping { how }));
                self.accept_stop(now, how, code, out);
            }
            Want::Stop(stop) => self.escalate(now, stop, how, asker, out),
            Want::Finished => {}
        }
    }

    /// The session ends without its worker, which is gone already.
    pub(super) fn close(&mut self, now: Time, code: u8, out: &mut Vec<Action>) {
        self.accept_stop(now, How::Clean, code, out);
    }

    fn accept_stop(&mut self, now: Time, how: How, code: u8, out: &mut Vec<Action>) {
        let within = match how {
            How::Clean => self.policy.grace + HANDLERS_BEYOND_GRACE,
            How::Force => HANDLERS_FORCED,
        };
        self.want = Want::Stop(Stop {
            how,
            code,
            accepted: now,
            handlers: Some(now + within),
        });
        out.push(Action::RunExitHandlers { within });
        if let Slot::BackingOff { .. } = self.slot {
            self.slot = Slot::Empty;
        }
        self.all_leave(now, how, out);
        self.finish_if_over(out);
    }

    /// A second request makes a stop a forced one; none makes it gentler.
    fn escalate(&mut self, now: Time, stop: Stop, how: How, asker: Asker, out: &mut Vec<Action>) {
        let same_request = match asker {
            Asker::Signal => now < stop.accepted + SIGNAL_DEBOUNCE,
            // The exit handlers of a worker may well ask for what is happening already. A terminal
            // goes away once and is told of twice: by its shell, which hands the hang-up on, and
            // by the system, when that shell has ended in its own time.
            Asker::Worker | Asker::HangUp => how == How::Clean,
            Asker::Operator => false,
        };
        if same_request || stop.how == How::Force {
            return;
        }
        out.push(Action::Tell(Notice::Forcing));
        let forced = now + HANDLERS_FORCED;
        let handlers = stop.handlers.map(|deadline| deadline.min(forced));
        self.want = Want::Stop(Stop {
            how: How::Force,
            handlers,
            ..stop
        });
        self.all_leave(now, How::Force, out);
        self.finish_if_over(out);
    }

    fn all_leave(&mut self, now: Time, how: How, out: &mut Vec<Action>) {
        if let Slot::Occupied(worker) = &mut self.slot {
            worker.leave(now, Leaving::Stop, how, &self.policy, out);
        }
        if let Some(worker) = self.beside.worker_mut() {
            worker.leave(now, Leaving::Stop, how, &self.policy, out);
        }
    }

    pub(super) fn handlers_done(&mut self, out: &mut Vec<Action>) {
        match &mut self.want {
            Want::Run | Want::Finished => {}
            Want::Stop(stop) => {
                stop.handlers = None;
                self.finish_if_over(out);
            }
        }
    }

    /// A stop is over when the monitor's handlers are done and no worker is left that could be
    /// waited for.
    pub(super) fn finish_if_over(&mut self, out: &mut Vec<Action>) {
        let Want::Stop(stop) = self.want else { return };
        if stop.handlers.is_some() {
            return;
        }
        let active = match &self.slot {
            Slot::Empty => None,
            Slot::BackingOff { .. } => return,
            Slot::Occupied(worker) => Some(worker),
        };
        let mut code = stop.code;
        for worker in active.into_iter().chain(self.beside.worker()) {
            if worker.phase != Phase::Unkillable {
                return;
            }
            code = UNKILLABLE_CODE;
        }
        self.want = Want::Finished;
        out.push(Action::Finish { code });
    }
}
