//! The owner's real loop over an outside that is made up: its clock stands until the loop waits,
//! and what comes in comes when the test says, to the nanosecond. What cannot be timed with real
//! processes (who is first, a death or a deadline?) is tested here.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::candidate::Order;
use super::driver::{Driver, Parts};
use super::handle::MonitorHandle;
use super::hooks::{Actions, Hooks};
use super::input::{INBOX, Input, Word};
use super::on_disk::OnDisk;
use super::outbox::Outbox;
use super::sockets::Sockets;
use super::sources::prober::Job;
use super::spawn::{Recipe, Spawner};
use super::world::{Started, World};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ipc::listeners::Listeners;
use crate::ipc::message::{PROTOCOL, Welcome};
use crate::ipc::peer::{Peer, Wire};
use crate::log::Log;
use crate::machine::{Asker, Generation, How, SETTLE};
use crate::probe;
use crate::process_table::{Condition, Stat};
use crate::repl::Table;
use crate::report::{CrashReport, ExitStatus};
use crate::sys::{Image, Usage, Waker};

const KILLED: ExitStatus = ExitStatus::Signal {
    number: 9,
    core_dumped: false,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the owner did, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Spawn(Generation),
    Terminate(Generation),
    Kill(Generation),
    Reap(Generation),
}

/// A process of the made-up outside.
#[derive(Debug)]
struct Process {
    generation: Generation,
    /// What it ends with, once it is dead and until it is reaped.
    dead: Option<ExitStatus>,
    reaped: bool,
}

/// What the made-up outside does by itself.
type React = Box<dyn FnMut(&mut Outside, &Deed)>;

struct Outside {
    start: Instant,
    now: Instant,
    inbox: Sender<Box<Input>>,
    /// What is to come, by the time at which it comes, in the order in which it was added.
    coming: BTreeMap<(Duration, u64), Input>,
    added: u64,
    processes: BTreeMap<u32, Process>,
    deeds: Vec<(Duration, Deed)>,
    spawn_errors: VecDeque<&'static str>,
    /// Children of the monitor that are no workers.
    orphans: BTreeMap<u32, Condition>,
    /// Those of them that were reaped.
    reaped_orphans: Vec<u32>,
    /// The workers' ends, which nobody reads.
    channels: Vec<UnixStream>,
    react: Option<React>,
}

impl Outside {
    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// So long from now.
    fn after(&mut self, wait: Duration, input: Input) {
        let at = self.elapsed() + wait;
        self.at(at, input);
    }

    /// So long after the start.
    fn at(&mut self, at: Duration, input: Input) {
        self.added += 1;
        self.coming.insert((at, self.added), input);
    }

    fn says_hello(&mut self, generation: Generation, wait: Duration) {
        let word = Word::Hello {
            protocol: PROTOCOL,
            generation,
            pid: pid(generation),
        };
        self.after(wait, Input::Said { generation, word });
    }

    /// It dies: its death, the end of its channel and that of its output, all at that time.
    fn dies(&mut self, generation: Generation, wait: Duration, status: ExitStatus) {
        if let Some(process) = self.processes.get_mut(&pid(generation)) {
            process.dead = Some(status);
        }
        self.after(wait, Input::Died { generation });
        self.after(wait, Input::ChannelClosed { generation });
        self.after(wait, output_ended(generation));
    }

    /// As the kernel answers: the first that is dead, whoever it is.
    fn dead_child(&self) -> Option<u32> {
        let workers = self.processes.iter();
        let mut dead = workers.filter(|(_, process)| process.dead.is_some() && !process.reaped);
        let mut orphans = self.orphans.iter();
        dead.next().map(|(pid, _)| *pid).or_else(|| {
            let orphan = orphans.find(|(_, condition)| **condition == Condition::Dead);
            orphan.map(|(pid, _)| *pid)
        })
    }

    fn reap_if_dead(&mut self, pid: u32) -> bool {
        assert!(
            !self.processes.contains_key(&pid),
            "worker {pid} was reaped as an orphan"
        );
        let is_dead = self.orphans.get(&pid) == Some(&Condition::Dead);
        if is_dead {
            self.orphans.remove(&pid);
            self.reaped_orphans.push(pid);
        }
        is_dead
    }

    fn deed(&mut self, deed: Deed) {
        self.deeds.push((self.elapsed(), deed));
        if let Some(mut react) = self.react.take() {
            react(self, &deed);
            self.react = Some(react);
        }
    }

    fn process(&mut self, pid: u32, what: &str) -> &mut Process {
        let process = self.processes.get_mut(&pid);
        let process = process.unwrap_or_else(|| panic!("{what} of {pid}, which never was"));
        assert!(!process.reaped, "{what} of {pid}, which is reaped");
        process
    }
}

fn pid(generation: Generation) -> u32 {
    u32::try_from(generation).unwrap() + 1000
}

fn output_ended(generation: Generation) -> Input {
    Input::OutputEnded {
        generation,
        tail: format!("last words of {generation}\n"),
        dropped: 0,
    }
}

#[derive(Clone)]
struct Fake(Rc<RefCell<Outside>>);

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl World for Fake {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    /// Time passes here and nowhere else.
    fn wait(
        &mut self,
        inbox: &Receiver<Box<Input>>,
        deadline: Option<Instant>,
    ) -> std::result::Result<Box<Input>, RecvTimeoutError> {
        if let Ok(input) = inbox.try_recv() {
            return Ok(input);
        }
        let mut outside = self.0.borrow_mut();
        let deadline = deadline.map(|at| at.saturating_duration_since(outside.start));
        let next = outside.coming.keys().next().map(|(at, _)| *at);
        match (next, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
                outside.now = outside.now.max(outside.start + at);
                // All that comes at once is there when the owner wakes.
                while let Some(entry) = outside.coming.first_entry()
                    && entry.key().0 <= at
                {
                    let input = entry.remove();
                    outside.inbox.try_send(Box::new(input)).unwrap();
                }
                inbox.try_recv().map_err(|_| RecvTimeoutError::Disconnected)
            }
            (_, Some(deadline)) => {
                outside.now = outside.now.max(outside.start + deadline);
                Err(RecvTimeoutError::Timeout)
            }
            // Nothing will ever happen any more.
            (None, None) | (Some(_), None) => Err(RecvTimeoutError::Disconnected),
        }
    }

    fn spawn(&mut self, _spawner: &Spawner, welcome: Welcome) -> Result<Started> {
        let mut outside = self.0.borrow_mut();
        if let Some(error) = outside.spawn_errors.pop_front() {
            return Err(Error::Invalid(error.to_owned()));
        }
        let generation = welcome.generation;
        let unreaped = outside.processes.values().filter(|process| !process.reaped);
        assert!(unreaped.count() < 2, "a third worker");
        outside.processes.insert(
            pid(generation),
            Process {
                generation,
                dead: None,
                reaped: false,
            },
        );
        outside.deed(Deed::Spawn(generation));
        let wire = Arc::new(Line {
            generation,
            said: Mutex::new(Vec::new()),
        });
        LINES.with_borrow_mut(|lines| lines.push(Arc::clone(&wire)));
        let (ours, theirs) = UnixStream::pair().unwrap();
        outside.channels.push(theirs);
        let waker = Box::leak(Box::new(Waker::new().unwrap()));
        Ok(Started {
            pid: pid(generation),
            peer: Peer::new(generation, wire),
            outbox: Some(Arc::new(Outbox::new(Arc::new(ours), waker))),
        })
    }

    fn probe(&mut self, _job: Job) {}

    fn terminate(&mut self, pid: u32) {
        let mut outside = self.0.borrow_mut();
        let generation = outside.process(pid, "SIGTERM").generation;
        outside.deed(Deed::Terminate(generation));
    }

    fn kill(&mut self, pid: u32) {
        let mut outside = self.0.borrow_mut();
        let generation = outside.process(pid, "SIGKILL").generation;
        outside.deed(Deed::Kill(generation));
    }

    fn reap(&mut self, pid: u32) -> (ExitStatus, Usage) {
        let mut outside = self.0.borrow_mut();
        let process = outside.process(pid, "a second reaping");
        let status = process.dead.unwrap_or_else(|| panic!("{pid} lives"));
        process.reaped = true;
        let generation = process.generation;
        outside.deed(Deed::Reap(generation));
        (status, Usage::default())
    }

    fn dead_child(&mut self) -> Option<u32> {
        self.0.borrow().dead_child()
    }

    fn reap_if_dead(&mut self, pid: u32) -> bool {
        self.0.borrow_mut().reap_if_dead(pid)
    }

    fn children(&self) -> Vec<u32> {
        let outside = self.0.borrow();
        let workers = outside.processes.iter();
        workers
            .filter(|(_, process)| !process.reaped)
            .map(|(pid, _)| *pid)
            .chain(outside.orphans.keys().copied())
            .collect()
    }

    fn look_at(&self, pid: u32) -> Option<Stat> {
        let outside = self.0.borrow();
        let condition = *outside.orphans.get(&pid)?;
        Some(Stat {
            name: format!("orphan-{pid}"),
            condition,
            parent: 1,
            group: pid,
        })
    }

    fn drain(&mut self, _generation: Generation, _within: Duration) {}
}

/// What the owner says to one worker.
#[derive(Debug)]
struct Line {
    generation: Generation,
    said: Mutex<Vec<String>>,
}

impl Wire for Line {
    fn write_line(&self, line: Vec<u8>) -> Result<()> {
        let line = String::from_utf8(line).unwrap();
        self.said.lock().unwrap().push(line);
        Ok(())
    }
}

thread_local! {
    static LINES: RefCell<Vec<Arc<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Was that worker asked to exit?
fn was_asked_to_exit(generation: Generation) -> bool {
    LINES.with_borrow(|lines| {
        let lines = lines.iter().filter(|line| line.generation == generation);
        lines
            .flat_map(|line| line.said.lock().unwrap().clone())
            .any(|said| said.starts_with("{\"exit\""))
    })
}

/// A session whose outside is made up.
struct Bench {
    outside: Rc<RefCell<Outside>>,
    driver: Driver,
    log: Arc<Mutex<Vec<String>>>,
}

/// What is left of a session that is over.
struct Over {
    code: ExitCode,
    took: Duration,
    deeds: Vec<(Duration, Deed)>,
    reaped_orphans: Vec<u32>,
    log: Vec<String>,
}

impl Over {
    #[track_caller]
    fn told(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }

    fn spawns(&self) -> usize {
        let spawns = self.deeds.iter();
        spawns
            .filter(|(_, deed)| matches!(deed, Deed::Spawn(_)))
            .count()
    }

    #[track_caller]
    fn when(&self, deed: &Deed) -> Duration {
        let found = self.deeds.iter().find(|(_, done)| done == deed);
        found
            .unwrap_or_else(|| panic!("no {deed:?} in {:?}", self.deeds))
            .0
    }
}

impl Bench {
    /// Ready by its handshake, without probes and delays.
    fn new() -> Bench {
        Bench::with(r#""restart":{"minDelaySeconds":0}"#)
    }

    /// Without probes, a grace period of two seconds, and these members.
    fn with(members: &str) -> Bench {
        Bench::start(members, BTreeMap::new())
    }

    /// The program had these children already when the session began.
    fn start(members: &str, children: BTreeMap<u32, Condition>) -> Bench {
        LINES.with_borrow_mut(Vec::clear);
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = format!(
            r#"{{"ports":{{"server":{port}}},"pollingRoute":null,"stop":{{"graceSeconds":2}},{members}}}"#
        );
        let config: Config = crate::config::parse(text.as_bytes(), "test").unwrap();
        let (sender, inbox) = bounded(INBOX);
        let now = Instant::now();
        let outside = Rc::new(RefCell::new(Outside {
            start: now,
            now,
            inbox: sender.clone(),
            coming: BTreeMap::new(),
            added: 0,
            processes: BTreeMap::new(),
            deeds: Vec::new(),
            spawn_errors: VecDeque::new(),
            orphans: children,
            reaped_orphans: Vec::new(),
            channels: Vec::new(),
            react: None,
        }));
        let (log, lines) = Log::memory();
        let listeners = Arc::new(Listeners::default());
        let handle = MonitorHandle::new(sender.clone(), log.clone(), Arc::clone(&listeners));
        let parts = Parts {
            config,
            sockets: Sockets::default(),
            recipe: Recipe::new(Image::open_running().unwrap(), 0).unwrap(),
            inbox,
            sender: sender.clone(),
            log: log.clone(),
            listeners,
            handle,
            key: None,
            hooks: Hooks::start(None, Vec::new(), sender, log.clone()).unwrap(),
            actions: Actions::start(Vec::new(), log).unwrap(),
            commands: Table::new(),
            on_exit: Vec::new(),
        };
        let world = Box::new(Fake(Rc::clone(&outside)));
        Bench {
            driver: Driver::new(parts, world, Arc::default()),
            outside,
            log: lines,
        }
    }

    /// What happens so long after the start.
    fn at(self, at: Duration, input: Input) -> Bench {
        self.outside.borrow_mut().at(at, input);
        self
    }

    /// And these, in this order.
    fn all_at(self, at: Duration, inputs: impl IntoIterator<Item = Input>) -> Bench {
        inputs
            .into_iter()
            .fold(self, |bench, input| bench.at(at, input))
    }

    /// Children of the monitor's that are no workers, and what each does.
    fn orphans(self, orphans: impl IntoIterator<Item = (u32, Condition)>) -> Bench {
        self.outside.borrow_mut().orphans.extend(orphans);
        self
    }

    /// What the outside does by itself.
    fn react(self, react: impl FnMut(&mut Outside, &Deed) + 'static) -> Bench {
        self.outside.borrow_mut().react = Some(Box::new(react));
        self
    }

    fn run(self) -> Over {
        let code = self.driver.run();
        let outside = self.outside.borrow();
        Over {
            code,
            took: outside.elapsed(),
            deeds: outside.deeds.clone(),
            reaped_orphans: outside.reaped_orphans.clone(),
            log: self.log.lock().unwrap().clone(),
        }
    }
}

/// Workers that say hello, and end when they are told to or are killed, after these times.
fn well_behaved(hello: Duration, end: Duration) -> impl FnMut(&mut Outside, &Deed) {
    move |outside, deed| match deed {
        Deed::Spawn(generation) => outside.says_hello(*generation, hello),
        Deed::Terminate(generation) | Deed::Kill(generation)
            if outside.processes[&pid(*generation)].dead.is_none() =>
        {
            outside.dies(*generation, end, KILLED);
        }
        Deed::Terminate(_) | Deed::Kill(_) | Deed::Reap(_) => {}
    }
}

fn stop(how: How) -> Input {
    Input::Stop {
        reason: "a test".to_owned(),
        how,
        code: 7,
        asker: Asker::Operator,
    }
}

/// A death by itself, told without the help of the outside.
fn died(generation: Generation) -> [Input; 3] {
    [
        Input::Died { generation },
        Input::ChannelClosed { generation },
        output_ended(generation),
    ]
}

/// The first worker dies by itself; the test says when that comes in.
fn first_dies(mut behave: impl FnMut(&mut Outside, &Deed)) -> impl FnMut(&mut Outside, &Deed) {
    move |outside, deed| {
        behave(outside, deed);
        if let Deed::Spawn(1) = deed {
            outside.processes.get_mut(&pid(1)).unwrap().dead = Some(KILLED);
        }
    }
}

#[test]
fn of_a_stop_and_a_death_at_the_same_time_the_first_to_come_decides() {
    let over = Bench::new()
        .react(first_dies(well_behaved(ms(1), ms(1))))
        .at(ms(100), stop(How::Clean))
        .all_at(ms(100), died(1))
        .run();
    assert_eq!(over.code, ExitCode::from(7));
    assert_eq!(over.spawns(), 1, "{:?}", over.log);

    let over = Bench::new()
        .react(first_dies(well_behaved(ms(1), ms(1))))
        .all_at(ms(100), died(1))
        .at(ms(100), stop(How::Clean))
        .run();
    assert_eq!(over.code, ExitCode::from(7));
    // The next worker was there when the stop was accepted, and is ended by it.
    assert_eq!(over.spawns(), 2, "{:?}", over.log);
    assert!(was_asked_to_exit(2));
}

#[test]
fn an_event_in_time_beats_its_deadline() {
    // The handshake may take five seconds, and this hello comes at the last moment there is.
    let over = Bench::new()
        .react(|outside, deed| match deed {
            Deed::Spawn(generation) => outside.says_hello(*generation, ms(5000)),
            Deed::Kill(1) if outside.processes[&pid(1)].dead.is_none() => {
                outside.dies(1, ms(1), KILLED);
            }
            _ => {}
        })
        .at(ms(6000), stop(How::Force))
        .run();
    assert_eq!(
        over.told("did not complete its handshake"),
        0,
        "{:?}",
        over.log
    );
    assert_eq!(over.told("ready"), 1, "{:?}", over.log);
    assert_eq!(over.spawns(), 1);

    // A moment later it is too late.
    let over = Bench::new()
        .react(|outside, deed| match deed {
            Deed::Spawn(1) => outside.says_hello(1, ms(5000) + Duration::from_nanos(1)),
            Deed::Spawn(generation) => outside.says_hello(*generation, ms(1)),
            Deed::Kill(generation) if outside.processes[&pid(*generation)].dead.is_none() => {
                outside.dies(*generation, ms(1), KILLED);
            }
            _ => {}
        })
        .at(ms(6000), stop(How::Force))
        .run();
    assert_eq!(
        over.told("did not complete its handshake"),
        1,
        "{:?}",
        over.log
    );
    assert_eq!(over.spawns(), 2);
}

#[test]
fn a_worker_that_nothing_ends_is_told_and_the_session_ends_without_it() {
    // It says hello, and nothing else ever comes of it: no exit, no death.
    let over = Bench::new()
        .react(|outside, deed| {
            if let Deed::Spawn(generation) = deed {
                outside.says_hello(*generation, ms(1));
            }
        })
        .at(ms(100), stop(How::Clean))
        .run();
    assert_eq!(over.code, ExitCode::from(71));
    assert!(was_asked_to_exit(1));
    // Grace, then SIGTERM, a second, SIGKILL, five seconds.
    assert_eq!(over.when(&Deed::Terminate(1)), ms(2100));
    assert_eq!(over.when(&Deed::Kill(1)), ms(3100));
    assert_eq!(over.told("cannot be killed"), 1, "{:?}", over.log);
    assert!(over.took <= ms(8100) + ms(500), "{:?}", over.took);
    assert_eq!(over.spawns(), 1);
}

#[test]
fn one_that_was_given_up_is_reaped_when_it_dies_after_all() {
    let over = Bench::new()
        .react(|outside, deed| match deed {
            Deed::Spawn(generation) => outside.says_hello(*generation, ms(1)),
            // Stuck in the kernel for a minute.
            Deed::Kill(1) if outside.processes[&pid(1)].dead.is_none() => {
                outside.dies(1, ms(60_000), KILLED);
            }
            Deed::Kill(2) if outside.processes[&pid(2)].dead.is_none() => {
                outside.dies(2, ms(1), KILLED);
            }
            _ => {}
        })
        .at(ms(100), Input::Restart { how: How::Force })
        .at(ms(70_000), stop(How::Force))
        .run();
    assert_eq!(over.told("cannot be killed"), 1, "{:?}", over.log);
    assert_eq!(over.when(&Deed::Reap(1)), ms(60_100));
    assert_eq!(over.when(&Deed::Spawn(2)), ms(60_100));
    assert_eq!(over.code, ExitCode::from(7));
}

#[test]
fn a_flood_of_words_holds_up_no_deadline() {
    let mut bench = Bench::new().react(well_behaved(ms(1), ms(1)));
    bench = bench.at(ms(100), stop(How::Clean));
    // For ten seconds, each millisecond: more than a burst.
    for at in 0..10_000 {
        let word = Word::Lifecycle("still here".to_owned());
        let said = Input::Said {
            generation: 1,
            word,
        };
        bench = bench.at(ms(100 + at), said);
    }
    let over = bench.run();
    assert_eq!(over.when(&Deed::Terminate(1)), ms(2100));
    assert!(over.took < ms(2700), "{:?}", over.took);
}

#[test]
fn output_that_never_ends_delays_neither_the_next_worker_nor_the_end_for_ever() {
    let over = Bench::new()
        .react(first_dies(well_behaved(ms(1), ms(1))))
        .at(ms(1000), Input::Died { generation: 1 })
        .at(ms(1000), Input::ChannelClosed { generation: 1 })
        .at(ms(2000), stop(How::Clean))
        .at(ms(2000), stop(How::Force))
        .run();
    assert_eq!(over.when(&Deed::Spawn(2)), ms(1000));
    assert_eq!(over.code, ExitCode::from(7));
    // Its report is told at the end, without its last words.
    assert_eq!(over.told("crash report, generation 1"), 1, "{:?}", over.log);
    assert_eq!(over.told("last words of 1"), 0);
    assert!(over.took < ms(2600), "{:?}", over.took);
}

#[test]
fn a_death_without_the_end_of_its_channel_is_settled_after_a_moment() {
    let over = Bench::new()
        .react(first_dies(well_behaved(ms(1), ms(1))))
        .at(ms(1000), Input::Died { generation: 1 })
        .at(ms(3000), stop(How::Force))
        .run();
    assert_eq!(over.when(&Deed::Spawn(2)), ms(1000) + SETTLE);
}

#[test]
fn words_of_a_dead_generation_change_nothing() {
    let late = |word| Input::Said {
        generation: 1,
        word,
    };
    let over = Bench::with(r#""readiness":"call","restart":{"minDelaySeconds":0}"#)
        .react({
            let mut behave = well_behaved(ms(1), ms(1));
            move |outside, deed| {
                behave(outside, deed);
                if let Deed::Spawn(1) = deed {
                    outside.dies(1, ms(100), KILLED);
                }
            }
        })
        .at(ms(200), late(Word::Ready))
        .at(ms(200), late(Word::Serving))
        .at(ms(200), Input::ChannelClosed { generation: 1 })
        .at(ms(200), Input::Died { generation: 1 })
        .at(ms(200), output_ended(1))
        .at(ms(300), stop(How::Force))
        .run();
    assert_eq!(over.told("crash report, generation 1"), 1, "{:?}", over.log);
    assert_eq!(
        over.told("server worker with process id 1001 (generation 1) has exited"),
        1
    );
    assert_eq!(over.told("ready"), 0, "{:?}", over.log);
    assert_eq!(over.spawns(), 2);
}

#[test]
fn a_spawn_that_fails_is_tried_again_and_a_stop_meanwhile_ends_it() {
    let bench = Bench::new().react(well_behaved(ms(1), ms(1)));
    bench.outside.borrow_mut().spawn_errors = VecDeque::from(["no room", "no room"]);
    let over = bench.at(ms(100), stop(How::Force)).run();
    assert_eq!(over.told("the worker could not be started: no room"), 2);
    assert_eq!(over.told("crash report"), 2, "{:?}", over.log);
    assert_eq!(over.code, ExitCode::from(7));
}

#[test]
fn a_stop_while_it_backs_off_is_over_at_once() {
    let over = Bench::with(r#""restart":{"minDelaySeconds":30}"#)
        .react(first_dies(well_behaved(ms(1), ms(1))))
        .all_at(ms(100), died(1))
        .at(ms(500), stop(How::Clean))
        .run();
    assert_eq!(
        over.told("starting the next worker in"),
        1,
        "{:?}",
        over.log
    );
    assert_eq!(over.code, ExitCode::from(7));
    assert_eq!((over.spawns(), over.took), (1, ms(500)));
}

/// Workers that serve a held listener as soon as they have said hello, and are ready by that.
fn serving(outside: &mut Outside, generation: Generation, wait: Duration) {
    outside.says_hello(generation, wait);
    let listen = Word::Listen {
        id: 1,
        name: "server".to_owned(),
    };
    for word in [listen, Word::Serving] {
        outside.after(wait, Input::Said { generation, word });
    }
}

/// Serve after a millisecond, save those that the map gives another time.
fn servers(hellos: &[(Generation, Duration)]) -> impl FnMut(&mut Outside, &Deed) + use<> {
    let hellos: BTreeMap<Generation, Duration> = hellos.iter().copied().collect();
    move |outside, deed| match deed {
        Deed::Spawn(generation) => {
            let wait = hellos.get(generation).copied().unwrap_or(ms(1));
            serving(outside, *generation, wait);
        }
        Deed::Terminate(generation) | Deed::Kill(generation)
            if outside.processes[&pid(*generation)].dead.is_none() =>
        {
            outside.dies(*generation, ms(1), KILLED);
        }
        Deed::Terminate(_) | Deed::Kill(_) | Deed::Reap(_) => {}
    }
}

#[test]
fn a_reload_takes_over_once_the_new_worker_serves() {
    let over = Bench::new()
        .react(servers(&[(2, ms(500))]))
        .at(ms(100), Input::Reload)
        .at(ms(100), Input::Reload)
        .at(ms(10_000), stop(How::Force))
        .run();
    assert_eq!(
        over.told("generation 2 has taken over"),
        1,
        "{:?}",
        over.log
    );
    assert_eq!(over.told("a reload is under way"), 1);
    assert!(was_asked_to_exit(1) && !was_asked_to_exit(2));
    // The old one had its grace period from then on.
    assert_eq!(over.when(&Deed::Terminate(1)), ms(2600));
    assert_eq!(over.told("crash report"), 0, "{:?}", over.log);
    assert_eq!(over.spawns(), 2);
}

#[test]
fn of_a_take_over_and_the_death_of_the_old_worker_at_the_same_time_either_may_be_first() {
    let ready = |generation| {
        let listen = Word::Listen {
            id: 1,
            name: "server".to_owned(),
        };
        let hello = Word::Hello {
            protocol: PROTOCOL,
            generation,
            pid: pid(generation),
        };
        [hello, listen, Word::Serving].map(|word| Input::Said { generation, word })
    };
    for death_first in [true, false] {
        let never = ms(1_000_000);
        let mut bench = Bench::new()
            .react(first_dies(servers(&[(2, never)])))
            .at(ms(100), Input::Reload);
        if death_first {
            bench = bench.all_at(ms(500), died(1)).all_at(ms(500), ready(2));
        } else {
            bench = bench.all_at(ms(500), ready(2)).all_at(ms(500), died(1));
        }
        let over = bench.at(ms(1000), stop(How::Force)).run();
        assert_eq!(
            over.told("generation 2 has taken over"),
            1,
            "{:?}",
            over.log
        );
        assert_eq!(over.spawns(), 2, "{:?}", over.log);
        // Nobody had asked for the end of one that died before it was told to go.
        assert_eq!(
            over.told("crash report, generation 1"),
            usize::from(death_first)
        );
    }
}

#[test]
fn a_stop_and_the_hello_of_an_incoming_worker_at_the_same_time_end_both() {
    let over = Bench::new()
        .react(servers(&[(2, ms(400))]))
        .at(ms(100), Input::Reload)
        .at(ms(500), stop(How::Clean))
        .run();
    assert_eq!(over.code, ExitCode::from(7));
    assert!(was_asked_to_exit(1) && was_asked_to_exit(2));
    assert_eq!(over.told("has taken over"), 0, "{:?}", over.log);
    assert!(over.took <= ms(500 + 2000 + 500), "{:?}", over.took);
}

#[test]
fn once_it_stops_no_new_program_is_started_for_a_check() {
    let other = std::env::temp_dir().join(format!("session-other-{}", std::process::id()));
    std::fs::write(&other, "no program").unwrap();
    let mut bench = Bench::new();
    bench.driver.on_disk = OnDisk::at(Some(other.clone()));
    let over = bench
        .react(well_behaved(ms(1), ms(1)))
        .at(ms(100), stop(How::Clean))
        .at(ms(200), Input::Restart { how: How::Clean })
        .run();
    std::fs::remove_file(other).unwrap();
    assert_eq!(
        over.told("the session is stopping already"),
        1,
        "{:?}",
        over.log
    );
}

#[test]
fn dead_orphans_are_reaped_however_many_and_living_ones_told_once() {
    let dead = (10_001..=13_000).map(|pid| (pid, Condition::Dead));
    let living = (5001..=5006).map(|pid| (pid, Condition::Alive));
    let over = Bench::new()
        .orphans(dead.chain(living))
        .react(well_behaved(ms(1), ms(1)))
        .at(ms(50), Input::ChildDied)
        .at(ms(100), Input::Restart { how: How::Force })
        .at(ms(200), Input::Restart { how: How::Force })
        .at(ms(300), stop(How::Clean))
        .run();
    assert_eq!(over.reaped_orphans, Vec::from_iter(10_001..=13_000));
    let told = "6 processes in no worker's group outlive whoever started them: pid 5001 (orphan-5001), \
                pid 5002 (orphan-5002), pid 5003 (orphan-5003), pid 5004 (orphan-5004) and 2 more";
    assert_eq!(over.told(told), 1, "{:?}", over.log);
    assert_eq!(over.told("in no worker's group"), 1, "{:?}", over.log);
}

#[test]
fn a_dead_worker_is_never_reaped_as_an_orphan_and_orphans_behind_it_are() {
    let over = Bench::new()
        .orphans([(5001, Condition::Dead)])
        .react(first_dies(well_behaved(ms(1), ms(1))))
        // It has been dead for a while when the owner learns it; the fake fails if it is reaped.
        .at(ms(50), Input::ChildDied)
        .all_at(ms(100), died(1))
        .at(ms(200), stop(How::Clean))
        .run();
    assert_eq!(over.reaped_orphans, [5001]);
    assert_eq!(over.spawns(), 2, "{:?}", over.log);
}

#[test]
fn what_the_program_started_itself_is_left_to_it() {
    let own = BTreeMap::from([(4, Condition::Dead), (5, Condition::Alive)]);
    let over = Bench::start(r#""restart":{"minDelaySeconds":0}"#, own)
        .orphans([(6, Condition::Dead)])
        .react(well_behaved(ms(1), ms(1)))
        .at(ms(50), Input::ChildDied)
        .at(ms(100), Input::Restart { how: How::Force })
        .at(ms(200), stop(How::Clean))
        .run();
    assert_eq!(over.reaped_orphans, [6], "one that is not reaped hides it");
    assert_eq!(over.told("in no worker's group"), 0, "{:?}", over.log);
}

#[test]
fn a_thread_that_fails_ends_the_session_in_good_order_whatever_else_is_asked() {
    for second in [How::Clean, How::Force] {
        let over = Bench::new()
            .react(well_behaved(ms(1), ms(1)))
            .at(ms(100), Input::ThreadFailed("session-io".into()))
            .at(ms(101), stop(second))
            .run();
        assert_eq!(over.code, ExitCode::from(70));
        assert_eq!(
            over.told("the thread `session-io` of the monitor has failed"),
            1
        );
        assert_eq!(over.spawns(), 1, "{:?}", over.log);
        assert!(over.deeds.iter().any(|(_, deed)| *deed == Deed::Reap(1)));
    }
}

#[test]
fn a_second_thread_that_fails_does_not_cut_a_clean_stop_short() {
    let failed = || Input::ThreadFailed("session-probe".to_owned());
    let over = Bench::new()
        .react(well_behaved(ms(1), ms(1)))
        .all_at(ms(100), [failed(), failed()])
        .run();
    assert_eq!(over.code, ExitCode::from(70));
    assert!(was_asked_to_exit(1));
    // The grace period is the worker's, and only then it is told by a signal.
    assert_eq!(over.when(&Deed::Terminate(1)), ms(2100), "{:?}", over.log);
    assert_eq!(over.told("asked again"), 0, "{:?}", over.log);
}

#[test]
fn a_session_that_ends_with_its_worker_has_the_output_that_was_read_to_the_last_moment() {
    // A process that the worker left behind holds its output: the reader gives up after the drain,
    // and what it has read until then comes a moment later.
    let over = Bench::with(r#""restart":{"policy":"never"}"#)
        .react(first_dies(well_behaved(ms(1), ms(1))))
        .orphans([(4711, Condition::Alive)])
        .at(ms(100), Input::Died { generation: 1 })
        .at(ms(100), Input::ChannelClosed { generation: 1 })
        .at(
            ms(100) + super::sources::io::DRAIN + ms(20),
            output_ended(1),
        )
        .run();
    assert_eq!(over.told("| last words of 1"), 1, "{:?}", over.log);
    assert_eq!(over.told("outlives"), 1, "{:?}", over.log);
}

#[test]
fn a_program_that_was_checked_for_a_reload_that_is_refused_is_not_adopted() {
    // The delay was over before the answer came, and the worker that it started binds its own port.
    let bench = Bench::new().react(well_behaved(ms(1), ms(1)));
    let image = Image::open_running().unwrap();
    let program = bench.driver.parts.recipe.program_of(image).unwrap();
    let over = bench
        .at(
            ms(100),
            Input::Checked {
                answer: Ok(program),
                order: Order::Reload,
            },
        )
        .at(ms(200), stop(How::Clean))
        .run();
    assert_eq!(over.told("this worker binds its own port"), 1);
    assert_eq!(over.told("from the new program"), 0, "{:?}", over.log);
}

#[test]
fn a_program_that_was_checked_for_a_restart_that_is_refused_is_not_adopted() {
    let bench = Bench::new().react(well_behaved(ms(1), ms(1)));
    let image = Image::open_running().unwrap();
    let program = bench.driver.parts.recipe.program_of(image).unwrap();
    let checked = Input::Checked {
        answer: Ok(program),
        order: Order::Restart(How::Clean),
    };
    let over = bench
        .at(ms(100), stop(How::Clean))
        .at(ms(110), checked)
        .run();
    assert_eq!(over.told("the session is stopping already"), 1);
    assert_eq!(over.told("from the new program"), 0, "{:?}", over.log);
}

#[test]
fn a_thread_that_fails_at_the_very_end_is_told_by_the_exit_code_too() {
    let over = Bench::new()
        .react(|outside, deed| match deed {
            Deed::Spawn(generation) => outside.says_hello(*generation, ms(1)),
            // Its last output is on its way yet.
            Deed::Kill(generation) if outside.processes[&pid(*generation)].dead.is_none() => {
                outside.processes.get_mut(&pid(*generation)).unwrap().dead = Some(KILLED);
                for input in died(*generation) {
                    let wait = if matches!(input, Input::OutputEnded { .. }) {
                        ms(20)
                    } else {
                        ms(1)
                    };
                    outside.after(wait, input);
                }
            }
            Deed::Terminate(_) | Deed::Kill(_) | Deed::Reap(_) => {}
        })
        .at(ms(100), stop(How::Force))
        .at(ms(110), Input::ThreadFailed("session-repl".into()))
        .run();
    assert_eq!(over.code, ExitCode::from(70), "{:?}", over.log);
}

#[test]
fn the_last_probe_is_that_of_the_worker_that_serves() {
    let over = Bench::new()
        .react(well_behaved(ms(1), ms(1)))
        .at(ms(100), Input::Restart { how: How::Force })
        .at(
            ms(200),
            Input::Probed {
                generation: 1,
                outcome: probe::Outcome {
                    verdict: probe::Verdict::Healthy,
                    latency: ms(1),
                },
            },
        )
        .at(ms(300), Input::Line("status".to_owned()))
        .at(ms(400), stop(How::Clean))
        .run();
    assert_eq!(over.told("last probe: none"), 1, "{:?}", over.log);
}

#[test]
fn whoever_asks_again_does_not_wait_for_hooks_that_hang() {
    let again: [fn() -> Input; 3] = [
        || Input::Signal,
        || stop(How::Clean),
        || Input::Line("exit force".to_owned()),
    ];
    for ask in again {
        let (gate, closed) = bounded::<()>(0);
        let mut bench = Bench::with(r#""restart":{"policy":"never"}"#)
            .react(first_dies(well_behaved(ms(1), ms(1))))
            .all_at(ms(100), died(1))
            .at(ms(800), ask());
        let parts = &mut bench.driver.parts;
        let hook = Box::new(move |_: &CrashReport| {
            let _ = closed.recv();
            Ok(())
        });
        let (inbox, log) = (parts.sender.clone(), parts.log.clone());
        parts.hooks = Hooks::start(None, vec![hook], inbox, log).unwrap();
        let over = bench.run();
        assert_eq!(over.took, ms(800), "{:?}", over.log);
        drop(gate);
    }
}
