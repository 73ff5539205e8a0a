//! How fast a worker and its monitor speak with one another.
//!
//! ```text
//! $ cargo run --release --bin bench_ipc 10000 100000
//! {"oneway_per_s":…,"rtt_us":{"max":…,"min":…,"n":10000,"p50":…,"p95":…}}     its last line
//! ```
//!
//! Round trips first, then messages one way. Every 4,096 of those the worker asks how many the
//! monitor has heard: that keeps its queue from running over, and proves that none was lost.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use session::{Monitor, Session, Worker};

/// Less than the monitor's queue holds, and enough that asking costs nothing.
const BATCH: u64 = 4096;
/// More than any answer takes on a machine that is fit to be measured.
const PATIENCE: Duration = Duration::from_secs(10);
const EXIT_USAGE: u8 = 64;

/// What the worker has measured, in the monitor.
static RESULT: OnceLock<Value> = OnceLock::new();

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().ok())
        .collect();
    let Some(&[round_trips @ (1..), one_way @ (1..)]) = numbers.as_deref() else {
        let _ = io::stderr().write_all(b"usage: bench_ipc ROUNDTRIPS ONEWAY, both at least 1\n");
        return ExitCode::from(EXIT_USAGE);
    };
    let code = Session::new(move |worker| measure(&worker, round_trips, one_way))
        .describe(|outcome| outcome.as_ref().err().map(ToString::to_string))
        .monitor(listen)
        .launch();
    // The session is over, and with it its log: nothing is written after this line.
    if let Some(result) = RESULT.get() {
        let _ = io::stdout().write_all(format!("{result}\n").as_bytes());
    }
    code
}

fn listen(monitor: &mut Monitor) -> session::Result<()> {
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let handle = monitor.handle();
    // An asker that is gone needs no answer.
    monitor.on("bench", |message| drop(message.reply(message.args())))?;
    monitor.on("tick", move |_message| {
        heard.fetch_add(1, Ordering::Relaxed);
    })?;
    monitor.on("count", move |message| {
        let _ = message.reply(count.load(Ordering::Relaxed));
    })?;
    monitor.on("result", move |message| {
        let _ = RESULT.set(message.args().clone());
        if let Err(error) = handle.kill("everything is measured", true, 0) {
            handle.log(error);
        }
    })?;
    Ok(())
}

fn measure(worker: &Worker, round_trips: u64, one_way: u64) -> Result<(), Box<dyn Error>> {
    let rtt_us = measure_round_trips(worker, round_trips)?;
    let oneway_per_s = measure_one_way(worker, one_way)?;
    worker.send(
        "result",
        json!({ "rtt_us": rtt_us, "oneway_per_s": oneway_per_s }),
    )?;
    // It only ever disconnects: when the monitor asks this worker to end.
    let _ = worker.stopping().recv();
    Ok(())
}

fn measure_round_trips(worker: &Worker, round_trips: u64) -> session::Result<Value> {
    let args = json!({ "text": "x".repeat(40) });
    let mut times = Vec::new();
    for _ in 0..round_trips {
        let asked = Instant::now();
        worker.request("bench", &args, PATIENCE)?;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get((times.len() - 1) * percent / 100);
    Ok(json!({
        "min": at(0), "p50": at(50), "p95": at(95), "max": at(100), "n": round_trips,
    }))
}

fn measure_one_way(worker: &Worker, one_way: u64) -> Result<f64, Box<dyn Error>> {
    let args = json!({ "text": "x".repeat(40) });
    let begun = Instant::now();
    for sent in 1..=one_way {
        worker.send("tick", &args)?;
        if sent % BATCH == 0 || sent == one_way {
            let heard = worker.request("count", (), PATIENCE)?;
            if heard != sent {
                return Err(
                    format!("expected {sent} messages, found {heard}: some were lost").into(),
                );
            }
        }
    }
    #[allow(clippy::cast_precision_loss)] // A rate needs no 52 bits.
    Ok(one_way as f64 / begun.elapsed().as_secs_f64())
}
