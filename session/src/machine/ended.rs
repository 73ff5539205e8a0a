//! A worker is dead, and all that it had to say is in: what now?

use super::backoff::Next;
use super::generation::{Phase, Worker};
use super::supervisor::{Slot, Supervisor, Want};
use super::{
    Action, CauseKind, Exit, FINAL_CODES, GAVE_UP_CODE, Generation, Jitter, Notice, Restarts, Time,
};

impl Supervisor {
    /// The worker is dead and everything it had to say is in: what now?
    pub(super) fn ended(&mut self, now: Time, generation: Generation, out: &mut Vec<Action>) {
        if self.beside.is(generation) {
            self.companion_ended(now, out);
        } else {
            self.active_ended(now, out);
        }
    }

    fn active_ended(&mut self, now: Time, out: &mut Vec<Action>) {
        let Slot::Occupied(worker) = std::mem::replace(&mut self.slot, Slot::Empty) else {
            return;
        };
        let Phase::Dead { exit, jitter, .. } = worker.phase else {
            return;
        };
        match (self.want, worker.crash()) {
            (Want::Stop(_) | Want::Finished, crash) => {
                report(&worker, crash, out);
                self.finish_if_over(out);
            }
            (Want::Run, None) => self.replace(now, out),
            (Want::Run, crash @ Some(cause)) => match self.final_code(exit, cause) {
                Some(Final { code, is_crash }) => {
                    report(&worker, crash.filter(|_| is_crash), out);
                    out.push(Action::Tell(Notice::EndedByItself { exit }));
                    self.close(now, code, out);
                }
                None => {
                    report(&worker, crash, out);
                    let stable = worker
                        .ready_for
                        .is_some_and(|ready_for| ready_for >= self.policy.backoff.stable);
                    self.back_off(now, stable, jitter, out);
                }
            },
        }
    }

    /// Does the session end with this worker, and with which code?
    fn final_code(&self, exit: Exit, cause: CauseKind) -> Option<Final> {
        let by_itself = cause == CauseKind::Exit;
        if let Exit::Code(code) = exit
            && by_itself
            && !self.ever_ready
            && FINAL_CODES.contains(&code)
        {
            return Some(Final {
                code,
                is_crash: false,
            });
        }
        match self.policy.restarts {
            Restarts::Always => None,
            Restarts::OnFailure if by_itself && exit == Exit::Code(0) => Some(Final {
                code: 0,
                is_crash: false,
            }),
            Restarts::OnFailure => None,
            Restarts::Never => Some(Final {
                code: shell_code(exit),
                is_crash: !(by_itself && exit == Exit::Code(0)),
            }),
        }
    }

    pub(super) fn back_off(
        &mut self,
        now: Time,
        stable: bool,
        jitter: Jitter,
        out: &mut Vec<Action>,
    ) {
        let policy = &self.policy;
        match self
            .failures
            .count(now, stable, &policy.backoff, policy.limit, jitter)
        {
            Next::GiveUp { failures, within } => {
                out.push(Action::Tell(Notice::GaveUp { failures, within }));
                self.close(now, GAVE_UP_CODE, out);
            }
            Next::Restart { delay } if delay.is_zero() || self.beside.has_heir() => {
                self.replace(now, out);
            }
            Next::Restart { delay } => {
                out.push(Action::Tell(Notice::RestartingIn { delay }));
                self.slot = Slot::BackingOff { until: now + delay };
            }
        }
    }

    /// By the worker that is starting already, if there is one.
    pub(super) fn replace(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.promote(now, out) {
            out.push(Action::Tell(Notice::RestartingAtOnce));
            self.spawn(out);
        }
    }
}

/// How a session ends with its worker.
struct Final {
    code: u8,
    is_crash: bool,
}

pub(super) fn report(worker: &Worker, crash: Option<CauseKind>, out: &mut Vec<Action>) {
    let generation = worker.generation;
    out.extend(crash.map(|cause| Action::Report { generation, cause }));
}

fn shell_code(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => number.saturating_add(128),
        Exit::Unknown => 1,
    }
}
