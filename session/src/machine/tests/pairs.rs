//! Every state and every kind of event: what comes of it.

use super::*;
use Act as A;
use Kind as K;
use State as S;

/// The kinds of [`Event`], and the passing of the next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Spawned,
    SpawnFailed,
    Hello,
    HandshakeFailed,
    Ready,
    Serves,
    Crashing,
    ChannelClosed,
    Exited,
    Probed,
    Stop,
    Restart,
    Reload,
    SetPolling,
    HandlersDone,
    Timeout,
}

const KINDS: [Kind; 16] = [
    Kind::Spawned,
    Kind::SpawnFailed,
    Kind::Hello,
    Kind::HandshakeFailed,
    Kind::Ready,
    Kind::Serves,
    Kind::Crashing,
    Kind::ChannelClosed,
    Kind::Exited,
    Kind::Probed,
    Kind::Stop,
    Kind::Restart,
    Kind::Reload,
    Kind::SetPolling,
    Kind::HandlersDone,
    Kind::Timeout,
];

const STATES: [State; 12] = [
    State::Spawning,
    State::Handshaking,
    State::Starting,
    State::Ready,
    State::Draining,
    State::Terminating,
    State::Killing,
    State::Unkillable,
    State::Dead,
    State::BackingOff,
    State::Closing,
    State::Finished,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Spawn,
    Probe,
    Ask,
    Term,
    Kill,
    Over,
    Report,
    Handlers,
    Tell,
    Finish,
}

fn act(action: Action) -> Act {
    match action {
        Action::Spawn { .. } => Act::Spawn,
        Action::Probe { .. } => Act::Probe,
        Action::AskToExit { .. } => Act::Ask,
        Action::Terminate { .. } => Act::Term,
        Action::Kill { .. } => Act::Kill,
        Action::TakeOver { .. } => Act::Over,
        Action::Report { .. } => Act::Report,
        Action::RunExitHandlers { .. } => Act::Handlers,
        Action::Tell(_) => Act::Tell,
        Action::Finish { .. } => Act::Finish,
    }
}

/// A new event has no kind until someone gives it one, and then no row.
fn kind(event: Event) -> Kind {
    match event {
        Event::Spawned { .. } => Kind::Spawned,
        Event::SpawnFailed { .. } => Kind::SpawnFailed,
        Event::Hello { .. } => Kind::Hello,
        Event::HandshakeFailed { .. } => Kind::HandshakeFailed,
        Event::Ready { .. } => Kind::Ready,
        Event::Serves { .. } => Kind::Serves,
        Event::Crashing { .. } => Kind::Crashing,
        Event::ChannelClosed { .. } => Kind::ChannelClosed,
        Event::Exited { .. } => Kind::Exited,
        Event::Probed { .. } => Kind::Probed,
        Event::Stop { .. } => Kind::Stop,
        Event::Restart { .. } => Kind::Restart,
        Event::Reload => Kind::Reload,
        Event::SetPolling { .. } => Kind::SetPolling,
        Event::HandlersDone => Kind::HandlersDone,
    }
}

/// The event of that kind for the worker that is there; `None`: time passes.
fn event(kind: Kind, generation: Generation) -> Option<Event> {
    Some(match kind {
        Kind::Spawned => spawned(generation),
        Kind::SpawnFailed => spawn_failed(generation),
        Kind::Hello => hello(generation),
        Kind::HandshakeFailed => Event::HandshakeFailed { generation },
        Kind::Ready => says_ready(generation),
        Kind::Serves => Event::Serves {
            generation,
            serving: Serving::Private,
        },
        Kind::Crashing => Event::Crashing { generation },
        Kind::ChannelClosed => closed(generation),
        Kind::Exited => exited(generation, Exit::Code(1)),
        Kind::Probed => probed(generation, Verdict::Unhealthy),
        Kind::Stop => operator_stop(How::Clean),
        Kind::Restart => restart(How::Clean),
        Kind::Reload => Event::Reload,
        Kind::SetPolling => Event::SetPolling {
            interval: secs(7),
            timeout: secs(1),
            now: true,
        },
        Kind::HandlersDone => Event::HandlersDone,
        Kind::Timeout => return None,
    })
}

/// A session in that state; where a worker is probed, with a probe in flight.
fn session(state: State) -> Sim {
    let mut sim = match state {
        State::Spawning => Sim::new(probing()),
        State::Handshaking => Sim::handshaking(probing()),
        State::Starting => Sim::starting(probing()),
        State::Ready => Sim::ready(probing()),
        State::Draining => Sim::draining(probing()),
        State::Terminating => Sim::terminating(probing()),
        State::Killing => Sim::killing(probing()),
        State::Unkillable => Sim::unkillable(probing()),
        State::Dead => Sim::dead(probing()),
        State::BackingOff => Sim::backing_off(probing()),
        State::Closing => Sim::closing(probing()),
        State::Finished => Sim::finished(probing()),
    };
    match state {
        State::Starting => drop(sim.pass(FIRST_PROBE)),
        State::Ready => drop(sim.pass(INTERVAL)),
        _ => {}
    }
    assert_eq!(sim.state(), state);
    sim
}

fn outcome(state: State, kind: Kind) -> (State, Vec<Act>) {
    let mut sim = session(state);
    let actions = match event(kind, sim.generation()) {
        Some(event) => sim.quietly(event),
        None => {
            let due = sim.supervisor.next_deadline();
            sim.now = due.unwrap_or(sim.now + secs(3600));
            sim.supervisor.handle_timeout(sim.now)
        }
    };
    (sim.state(), actions.into_iter().map(act).collect())
}

type Row = (State, Kind, State, &'static [Act]);

const ROWS: &[Row] = &[
    (S::Spawning, K::Spawned, S::Handshaking, &[A::Tell]),
    (
        S::Spawning,
        K::SpawnFailed,
        S::BackingOff,
        &[A::Report, A::Tell],
    ),
    (S::Spawning, K::Hello, S::Spawning, &[]),
    (S::Spawning, K::HandshakeFailed, S::Spawning, &[]),
    (S::Spawning, K::Ready, S::Spawning, &[]),
    (S::Spawning, K::Serves, S::Spawning, &[]),
    (S::Spawning, K::Crashing, S::Spawning, &[]),
    (S::Spawning, K::ChannelClosed, S::Spawning, &[]),
    (S::Spawning, K::Exited, S::Dead, &[A::Tell]),
    (S::Spawning, K::Probed, S::Spawning, &[]),
    (
        S::Spawning,
        K::Stop,
        S::Draining,
        &[A::Tell, A::Handlers, A::Ask],
    ),
    (S::Spawning, K::Restart, S::Draining, &[A::Tell, A::Ask]),
    (S::Spawning, K::Reload, S::Spawning, &[A::Tell]),
    (S::Spawning, K::SetPolling, S::Spawning, &[]),
    (S::Spawning, K::HandlersDone, S::Spawning, &[]),
    (S::Spawning, K::Timeout, S::Spawning, &[]),
    (S::Handshaking, K::Spawned, S::Handshaking, &[]),
    (S::Handshaking, K::SpawnFailed, S::Handshaking, &[]),
    (S::Handshaking, K::Hello, S::Starting, &[]),
    (
        S::Handshaking,
        K::HandshakeFailed,
        S::Killing,
        &[A::Tell, A::Kill],
    ),
    (S::Handshaking, K::Ready, S::Handshaking, &[]),
    (S::Handshaking, K::Serves, S::Handshaking, &[]),
    (S::Handshaking, K::Crashing, S::Draining, &[]),
    (S::Handshaking, K::ChannelClosed, S::Handshaking, &[]),
    (S::Handshaking, K::Exited, S::Dead, &[A::Tell]),
    (S::Handshaking, K::Probed, S::Handshaking, &[]),
    (
        S::Handshaking,
        K::Stop,
        S::Draining,
        &[A::Tell, A::Handlers, A::Ask],
    ),
    (S::Handshaking, K::Restart, S::Draining, &[A::Tell, A::Ask]),
    (S::Handshaking, K::Reload, S::Handshaking, &[A::Tell]),
    (S::Handshaking, K::SetPolling, S::Handshaking, &[]),
    (S::Handshaking, K::HandlersDone, S::Handshaking, &[]),
    (S::Handshaking, K::Timeout, S::Killing, &[A::Tell, A::Kill]),
    (S::Starting, K::Spawned, S::Starting, &[]),
    (S::Starting, K::SpawnFailed, S::Starting, &[]),
    (S::Starting, K::Hello, S::Starting, &[]),
    (S::Starting, K::HandshakeFailed, S::Starting, &[]),
    (S::Starting, K::Ready, S::Starting, &[]),
    (S::Starting, K::Serves, S::Starting, &[]),
    (S::Starting, K::Crashing, S::Draining, &[]),
    (S::Starting, K::ChannelClosed, S::Starting, &[]),
    (S::Starting, K::Exited, S::Dead, &[A::Tell]),
    (S::Starting, K::Probed, S::Starting, &[]),
    (
        S::Starting,
        K::Stop,
        S::Draining,
        &[A::Tell, A::Handlers, A::Ask],
    ),
    (S::Starting, K::Restart, S::Draining, &[A::Tell, A::Ask]),
    (S::Starting, K::Reload, S::Starting, &[A::Tell]),
    (S::Starting, K::SetPolling, S::Starting, &[]),
    (S::Starting, K::HandlersDone, S::Starting, &[]),
    (S::Starting, K::Timeout, S::Starting, &[A::Tell]),
    (S::Ready, K::Spawned, S::Ready, &[]),
    (S::Ready, K::SpawnFailed, S::Ready, &[]),
    (S::Ready, K::Hello, S::Ready, &[]),
    (S::Ready, K::HandshakeFailed, S::Ready, &[]),
    (S::Ready, K::Ready, S::Ready, &[]),
    (S::Ready, K::Serves, S::Ready, &[]),
    (S::Ready, K::Crashing, S::Draining, &[]),
    (S::Ready, K::ChannelClosed, S::Ready, &[]),
    (S::Ready, K::Exited, S::Dead, &[A::Tell]),
    (S::Ready, K::Probed, S::Draining, &[A::Tell, A::Ask]),
    (
        S::Ready,
        K::Stop,
        S::Draining,
        &[A::Tell, A::Handlers, A::Ask],
    ),
    (S::Ready, K::Restart, S::Draining, &[A::Tell, A::Ask]),
    (S::Ready, K::Reload, S::Ready, &[A::Tell]),
    (S::Ready, K::SetPolling, S::Ready, &[]),
    (S::Ready, K::HandlersDone, S::Ready, &[]),
    (S::Ready, K::Timeout, S::Ready, &[A::Tell]),
    (S::Draining, K::Spawned, S::Draining, &[]),
    (S::Draining, K::SpawnFailed, S::Draining, &[]),
    (S::Draining, K::Hello, S::Draining, &[]),
    (S::Draining, K::HandshakeFailed, S::Draining, &[]),
    (S::Draining, K::Ready, S::Draining, &[]),
    (S::Draining, K::Serves, S::Draining, &[]),
    (S::Draining, K::Crashing, S::Draining, &[]),
    (S::Draining, K::ChannelClosed, S::Draining, &[]),
    (S::Draining, K::Exited, S::Dead, &[A::Tell]),
    (S::Draining, K::Probed, S::Draining, &[]),
    (S::Draining, K::Stop, S::Draining, &[A::Tell, A::Handlers]),
    (S::Draining, K::Restart, S::Killing, &[A::Tell, A::Kill]),
    (S::Draining, K::Reload, S::Draining, &[A::Tell]),
    (S::Draining, K::SetPolling, S::Draining, &[]),
    (S::Draining, K::HandlersDone, S::Draining, &[]),
    (S::Draining, K::Timeout, S::Terminating, &[A::Tell, A::Term]),
    (S::Terminating, K::Spawned, S::Terminating, &[]),
    (S::Terminating, K::SpawnFailed, S::Terminating, &[]),
    (S::Terminating, K::Hello, S::Terminating, &[]),
    (S::Terminating, K::HandshakeFailed, S::Terminating, &[]),
    (S::Terminating, K::Ready, S::Terminating, &[]),
    (S::Terminating, K::Serves, S::Terminating, &[]),
    (S::Terminating, K::Crashing, S::Terminating, &[]),
    (S::Terminating, K::ChannelClosed, S::Terminating, &[]),
    (S::Terminating, K::Exited, S::Dead, &[A::Tell]),
    (S::Terminating, K::Probed, S::Terminating, &[]),
    (
        S::Terminating,
        K::Stop,
        S::Terminating,
        &[A::Tell, A::Handlers],
    ),
    (S::Terminating, K::Restart, S::Killing, &[A::Tell, A::Kill]),
    (S::Terminating, K::Reload, S::Terminating, &[A::Tell]),
    (S::Terminating, K::SetPolling, S::Terminating, &[]),
    (S::Terminating, K::HandlersDone, S::Terminating, &[]),
    (S::Terminating, K::Timeout, S::Killing, &[A::Tell, A::Kill]),
    (S::Killing, K::Spawned, S::Killing, &[]),
    (S::Killing, K::SpawnFailed, S::Killing, &[]),
    (S::Killing, K::Hello, S::Killing, &[]),
    (S::Killing, K::HandshakeFailed, S::Killing, &[]),
    (S::Killing, K::Ready, S::Killing, &[]),
    (S::Killing, K::Serves, S::Killing, &[]),
    (S::Killing, K::Crashing, S::Killing, &[]),
    (S::Killing, K::ChannelClosed, S::Killing, &[]),
    (S::Killing, K::Exited, S::Dead, &[A::Tell]),
    (S::Killing, K::Probed, S::Killing, &[]),
    (S::Killing, K::Stop, S::Killing, &[A::Tell, A::Handlers]),
    (S::Killing, K::Restart, S::Killing, &[A::Tell]),
    (S::Killing, K::Reload, S::Killing, &[A::Tell]),
    (S::Killing, K::SetPolling, S::Killing, &[]),
    (S::Killing, K::HandlersDone, S::Killing, &[]),
    (S::Killing, K::Timeout, S::Unkillable, &[A::Tell]),
    (S::Unkillable, K::Spawned, S::Unkillable, &[]),
    (S::Unkillable, K::SpawnFailed, S::Unkillable, &[]),
    (S::Unkillable, K::Hello, S::Unkillable, &[]),
    (S::Unkillable, K::HandshakeFailed, S::Unkillable, &[]),
    (S::Unkillable, K::Ready, S::Unkillable, &[]),
    (S::Unkillable, K::Serves, S::Unkillable, &[]),
    (S::Unkillable, K::Crashing, S::Unkillable, &[]),
    (S::Unkillable, K::ChannelClosed, S::Unkillable, &[]),
    (S::Unkillable, K::Exited, S::Dead, &[A::Tell]),
    (S::Unkillable, K::Probed, S::Unkillable, &[]),
    (
        S::Unkillable,
        K::Stop,
        S::Unkillable,
        &[A::Tell, A::Handlers],
    ),
    (S::Unkillable, K::Restart, S::Unkillable, &[A::Tell]),
    (S::Unkillable, K::Reload, S::Unkillable, &[A::Tell]),
    (S::Unkillable, K::SetPolling, S::Unkillable, &[]),
    (S::Unkillable, K::HandlersDone, S::Unkillable, &[]),
    (S::Unkillable, K::Timeout, S::Unkillable, &[]),
    (S::Dead, K::Spawned, S::Dead, &[]),
    (S::Dead, K::SpawnFailed, S::Dead, &[]),
    (S::Dead, K::Hello, S::Dead, &[]),
    (S::Dead, K::HandshakeFailed, S::Dead, &[]),
    (S::Dead, K::Ready, S::Dead, &[]),
    (S::Dead, K::Serves, S::Dead, &[]),
    (S::Dead, K::Crashing, S::Dead, &[]),
    (
        S::Dead,
        K::ChannelClosed,
        S::BackingOff,
        &[A::Report, A::Tell],
    ),
    (S::Dead, K::Exited, S::Dead, &[]),
    (S::Dead, K::Probed, S::Dead, &[]),
    (S::Dead, K::Stop, S::Dead, &[A::Tell, A::Handlers]),
    (S::Dead, K::Restart, S::Dead, &[A::Tell]),
    (S::Dead, K::Reload, S::Dead, &[A::Tell]),
    (S::Dead, K::SetPolling, S::Dead, &[]),
    (S::Dead, K::HandlersDone, S::Dead, &[]),
    (S::Dead, K::Timeout, S::BackingOff, &[A::Report, A::Tell]),
    (S::BackingOff, K::Spawned, S::BackingOff, &[]),
    (S::BackingOff, K::SpawnFailed, S::BackingOff, &[]),
    (S::BackingOff, K::Hello, S::BackingOff, &[]),
    (S::BackingOff, K::HandshakeFailed, S::BackingOff, &[]),
    (S::BackingOff, K::Ready, S::BackingOff, &[]),
    (S::BackingOff, K::Serves, S::BackingOff, &[]),
    (S::BackingOff, K::Crashing, S::BackingOff, &[]),
    (S::BackingOff, K::ChannelClosed, S::BackingOff, &[]),
    (S::BackingOff, K::Exited, S::BackingOff, &[]),
    (S::BackingOff, K::Probed, S::BackingOff, &[]),
    (S::BackingOff, K::Stop, S::Closing, &[A::Tell, A::Handlers]),
    (S::BackingOff, K::Restart, S::Spawning, &[A::Tell, A::Spawn]),
    (S::BackingOff, K::Reload, S::Spawning, &[A::Tell, A::Spawn]),
    (S::BackingOff, K::SetPolling, S::BackingOff, &[]),
    (S::BackingOff, K::HandlersDone, S::BackingOff, &[]),
    (S::BackingOff, K::Timeout, S::Spawning, &[A::Spawn]),
    (S::Closing, K::Spawned, S::Closing, &[]),
    (S::Closing, K::SpawnFailed, S::Closing, &[]),
    (S::Closing, K::Hello, S::Closing, &[]),
    (S::Closing, K::HandshakeFailed, S::Closing, &[]),
    (S::Closing, K::Ready, S::Closing, &[]),
    (S::Closing, K::Serves, S::Closing, &[]),
    (S::Closing, K::Crashing, S::Closing, &[]),
    (S::Closing, K::ChannelClosed, S::Closing, &[]),
    (S::Closing, K::Exited, S::Closing, &[]),
    (S::Closing, K::Probed, S::Closing, &[]),
    (S::Closing, K::Stop, S::Closing, &[A::Tell]),
    (S::Closing, K::Restart, S::Closing, &[A::Tell]),
    (S::Closing, K::Reload, S::Closing, &[A::Tell]),
    (S::Closing, K::SetPolling, S::Closing, &[]),
    (S::Closing, K::HandlersDone, S::Finished, &[A::Finish]),
    (S::Closing, K::Timeout, S::Finished, &[A::Tell, A::Finish]),
    (S::Finished, K::Spawned, S::Finished, &[]),
    (S::Finished, K::SpawnFailed, S::Finished, &[]),
    (S::Finished, K::Hello, S::Finished, &[]),
    (S::Finished, K::HandshakeFailed, S::Finished, &[]),
    (S::Finished, K::Ready, S::Finished, &[]),
    (S::Finished, K::Serves, S::Finished, &[]),
    (S::Finished, K::Crashing, S::Finished, &[]),
    (S::Finished, K::ChannelClosed, S::Finished, &[]),
    (S::Finished, K::Exited, S::Finished, &[]),
    (S::Finished, K::Probed, S::Finished, &[]),
    (S::Finished, K::Stop, S::Finished, &[]),
    (S::Finished, K::Restart, S::Finished, &[]),
    (S::Finished, K::Reload, S::Finished, &[]),
    (S::Finished, K::SetPolling, S::Finished, &[]),
    (S::Finished, K::HandlersDone, S::Finished, &[]),
    (S::Finished, K::Timeout, S::Finished, &[]),
];

#[test]
fn every_pair_has_its_row_and_its_outcome() {
    assert_eq!(ROWS.len(), STATES.len() * KINDS.len());
    for state in STATES {
        for kind in KINDS {
            let row = ROWS.iter().find(|row| (row.0, row.1) == (state, kind));
            let Some(&(_, _, then, acts)) = row else {
                panic!("no row for {kind:?} in {state:?}");
            };
            let found = outcome(state, kind);
            assert_eq!(found, (then, acts.to_vec()), "{kind:?} in {state:?}");
        }
    }
}

#[test]
fn every_kind_is_its_events() {
    for of in KINDS {
        let found = event(of, 1).map_or(Kind::Timeout, kind);
        assert_eq!(found, of);
    }
}
