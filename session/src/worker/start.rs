//! From the first instruction of a worker to the first of its user's main.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};
use std::sync::Arc;

use nix::sys::signal::Signal;

use super::control::{Control, Losses};
use super::shared::{Link, Settings, Shared};
use super::wire::{Channel, HANDSHAKE_TIMEOUT, Inbound, Line};
use super::{WORKER, Worker, crash, disabled};
use crate::error::{Error, Result};
use crate::ipc::codec::encode;
use crate::ipc::message::{PROTOCOL, ToMonitor};
use crate::ipc::peer::{Peer, Wire};
use crate::launch::PanicPolicy;
use crate::sys::{self, TakeSignal, Waker};
use crate::thread;

/// What the program asked for when it launched its session.
pub(crate) struct WorkerPlan<T> {
    pub(crate) work: Box<dyn FnOnce(Worker) -> T + Send>,
    pub(crate) describe: fn(&T) -> Option<String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) panic: PanicPolicy,
    pub(crate) stack: usize,
}

/// Runs the user's main for the process `monitor`. Everything before that main delays it after
/// each crash, so nothing is done here that can wait.
pub(crate) fn run<T: Termination + 'static>(plan: WorkerPlan<T>, monitor: u32) -> Result<ExitCode> {
    let socket = sys::take_stdin().map_err(Error::os("take the channel from standard input"))?;
    let channel = Arc::new(Channel::new(UnixStream::from(socket)));
    let mut inbound = Inbound::new();
    let (welcome, early) = inbound.welcome(&channel, HANDSHAKE_TIMEOUT)?;
    let die_with_monitor = welcome.kill_with_monitor;
    let generation = welcome.generation;
    let hello = ToMonitor::Hello {
        protocol: PROTOCOL,
        generation,
        pid: std::process::id(),
    };
    if welcome.check {
        channel.write_line(encode(&hello)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wire: Arc<dyn Wire> = Arc::clone(&channel) as _;
    let link = Link {
        peer: Peer::new(generation, wire),
        channel,
    };
    let (shared, signal) = share(welcome.into(), plan.panic, Some(link), &[Signal::SIGTERM])?;
    shared.say(&hello)?;
    // It was executed as a descriptor's number, which says nothing to whoever reads `ps`.
    if let Some(name) = sys::executable_name() {
        sys::set_process_name(&name);
    }
    if die_with_monitor {
        sys::die_with_parent();
        if sys::parent_id() != monitor {
            sys::kill_own_group();
        }
    }
    run_program(plan, shared, signal, Some(inbound), early)
}

/// Runs the user's main, and nobody supervises.
pub(crate) fn run_disabled<T: Termination + 'static>(plan: WorkerPlan<T>) -> Result<ExitCode> {
    let settings = disabled::settings(plan.config.as_deref())?;
    let signals = [Signal::SIGTERM, Signal::SIGINT];
    let (shared, signal) = share(settings, plan.panic, None, &signals)?;
    run_program(plan, shared, signal, None, Vec::new())
}

/// Makes the one `Worker` of this process, and puts its hook and its signal handler in place.
fn share(
    settings: Settings,
    policy: PanicPolicy,
    link: Option<Link>,
    signals: &[Signal],
) -> Result<(Arc<Shared>, TakeSignal)> {
    // The signal handler may need it until the process is gone.
    let waker: &'static Waker = Box::leak(Box::new(
        Waker::new().map_err(Error::os("make the pipe that wakes the control loop"))?,
    ));
    let shared = Arc::new(Shared::new(settings, policy, link, waker));
    // A process has one launch, so the place is free.
    let _ = WORKER.set(Worker {
        shared: Arc::clone(&shared),
    });
    crash::install_hook(&shared);
    let take_signal = sys::on_signals(signals, waker).map_err(Error::os("handle SIGTERM"))?;
    Ok((shared, take_signal))
}

fn run_program<T: Termination + 'static>(
    plan: WorkerPlan<T>,
    shared: Arc<Shared>,
    take_signal: TakeSignal,
    inbound: Option<Inbound>,
    early: Vec<Line>,
) -> Result<ExitCode> {
    start_main(plan, Arc::clone(&shared)).map_err(Error::os("start the thread of main"))?;
    let control = Control {
        shared,
        take_signal,
        inbound,
        losses: Losses::default(),
        deadline: None,
    };
    Ok(control.run(early))
}

/// On a thread of a known stack, whose overflow is told as one; musl tells none of the first
/// thread's.
fn start_main<T: Termination + 'static>(
    plan: WorkerPlan<T>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let WorkerPlan {
        work,
        describe,
        stack,
        ..
    } = plan;
    let main = move || {
        let worker = Worker {
            shared: Arc::clone(&shared),
        };
        crash::run_main(&shared, || work(worker), describe);
    };
    thread::start_with_stack("main", stack, main)
}
