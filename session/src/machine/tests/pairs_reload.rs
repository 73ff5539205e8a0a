//! Every phase of a worker beside the active one, and every kind of event for either of the two:
//! what comes of it.

use super::pairs::{Act, KINDS, Kind, act, event};
use super::*;
use Act as A;
use Companion::{Incoming as In, Outgoing as Out};
use Kind as K;
use State as S;
use Then::{Alone, Beside, Same};
use Who::{Active, Other, Session};

/// What the worker beside the active one is there for, and how far it is.
type At = (Companion, State);

/// The active worker is ready in all of these but one: a worker that is ready takes over, unless
/// the active one has just died.
const ATS: [At; 14] = [
    (In, S::Spawning),
    (In, S::Handshaking),
    (In, S::Starting),
    (In, S::Ready),
    (In, S::Draining),
    (In, S::Terminating),
    (In, S::Killing),
    (In, S::Unkillable),
    (In, S::Dead),
    (Out, S::Draining),
    (Out, S::Terminating),
    (Out, S::Killing),
    (Out, S::Unkillable),
    (Out, S::Dead),
];

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Active,
    /// The one beside it.
    Other,
    Session,
}

/// The state of the active worker, and the one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Same,
    Alone(State),
    Beside(State, Companion, State),
}

fn who(kind: Kind) -> &'static [Who] {
    match kind {
        Kind::Spawned
        | Kind::SpawnFailed
        | Kind::Hello
        | Kind::HandshakeFailed
        | Kind::Ready
        | Kind::Serves
        | Kind::Crashing
        | Kind::ChannelClosed
        | Kind::Exited
        | Kind::Probed => &[Active, Other],
        Kind::Stop
        | Kind::Restart
        | Kind::Reload
        | Kind::SetPolling
        | Kind::HandlersDone
        | Kind::Timeout => &[Session],
    }
}

/// All serve a private listener, and a probe of whoever can be probed is always in flight.
fn policy() -> Policy {
    Policy {
        grace: secs(1),
        polling: Some(Polling {
            interval: ms(10),
            timeout: ms(10),
        }),
        ..probing()
    }
}

fn incoming(state: State) -> Sim {
    let mut sim = Sim::ready(policy());
    sim.quietly(serves(1, Serving::Private));
    sim.quietly(Event::Reload);
    if state != S::Spawning {
        sim.quietly(spawned(2));
    }
    if !matches!(
        state,
        S::Spawning | S::Handshaking | S::Killing | S::Unkillable
    ) {
        sim.quietly(hello(2));
        sim.quietly(serves(2, Serving::Private));
    }
    sim.pass(ms(15));
    match state {
        S::Ready => {
            sim.quietly(exited(1, Exit::Code(1)));
            sim.quietly(probed(2, Verdict::Healthy));
        }
        S::Draining | S::Terminating => drop(sim.quietly(Event::Crashing { generation: 2 })),
        S::Killing | S::Unkillable => drop(sim.quietly(Event::HandshakeFailed { generation: 2 })),
        S::Dead => drop(sim.quietly(exited(2, Exit::Code(1)))),
        _ => {}
    }
    match state {
        S::Terminating => drop(sim.pass(secs(1))),
        S::Unkillable => drop(sim.pass(REAP + ms(15))),
        _ => {}
    }
    sim
}

fn outgoing(state: State) -> Sim {
    let mut sim = incoming(S::Starting);
    sim.quietly(probed(2, Verdict::Healthy));
    sim.pass(match state {
        S::Terminating => secs(1),
        S::Killing => secs(1) + TERMINATE,
        S::Unkillable => secs(1) + TERMINATE + REAP,
        _ => ms(15),
    });
    if state == S::Dead {
        sim.quietly(exited(1, Exit::Code(1)));
    }
    sim
}

/// The state of the active worker, and the one beside it.
fn place(sim: &Sim) -> (State, Option<At>) {
    let beside = sim.supervisor.snapshot().companion;
    let phase = sim
        .supervisor
        .beside
        .worker()
        .map(|worker| worker.phase.state());
    (sim.state(), beside.map(|(_, what)| what).zip(phase))
}

fn session(at: At) -> Sim {
    let sim = match at {
        (In, state) => incoming(state),
        (Out, state) => outgoing(state),
    };
    let active = if at == (In, S::Ready) {
        S::Dead
    } else {
        S::Ready
    };
    assert_eq!(place(&sim), (active, Some(at)));
    sim
}

fn outcome(at: At, who: Who, kind: Kind) -> (Then, Vec<Act>) {
    let mut sim = session(at);
    let before = place(&sim);
    let snapshot = sim.supervisor.snapshot();
    let generation = match (who, snapshot.companion) {
        (Other, Some((generation, _))) => generation,
        _ => snapshot.generation,
    };
    let actions = match event(kind, generation) {
        Some(event) => sim.quietly(event),
        None => {
            sim.now = snapshot.next_deadline.unwrap_or(sim.now);
            sim.supervisor.handle_timeout(sim.now)
        }
    };
    let then = match place(&sim) {
        after if after == before => Same,
        (active, None) => Alone(active),
        (active, Some((what, phase))) => Beside(active, what, phase),
    };
    (then, actions.into_iter().map(act).collect())
}

type Row = (Who, Kind, Then, &'static [Act]);

const TABLE: &[(At, &[Row])] = &[
    (
        (In, S::Spawning),
        &[
            (Active, K::Spawned, Same, &[]),
            (
                Other,
                K::Spawned,
                Beside(S::Ready, In, S::Handshaking),
                &[A::Tell],
            ),
            (Active, K::SpawnFailed, Same, &[]),
            (
                Other,
                K::SpawnFailed,
                Alone(S::Ready),
                &[A::Report, A::Tell],
            ),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Spawning),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Spawning),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Spawning),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Draining),
                &[A::Tell, A::Handlers, A::Ask, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Spawning),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Same, &[A::Tell]),
        ],
    ),
    (
        (In, S::Handshaking),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Beside(S::Ready, In, S::Starting), &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (
                Other,
                K::HandshakeFailed,
                Beside(S::Ready, In, S::Killing),
                &[A::Tell, A::Kill],
            ),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Handshaking),
                &[],
            ),
            (Other, K::Crashing, Beside(S::Ready, In, S::Draining), &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Handshaking),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Handshaking),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Draining),
                &[A::Tell, A::Handlers, A::Ask, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Handshaking),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (
                Session,
                K::Timeout,
                Beside(S::Ready, In, S::Killing),
                &[A::Tell, A::Kill],
            ),
        ],
    ),
    (
        (In, S::Starting),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Starting),
                &[],
            ),
            (Other, K::Crashing, Beside(S::Ready, In, S::Draining), &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Starting),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Starting),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Draining),
                &[A::Tell, A::Handlers, A::Ask, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Starting),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Same, &[A::Tell]),
        ],
    ),
    (
        (In, S::Ready),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (Active, K::Crashing, Same, &[]),
            (Other, K::Crashing, Beside(S::Dead, In, S::Draining), &[]),
            (
                Active,
                K::ChannelClosed,
                Alone(S::Ready),
                &[A::Report, A::Over, A::Tell],
            ),
            (Other, K::ChannelClosed, Same, &[]),
            (Active, K::Exited, Same, &[]),
            (Other, K::Exited, Beside(S::Dead, In, S::Dead), &[A::Tell]),
            (Active, K::Probed, Same, &[]),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Dead, In, S::Draining),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (Session, K::Restart, Same, &[A::Tell]),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Same, &[A::Probe]),
        ],
    ),
    (
        (In, S::Draining),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Draining),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Draining),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Draining),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Draining),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Draining),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (
                Session,
                K::Timeout,
                Beside(S::Ready, In, S::Terminating),
                &[A::Tell, A::Term],
            ),
        ],
    ),
    (
        (In, S::Terminating),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Terminating),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Terminating),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Terminating),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Terminating),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Terminating),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (
                Session,
                K::Timeout,
                Beside(S::Ready, In, S::Killing),
                &[A::Tell, A::Kill],
            ),
        ],
    ),
    (
        (In, S::Killing),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Killing),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Killing),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Killing),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Killing),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Killing),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (
                Session,
                K::Timeout,
                Beside(S::Ready, In, S::Unkillable),
                &[A::Tell],
            ),
        ],
    ),
    (
        (In, S::Unkillable),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, In, S::Unkillable),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, In, S::Unkillable),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, In, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Unkillable),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Unkillable),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Unkillable),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Same, &[A::Tell]),
        ],
    ),
    (
        (In, S::Dead),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (Active, K::Crashing, Beside(S::Draining, In, S::Dead), &[]),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (
                Other,
                K::ChannelClosed,
                Alone(S::Ready),
                &[A::Report, A::Tell],
            ),
            (Active, K::Exited, Beside(S::Dead, In, S::Dead), &[A::Tell]),
            (Other, K::Exited, Same, &[]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, In, S::Dead),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, In, S::Dead),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, In, S::Dead),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Alone(S::Ready), &[A::Report, A::Tell]),
        ],
    ),
    (
        (Out, S::Draining),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, Out, S::Draining),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, Out, S::Draining),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, Out, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, Out, S::Draining),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, Out, S::Draining),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, Out, S::Draining),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (
                Session,
                K::Timeout,
                Beside(S::Ready, Out, S::Terminating),
                &[A::Tell, A::Term],
            ),
        ],
    ),
    (
        (Out, S::Terminating),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, Out, S::Terminating),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, Out, S::Terminating),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, Out, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, Out, S::Terminating),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, Out, S::Terminating),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, Out, S::Terminating),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (
                Session,
                K::Timeout,
                Beside(S::Ready, Out, S::Killing),
                &[A::Tell, A::Kill],
            ),
        ],
    ),
    (
        (Out, S::Killing),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, Out, S::Killing),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, Out, S::Killing),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, Out, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, Out, S::Killing),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, Out, S::Killing),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, Out, S::Killing),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Same, &[A::Tell]),
        ],
    ),
    (
        (Out, S::Unkillable),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (
                Active,
                K::Crashing,
                Beside(S::Draining, Out, S::Unkillable),
                &[],
            ),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Same, &[]),
            (
                Active,
                K::Exited,
                Beside(S::Dead, Out, S::Unkillable),
                &[A::Tell],
            ),
            (Other, K::Exited, Beside(S::Ready, Out, S::Dead), &[A::Tell]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, Out, S::Unkillable),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, Out, S::Unkillable),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, Out, S::Unkillable),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Same, &[A::Tell]),
        ],
    ),
    (
        (Out, S::Dead),
        &[
            (Active, K::Spawned, Same, &[]),
            (Other, K::Spawned, Same, &[]),
            (Active, K::SpawnFailed, Same, &[]),
            (Other, K::SpawnFailed, Same, &[]),
            (Active, K::Hello, Same, &[]),
            (Other, K::Hello, Same, &[]),
            (Active, K::HandshakeFailed, Same, &[]),
            (Other, K::HandshakeFailed, Same, &[]),
            (Active, K::Ready, Same, &[]),
            (Other, K::Ready, Same, &[]),
            (Active, K::Serves, Same, &[]),
            (Other, K::Serves, Same, &[]),
            (Active, K::Crashing, Beside(S::Draining, Out, S::Dead), &[]),
            (Other, K::Crashing, Same, &[]),
            (Active, K::ChannelClosed, Same, &[]),
            (Other, K::ChannelClosed, Alone(S::Ready), &[]),
            (Active, K::Exited, Beside(S::Dead, Out, S::Dead), &[A::Tell]),
            (Other, K::Exited, Same, &[]),
            (
                Active,
                K::Probed,
                Beside(S::Draining, Out, S::Dead),
                &[A::Tell, A::Ask],
            ),
            (Other, K::Probed, Same, &[]),
            (
                Session,
                K::Stop,
                Beside(S::Draining, Out, S::Dead),
                &[A::Tell, A::Handlers, A::Ask],
            ),
            (
                Session,
                K::Restart,
                Beside(S::Draining, Out, S::Dead),
                &[A::Tell, A::Ask],
            ),
            (Session, K::Reload, Same, &[A::Tell]),
            (Session, K::SetPolling, Same, &[]),
            (Session, K::HandlersDone, Same, &[]),
            (Session, K::Timeout, Alone(S::Ready), &[]),
        ],
    ),
];

#[test]
fn every_pair_beside_another_has_its_row_and_its_outcome() {
    assert_eq!(TABLE.len(), ATS.len());
    for at in ATS {
        let Some((_, rows)) = TABLE.iter().find(|(of, _)| *of == at) else {
            panic!("no rows in {at:?}");
        };
        let mut count = 0;
        for kind in KINDS {
            for &who in who(kind) {
                let row = rows.iter().find(|row| (row.0, row.1) == (who, kind));
                let Some(&(_, _, then, acts)) = row else {
                    panic!("no row for {kind:?} of {who:?} in {at:?}");
                };
                let found = outcome(at, who, kind);
                assert_eq!(
                    found,
                    (then, acts.to_vec()),
                    "{kind:?} of {who:?} in {at:?}"
                );
                count += 1;
            }
        }
        assert_eq!(rows.len(), count, "a row too many in {at:?}");
    }
}
