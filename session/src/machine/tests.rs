//! The supervisor's tests. `Sim` is a session whose clock and world are in the test's hands.

mod backoff;
mod chance;
mod death;
mod explore;
mod health;
mod pairs;
mod pairs_reload;
mod reload;
mod restart;
mod stop;
mod witness;

use std::time::Duration;

use super::*;

const GRACE: Duration = secs(10);
const INTERVAL: Duration = secs(60);
const TIMEOUT: Duration = secs(3);
const STARTUP: Duration = secs(30);
const MIN: Duration = ms(100);
const MAX: Duration = ms(1600);
const STABLE: Duration = secs(10);
/// No swing at all.
const MIDDLE: Jitter = Jitter(u16::MAX / 2 + 1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Ready by its own word and not probed, restarted always, without jitter and without limit.
fn policy() -> Policy {
    Policy {
        readiness: Readiness::Call,
        startup_timeout: STARTUP,
        grace: GRACE,
        polling: None,
        tolerance: 0,
        restarts: Restarts::Always,
        backoff: Backoff {
            min: MIN,
            max: MAX,
            jitter_permille: 0,
            stable: STABLE,
        },
        limit: None,
    }
}

/// Ready by its first healthy probe.
fn probing() -> Policy {
    Policy {
        readiness: Readiness::Probe,
        polling: Some(Polling {
            interval: INTERVAL,
            timeout: TIMEOUT,
        }),
        ..policy()
    }
}

#[derive(Clone)]
struct Sim {
    supervisor: Supervisor,
    now: Time,
}

impl Sim {
    /// In `Spawning`, at a time that is not 0.
    #[track_caller]
    fn new(policy: Policy) -> Sim {
        let (supervisor, actions) = Supervisor::start(policy);
        assert_eq!(actions, [Action::Spawn { generation: 1 }]);
        Sim {
            supervisor,
            now: secs(1000),
        }
    }

    fn handshaking(policy: Policy) -> Sim {
        let mut sim = Sim::new(policy);
        sim.event(spawned(1), &[tell(Notice::Spawned { generation: 1 })]);
        sim
    }

    fn starting(policy: Policy) -> Sim {
        let mut sim = Sim::handshaking(policy);
        sim.event(hello(1), &[]);
        assert_eq!(sim.state(), State::Starting);
        sim
    }

    /// In `Ready`, with no probe in flight.
    fn ready(policy: Policy) -> Sim {
        let mut sim = Sim::new(policy);
        sim.make_ready();
        sim
    }

    fn draining(policy: Policy) -> Sim {
        let mut sim = Sim::ready(policy);
        sim.quietly(restart(How::Clean));
        assert_eq!(sim.state(), State::Draining);
        sim
    }

    fn terminating(policy: Policy) -> Sim {
        let mut sim = Sim::draining(policy);
        sim.pass(policy.grace);
        assert_eq!(sim.state(), State::Terminating);
        sim
    }

    fn killing(policy: Policy) -> Sim {
        let mut sim = Sim::ready(policy);
        sim.quietly(restart(How::Force));
        assert_eq!(sim.state(), State::Killing);
        sim
    }

    fn unkillable(policy: Policy) -> Sim {
        let mut sim = Sim::killing(policy);
        sim.pass(REAP);
        assert_eq!(sim.state(), State::Unkillable);
        sim
    }

    fn dead(policy: Policy) -> Sim {
        let mut sim = Sim::ready(policy);
        sim.quietly(exited(1, Exit::Code(1)));
        assert_eq!(sim.state(), State::Dead);
        sim
    }

    fn backing_off(policy: Policy) -> Sim {
        let mut sim = Sim::dead(policy);
        sim.quietly(closed(1));
        assert_eq!(sim.state(), State::BackingOff);
        sim
    }

    fn closing(policy: Policy) -> Sim {
        let mut sim = Sim::backing_off(policy);
        sim.quietly(operator_stop(How::Clean));
        assert_eq!(sim.state(), State::Closing);
        sim
    }

    fn finished(policy: Policy) -> Sim {
        let mut sim = Sim::closing(policy);
        sim.event(Event::HandlersDone, &[Action::Finish { code: 0 }]);
        assert_eq!(sim.state(), State::Finished);
        sim
    }

    fn state(&self) -> State {
        self.supervisor.state()
    }

    fn generation(&self) -> Generation {
        self.supervisor.snapshot().generation
    }

    #[track_caller]
    fn event(&mut self, event: Event, want: &[Action]) {
        let found = self.supervisor.handle(self.now, event);
        assert_eq!(found, want, "after {event:?} at {:?}", self.now);
    }

    fn quietly(&mut self, event: Event) -> Vec<Action> {
        self.supervisor.handle(self.now, event)
    }

    /// Lets `duration` pass, deadline by deadline.
    #[track_caller]
    fn advance(&mut self, duration: Duration, want: &[Action]) {
        let found = self.pass(duration);
        assert_eq!(found, want, "within {duration:?} up to {:?}", self.now);
    }

    /// Nothing happens before `duration` is over, and `want` when it is.
    #[track_caller]
    fn exactly_after(&mut self, duration: Duration, want: &[Action]) {
        self.advance(duration - Duration::from_nanos(1), &[]);
        self.advance(Duration::from_nanos(1), want);
    }

    #[track_caller]
    fn pass(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now + duration;
        let mut actions = Vec::new();
        let mut wakes = 0;
        while let Some(deadline) = self.supervisor.next_deadline()
            && deadline <= end
        {
            self.now = self.now.max(deadline);
            actions.extend(self.supervisor.handle_timeout(self.now));
            wakes += 1;
            assert!(wakes < 10_000, "it wakes again and again at {:?}", self.now);
        }
        self.now = end;
        actions
    }

    /// From `Spawning` to `Ready`, in no time where nothing has to be waited for.
    #[track_caller]
    fn make_ready(&mut self) {
        let generation = self.generation();
        assert_eq!(self.state(), State::Spawning);
        self.quietly(spawned(generation));
        self.quietly(hello(generation));
        self.quietly(says_ready(generation));
        if self.state() == State::Starting {
            self.pass(FIRST_PROBE);
            self.quietly(probed(generation, Verdict::Healthy));
        }
        assert_eq!(self.state(), State::Ready);
    }

    /// The worker ends, and so does its channel.
    fn end(&mut self, exit: Exit, jitter: Jitter) -> Vec<Action> {
        let generation = self.generation();
        let mut actions = self.quietly(Event::Exited {
            generation,
            exit,
            jitter,
        });
        assert!(matches!(actions[..], [Action::Tell(Notice::Exited { .. })]));
        actions.clear();
        actions.extend(self.quietly(closed(generation)));
        actions
    }

    /// The worker ends with 1 as soon as it exists; what follows?
    fn crash_at_once(&mut self, jitter: Jitter) -> Vec<Action> {
        self.quietly(spawned(self.generation()));
        self.end(Exit::Code(1), jitter)
    }
}

fn spawned(generation: Generation) -> Event {
    Event::Spawned { generation }
}

fn hello(generation: Generation) -> Event {
    Event::Hello { generation }
}

fn says_ready(generation: Generation) -> Event {
    Event::Ready { generation }
}

fn closed(generation: Generation) -> Event {
    Event::ChannelClosed { generation }
}

fn exited(generation: Generation, exit: Exit) -> Event {
    Event::Exited {
        generation,
        exit,
        jitter: MIDDLE,
    }
}

fn spawn_failed(generation: Generation) -> Event {
    Event::SpawnFailed {
        generation,
        jitter: MIDDLE,
    }
}

fn probed(generation: Generation, verdict: Verdict) -> Event {
    Event::Probed {
        generation,
        verdict,
    }
}

fn serves(generation: Generation, serving: Serving) -> Event {
    Event::Serves {
        generation,
        serving,
    }
}

fn restart(how: How) -> Event {
    Event::Restart { how }
}

fn stop(how: How, code: u8, asker: Asker) -> Event {
    Event::Stop { how, code, asker }
}

fn operator_stop(how: How) -> Event {
    stop(how, 0, Asker::Operator)
}

fn tell(notice: Notice) -> Action {
    Action::Tell(notice)
}

fn told_exit(generation: Generation, exit: Exit) -> Action {
    tell(Notice::Exited { generation, exit })
}

fn told_spawned(generation: Generation) -> Action {
    tell(Notice::Spawned { generation })
}

fn told_ready(generation: Generation) -> Action {
    tell(Notice::Ready { generation })
}

fn told_delay(delay: Duration) -> Action {
    tell(Notice::RestartingIn { delay })
}

fn spawn(generation: Generation) -> Action {
    Action::Spawn { generation }
}

fn report(generation: Generation, cause: CauseKind) -> Action {
    Action::Report { generation, cause }
}

fn ask(generation: Generation, why: Leaving) -> Action {
    Action::AskToExit { generation, why }
}

fn terminate(generation: Generation) -> Action {
    Action::Terminate { generation }
}

fn kill(generation: Generation) -> Action {
    Action::Kill { generation }
}

const AT_ONCE: Action = Action::Tell(Notice::RestartingAtOnce);
const HANDLERS_CLEAN: Action = Action::RunExitHandlers { within: ms(11_500) };
const HANDLERS_FORCE: Action = Action::RunExitHandlers { within: ms(400) };
