//! A worker that does what its first argument says, for `worker_side.rs`.

use std::io::Write;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, hint, iter, panic, thread};

use serde_json::{Value, json};
use session::__private::Told;
use session::{Error, PanicPolicy, Session, Worker};

/// The panic hook that was there before ours runs.
static HOOKED: AtomicBool = AtomicBool::new(false);

type Outcome = Result<ExitCode, String>;

fn main() -> ExitCode {
    let mode = env::args().nth(1).unwrap_or_default();
    let policy = match mode.as_str() {
        "panic-in-a-spared-thread" | "panic-in-main-policy-main" => PanicPolicy::Main,
        _ => PanicPolicy::Any,
    };
    let stack = match mode.as_str() {
        "tiny-stack" => 1,
        _ => session::DEFAULT_STACK,
    };
    if mode == "panic-as-main-returns" {
        panic::set_hook(Box::new(|_| {
            HOOKED.store(true, Ordering::SeqCst);
            // Long enough for main to return before this panic's report is complete.
            thread::sleep(Duration::from_millis(200));
        }));
    }
    Session::new(move |worker| run(&mode, &worker))
        .describe(|outcome| Told(outcome).error_text())
        .panic(policy)
        .stack(stack)
        .launch()
}

fn run(mode: &str, worker: &Worker) -> Outcome {
    match mode {
        "code" => return Ok(ExitCode::from(7)),
        "error" => return Err("no disk".into()),
        "settings" => settings(worker),
        "serve" => watch_the_end(worker),
        "drain" => return drain(worker),
        "drain-with-a-panic" => {
            let stopping = worker.stopping();
            worker.log("set up").unwrap();
            let _ = stopping.recv();
            panic!("while draining");
        }
        "never-drained" => {
            drop(worker.stopping());
            worker.log("set up").unwrap();
        }
        "hang" | "hang-with-a-grandchild" => hang_at_the_end(mode, worker),
        "panic-at-the-end" => {
            worker.on_exit(|_| panic!("no database")).unwrap();
            watch_the_end(worker);
        }
        "late" => late_handler(worker),
        "panic-in-main" | "panic-in-main-policy-main" => {
            watch_the_end(worker);
            panic!("no luck: {}", 7);
        }
        "panic-in-a-thread" => {
            watch_the_end(worker);
            panic_in_a_thread();
        }
        "panic-in-a-spared-thread" => {
            let is_spared = panic_in_a_thread().join().is_err();
            worker.log(&format!("spared: {is_spared}")).unwrap();
            return Ok(ExitCode::SUCCESS);
        }
        "panic-as-main-returns" => {
            panic_in_a_thread();
            while !HOOKED.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            return Ok(ExitCode::SUCCESS);
        }
        "many-panics" => many_panics(worker),
        "panic-with-another-hook" => {
            watch_the_end(worker);
            panic::set_hook(Box::new(|_| ()));
            panic!("unseen");
        }
        "overflow" => drop(deeper(0)),
        "kill" => worker.kill("done", true, 9).unwrap(),
        "ask" => ask(worker),
        "listen" => listen(worker),
        "panic-in-a-listener" => {
            watch_the_end(worker);
            worker.on("greet", |_| panic!("no manners")).unwrap();
            worker.ready().unwrap();
        }
        "children" => children(worker),
        "visitors" => return visitors(worker),
        "visitors-and-no-descriptors" => return visitors_and_no_descriptors(worker, 1),
        "no-descriptors" => return visitors_and_no_descriptors(worker, 0),
        "rerun" => rerun(worker),
        "twice" => twice(worker),
        other => return Err(format!("no mode `{other}`")),
    }
    loop {
        thread::park();
    }
}

/// Tells the monitor, and a file where one is named, why the worker ends.
fn watch_the_end(worker: &Worker) {
    let told = worker.clone();
    worker
        .on_exit(move |reason| {
            // Whoever read this may be gone, and that must not matter.
            println!("a handler prints");
            let _ = told.log(&format!("handler: {reason}"));
            leave_a_word(&format!("{reason}\n"));
        })
        .unwrap();
    println!("set up");
    worker.log("set up").unwrap();
}

fn leave_a_word(text: &str) {
    if let Some(path) = env::args().nth(2) {
        let old = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, old + text).unwrap();
    }
}

fn settings(worker: &Worker) {
    let app: Value = worker.config().unwrap();
    let wrong = worker.config::<u8>().is_err();
    let unknown = worker.port("metrics").unwrap_err();
    worker
        .log(
            &json!({
                "generation": worker.generation(),
                "host": worker.host(),
                "port": worker.port("server").unwrap(),
                "app": app,
                "wrong": wrong,
                "unknown": unknown.to_string(),
                "same": session::worker().unwrap().generation() == worker.generation(),
                "no monitor": session::monitor().unwrap_err().to_string(),
                "thread": thread::current().name(),
                "name": fs::read_to_string("/proc/self/comm").unwrap().trim(),
            })
            .to_string(),
        )
        .unwrap();
    worker.ready().unwrap();
    worker.set_port("server", 4000, true).unwrap();
    assert!(worker.set_port("metrics", 4000, true).is_err());
    assert!(worker.set_port("server", 0, true).is_err());
    worker.set_polling(2.5, false).unwrap();
    for seconds in [0.0, 0.99, 86_400.1, f64::NAN, f64::INFINITY, -5.0] {
        assert!(worker.set_polling(seconds, true).is_err());
    }
    worker.send("visitors", json!({ "today": 17 })).unwrap();
    assert!(worker.send("kill", ()).is_err());
    session::kill("enough", false, 3).unwrap();
}

fn drain(worker: &Worker) -> Outcome {
    let stopping = worker.stopping();
    watch_the_end(worker);
    assert!(stopping.recv().is_err());
    worker.log("draining").map_err(|error| error.to_string())?;
    thread::sleep(Duration::from_millis(100));
    leave_a_word("drained\n");
    Ok(ExitCode::from(5))
}

fn hang_at_the_end(mode: &str, worker: &Worker) {
    worker
        .on_exit(|_| {
            loop {
                thread::park();
            }
        })
        .unwrap();
    watch_the_end(worker);
    if mode == "hang-with-a-grandchild" {
        #[allow(clippy::zombie_processes)] // Who ends it is what the test is about.
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        worker.log(&child.id().to_string()).unwrap();
    }
}

fn late_handler(worker: &Worker) {
    let again = worker.clone();
    worker
        .on_exit(move |_| {
            let late = again.on_exit(|_| ()).unwrap_err();
            again.log(&late.to_string()).unwrap();
        })
        .unwrap();
    worker.ready().unwrap();
}

fn panic_in_a_thread() -> thread::JoinHandle<()> {
    thread::Builder::new()
        .name("visitor".into())
        .spawn(|| panic!("bad request"))
        .unwrap()
}

fn many_panics(worker: &Worker) {
    watch_the_end(worker);
    for _ in 0..16 {
        panic_in_a_thread();
    }
    panic!("bad luck");
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let frame = hint::black_box([depth; 128]);
    hint::black_box(deeper(depth + 1)) + frame[7]
}

/// Tells what becomes of three requests.
fn ask(worker: &Worker) {
    let second = Duration::from_secs(1);
    let (done, is_done) = mpsc::channel();
    // The process is gone once its handlers have ended.
    worker
        .on_exit(move |_| assert!(is_done.recv().is_ok()))
        .unwrap();
    let answer = worker.request("echo", json!({ "a": 1 }), 20 * second);
    worker.log(&format!("first: {answer:?}")).unwrap();
    let error = worker.request("late", (), Duration::from_millis(50));
    worker.log(&format!("second: {error:?}")).unwrap();
    let known = worker.authorize("right") && !worker.authorize("wrong");
    let too_long = worker.authorize(&"x".repeat(257));
    worker.log(&format!("known: {known} {too_long}")).unwrap();
    let died = worker.request("last", (), 20 * second);
    assert!(matches!(died, Err(Error::PeerDied)));
    leave_a_word("peer died\n");
    done.send("done").unwrap();
}

fn listen(worker: &Worker) {
    worker
        .on("greet", |message| {
            message.reply(format!("hello, {}", message.args())).unwrap();
        })
        .unwrap();
    let gone = worker.on("gone", |_| ()).unwrap();
    assert!(worker.off(gone) && !worker.off(gone));
    assert!(worker.on("kill", |_| ()).is_err());
    worker.on("cleared", |_| ()).unwrap();
    worker.clear("cleared");
    worker.ready().unwrap();
}

/// What a child of this worker finds on its descriptors.
fn children(worker: &Worker) {
    let output = Command::new("sh")
        .args(["-c", "cat | wc -c; ls -l /proc/self/fd"])
        .stdin(std::process::Stdio::inherit())
        .output()
        .unwrap();
    worker
        .log(&String::from_utf8_lossy(&output.stdout))
        .unwrap();
    let mut own = String::new();
    std::io::stdin().read_line(&mut own).unwrap();
    worker.log(&format!("own: {own:?}")).unwrap();
}

/// Serves on a held listener until it is asked to stop.
fn visitors(worker: &Worker) -> Outcome {
    let listener = worker.listener("server").unwrap();
    let address = listener.local_addr().unwrap();
    worker.log(&format!("listens at {address}")).unwrap();
    children(worker);
    for visitor in listener.incoming() {
        let answer = format!("generation {}", worker.generation());
        visitor.unwrap().write_all(answer.as_bytes()).unwrap();
    }
    worker.log("the queue is left to others").unwrap();
    Ok(ExitCode::from(5))
}

/// Takes so many visitors, then has no descriptor left for a while.
fn visitors_and_no_descriptors(worker: &Worker, before: usize) -> Outcome {
    let listener = worker.listener("server").unwrap();
    let mut incoming = listener.incoming();
    for _ in 0..before {
        drop(incoming.next().unwrap().unwrap());
    }
    let opened = iter::from_fn(|| fs::File::open("/dev/null").ok());
    let all: Vec<_> = opened.collect();
    let error = incoming.next().unwrap().unwrap_err();
    worker.log(&format!("{error}")).unwrap();
    thread::spawn(move || {
        // Some more attempts fail meanwhile, and are not told.
        thread::sleep(Duration::from_millis(300));
        drop(all);
    });
    let mut visitor = incoming.next().unwrap().unwrap();
    visitor.write_all(b"after all").unwrap();
    drop(visitor);
    assert!(incoming.next().is_none());
    Ok(ExitCode::from(6))
}

/// Runs this program again: as it is, and with an empty environment, also through a shell.
fn rerun(worker: &Worker) {
    let program = env::current_exe().unwrap();
    let mut plain = Command::new(&program);
    let mut cleared = Command::new(&program);
    cleared.env_clear();
    let mut nested = Command::new("sh");
    nested
        .env_clear()
        .args(["-c", "(exec \"$0\" code); exit $?"])
        .arg(&program);
    let mut disabled = Command::new(&program);
    disabled.env("SESSION_DISABLE", "1").arg("code");
    for command in [&mut plain, &mut cleared, &mut nested, &mut disabled] {
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        worker
            .log(&format!("{:?} {}", output.status.code(), told.trim()))
            .unwrap();
    }
}

fn twice(worker: &Worker) {
    let second = Session::new(|_| ()).try_launch();
    worker.log(&format!("{}", second.unwrap_err())).unwrap();
    let code = Session::new(|_| ()).launch();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(70)));
}
