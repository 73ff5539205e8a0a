use super::super::queue::{MAX_QUEUED_BYTES, MAX_QUEUED_LINES};
use super::*;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::thread;
use std::time::Instant;

/// Longer than any test takes on a busy machine; only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands each write to the test, once the gate lets it.
struct Gated {
    gate: Receiver<io::Result<()>>,
    entered: Sender<()>,
    written: Sender<String>,
}

/// The test's end of a gated sink: dropping the gate opens it for good.
struct Gate {
    open: Option<Sender<io::Result<()>>>,
    entered: Receiver<()>,
    written: Receiver<String>,
}

fn gated() -> (Gated, Gate) {
    let (open, gate) = unbounded();
    let (entered_tx, entered) = unbounded();
    let (written_tx, written) = unbounded();
    (
        Gated {
            gate,
            entered: entered_tx,
            written: written_tx,
        },
        Gate {
            open: Some(open),
            entered,
            written,
        },
    )
}

impl Sink for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        self.gate.recv().unwrap_or(Ok(()))?;
        let _ = self
            .written
            .send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Gate {
    fn wait_until_stalled(&self) {
        self.entered
            .recv_timeout(PATIENCE)
            .expect("the thread writes");
    }

    fn answer(&self, result: io::Result<()>) {
        self.open.as_ref().unwrap().send(result).unwrap();
    }

    fn written(&self) -> Vec<String> {
        self.written.try_iter().collect()
    }
}

fn start(sink: impl Sink + Send + 'static) -> Writer {
    Writer::start("test-writer", sink, |n| {
        format!("{n} lines dropped\n").into_bytes()
    })
    .unwrap()
}

fn say(writer: &Writer, text: impl std::fmt::Display) {
    writer.push(format!("{text}\n").into_bytes());
}

fn no_space() -> io::Result<()> {
    Err(io::ErrorKind::StorageFull.into())
}

#[test]
fn lines_come_out_in_order() {
    let (sink, mut gate) = gated();
    gate.open = None;
    let writer = start(sink);
    say(&writer, "one");
    writer.push_raw(b"two\n".to_vec());
    say(&writer, "three");
    assert!(writer.flush(PATIENCE));
    assert_eq!(gate.written(), ["one\n", "two\n", "three\n"]);
    assert_eq!(writer.lost(), Lost::default());
}

#[test]
fn a_stalled_stream_costs_its_oldest_lines_and_says_so_afterwards() {
    let pushes = 100_000;
    let (sink, mut gate) = gated();
    let writer = start(sink);
    say(&writer, "in flight");
    gate.wait_until_stalled();

    for n in 0..pushes {
        say(&writer, n);
    }
    // All of them returned although nothing could be written.
    assert_eq!(gate.written(), [""; 0]);
    let dropped = (pushes - MAX_QUEUED_LINES) as u64;
    assert_eq!(writer.lost(), Lost { dropped, failed: 0 });

    gate.open = None;
    assert!(writer.flush(PATIENCE));
    let written = gate.written();
    assert_eq!(
        written[..2],
        ["in flight\n".into(), format!("{dropped} lines dropped\n")]
    );
    assert_eq!(written[2], format!("{}\n", pushes - MAX_QUEUED_LINES));
    assert_eq!(written.len(), 2 + MAX_QUEUED_LINES);

    say(&writer, "later");
    assert!(writer.flush(PATIENCE));
    assert_eq!(gate.written(), ["later\n"], "a loss is told once");
}

#[test]
fn a_flood_of_output_does_not_wash_the_monitor_away() {
    let (sink, mut gate) = gated();
    let writer = start(sink);
    say(&writer, "in flight");
    gate.wait_until_stalled();
    say(&writer, "worker killed");
    for _ in 0..3 * MAX_QUEUED_LINES {
        writer.push_raw(vec![b'x'; MAX_QUEUED_BYTES / MAX_QUEUED_LINES]);
    }
    gate.open = None;
    assert!(writer.flush(PATIENCE));
    assert_eq!(gate.written()[2], "worker killed\n");
}

#[test]
fn failed_lines_are_counted_and_told_when_the_stream_works_again() {
    let (sink, gate) = gated();
    let writer = start(sink);
    for text in ["a", "b", "c", "d"] {
        say(&writer, text);
    }
    // `a`, then the notices that stand for `b` and `c`, then the notice and the line for `d`.
    for answer in [no_space(), no_space(), no_space(), Ok(()), Ok(())] {
        gate.answer(answer);
    }
    assert!(writer.flush(PATIENCE));
    assert_eq!(gate.written(), ["3 lines dropped\n", "d\n"]);
    assert_eq!(
        writer.lost(),
        Lost {
            dropped: 0,
            failed: 3
        }
    );
    assert_eq!(
        gate.entered.try_iter().count(),
        5,
        "one attempt for each line that fails"
    );
}

#[test]
fn a_stream_that_never_works_ends_nothing() {
    let (sink, gate) = gated();
    let writer = start(sink);
    for n in 0..500 {
        gate.answer(no_space());
        say(&writer, n);
    }
    assert!(writer.flush(PATIENCE));
    assert_eq!(
        writer.lost(),
        Lost {
            dropped: 0,
            failed: 500
        }
    );
    assert_eq!(gate.entered.try_iter().count(), 500, "no retry on its own");
}

#[test]
fn a_line_too_big_for_the_queue_is_told_with_the_next() {
    let (sink, mut gate) = gated();
    gate.open = None;
    let writer = start(sink);
    writer.push(vec![b'x'; MAX_QUEUED_BYTES + 1]);
    assert!(writer.flush(PATIENCE));
    say(&writer, "next");
    assert!(writer.flush(PATIENCE));
    assert_eq!(gate.written(), ["1 lines dropped\n", "next\n"]);
}

#[test]
fn flush_keeps_its_deadline() {
    let (sink, mut gate) = gated();
    let writer = start(sink);
    assert!(writer.flush(Duration::ZERO), "nothing to wait for");
    say(&writer, "stuck");
    gate.wait_until_stalled();

    let within = Duration::from_millis(20);
    let before = Instant::now();
    assert!(!writer.flush(within));
    assert!(before.elapsed() >= within);
    assert!(!writer.flush(Duration::ZERO));

    gate.open = None;
    assert!(writer.flush(Duration::MAX), "no overflow");
    assert_eq!(gate.written(), ["stuck\n"]);
}

#[test]
fn flush_waits_for_the_line_in_flight() {
    let (sink, gate) = gated();
    let writer = start(sink);
    say(&writer, "in flight");
    gate.wait_until_stalled();
    thread::scope(|scope| {
        let (done_tx, done) = bounded(1);
        let writer = &writer;
        scope.spawn(move || done_tx.send(writer.flush(PATIENCE)));
        assert!(done.recv_timeout(Duration::from_millis(20)).is_err());
        gate.answer(Ok(()));
        assert_eq!(done.recv_timeout(PATIENCE), Ok(true));
    });
}

#[test]
fn close_writes_what_is_queued_and_tells_what_is_lost() {
    let (sink, mut gate) = gated();
    let writer = start(sink);
    say(&writer, "queued");
    writer.close();
    say(&writer, "too late");
    gate.open = None;
    assert!(writer.flush(PATIENCE));
    // The loss may be told before or after the queued line, according to when the thread woke.
    let mut written = gate.written();
    written.sort();
    assert_eq!(written, ["1 lines dropped\n", "queued\n"]);
    assert_eq!(
        writer.lost(),
        Lost {
            dropped: 1,
            failed: 0
        }
    );
    // The sink is gone, so the thread has ended.
    assert!(
        gate.written
            .recv_timeout(PATIENCE)
            .is_err_and(|error| error.is_disconnected())
    );
}

#[test]
fn dropping_a_writer_ends_its_thread_after_the_last_line() {
    let (sink, mut gate) = gated();
    let writer = start(sink);
    say(&writer, "last words");
    drop(writer);
    gate.open = None;
    assert_eq!(
        gate.written.recv_timeout(PATIENCE),
        Ok("last words\n".into())
    );
    assert!(
        gate.written
            .recv_timeout(PATIENCE)
            .is_err_and(|error| error.is_disconnected())
    );
}

#[test]
fn only_the_writing_thread_blocks_sigttou() {
    struct Mask(Sender<(bool, Option<String>)>);
    impl Sink for Mask {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mask = SigSet::thread_get_mask()?;
            let name = thread::current().name().map(str::to_owned);
            let _ = self.0.send((mask.contains(Signal::SIGTTOU), name));
            Ok(bytes.len())
        }

        fn wait(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (mask_tx, mask) = unbounded();
    let writer = start(Mask(mask_tx));
    say(&writer, "x");
    let seen = mask.recv_timeout(PATIENCE).unwrap();
    assert_eq!(seen, (true, Some("test-writer".into())));
    assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGTTOU));
    let younger = thread::spawn(|| SigSet::thread_get_mask().unwrap())
        .join()
        .unwrap();
    assert!(!younger.contains(Signal::SIGTTOU));
}
