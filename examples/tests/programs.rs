//! Each example, run as its header says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use session_tests::running::{Start, folder, free_port};

#[test]
fn hello_answers_with_its_pid_and_generation() {
    let mut session = Start::default().run(env!("CARGO_BIN_EXE_hello"));
    let pid = session.expect_spawn();
    let answer = session.get("/");
    assert!(answer.contains(&format!("pid {pid}")), "{answer}");
    assert!(answer.contains("generation 1"), "{answer}");
}

#[test]
fn dash_is_ended_by_its_key_and_by_nothing_else() {
    let folder = folder();
    let key_file = folder.join("key");
    let start = Start::default()
        .environment("DASH_KEY_FILE", key_file.to_str().unwrap())
        .environment("DASH_BACKUP_DIR", folder.to_str().unwrap());
    let mut session = start.run(env!("CARGO_BIN_EXE_dash"));
    session.expect("distributed session key to recipients");
    session.expect_ready();
    assert!(session.ask("GET", "/kill", "").unwrap().contains(" 405 "));
    assert!(session.ask("POST", "/kill", "").unwrap().contains(" 403 "));
    assert!(
        session
            .ask("POST", "/kill", "X-Session-Key: wrong\r\n")
            .unwrap()
            .contains(" 403 ")
    );
    let backup = session.ask("POST", "/backup?name=evening", "").unwrap();
    assert!(backup.contains(" 200 "), "{backup}");
    session.enter("debug loud somebody");
    session.expect("usage: `debug <active|passive> <recipient>`");
    let key = std::fs::read_to_string(&key_file).unwrap();
    let _ = session.ask(
        "POST",
        "/kill",
        &format!("X-Session-Key: {}\r\n", key.trim()),
    );
    assert_eq!(session.wait().0.code(), Some(0));
    let log = session.rest();
    assert!(!log.contains(key.trim()), "the key is in the log");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn bench_server_gives_the_answer_the_bench_wants() {
    let session = Start::default().run(env!("CARGO_BIN_EXE_bench_server"));
    let answer = session.get("/");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(body["pid"].is_u64() && body["start_ns"].is_u64(), "{body}");
}

#[test]
fn bench_ipc_prints_its_figures_last() {
    let mut session = Start::default()
        .args(&["200", "5000"])
        .run(env!("CARGO_BIN_EXE_bench_ipc"));
    assert_eq!(session.wait().0.code(), Some(0));
    let log = session.rest();
    let last = log.lines().last().unwrap();
    let figures: serde_json::Value = serde_json::from_str(last).unwrap();
    assert!(figures["oneway_per_s"].as_f64().unwrap() > 0.0, "{last}");
    assert_eq!(figures["rtt_us"]["n"], 200, "{last}");
}

#[test]
fn bench_ipc_refuses_to_measure_nothing() {
    for args in [["0", "5"], ["5", "0"], ["x", "5"]] {
        let mut session = Start::default()
            .args(&args)
            .run(env!("CARGO_BIN_EXE_bench_ipc"));
        assert_eq!(session.wait().0.code(), Some(64), "{args:?}");
    }
}

#[test]
fn a_configuration_with_five_mistakes_names_five_places_and_starts_nothing() {
    let config = r#""pollingRoute":"x","pollingIntervalSeconds":0,"showServerOutput":1,
        "stop":{"graceSeconds":-1},"restart":{"minDelay":1}"#;
    let mut session = Start::config(config).run(env!("CARGO_BIN_EXE_hello"));
    assert_eq!(session.wait().0.code(), Some(78));
    let log = session.rest();
    assert_eq!(log.matches("session.config.json:").count(), 5, "{log}");
    assert!(!log.contains("spawned"), "{log}");
}

#[test]
fn deploy_moves_to_a_new_build_without_a_failed_request() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy.sh");
    let output = std::process::Command::new("sh")
        .args([script, &free_port().to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    let last = told.lines().last().unwrap();
    assert!(last.contains("answered by version 1, "), "{told}{errors}");
    assert!(
        last.contains("answered by version 2, 0 failed"),
        "{told}{errors}"
    );
}

#[test]
fn dash_tells_its_audience_of_the_end_and_does_not_wait_for_it_to_leave() {
    let mut session = Start::default().run(env!("CARGO_BIN_EXE_dash"));
    session.expect_ready();
    let mut client = TcpStream::connect(("127.0.0.1", session.port)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    client
        .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut told = BufReader::new(client);
    let mut line = String::new();
    while line != "data: welcome\n" {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "no welcome");
    }
    session.enter("exit clean");
    let (status, took) = session.wait();
    assert_eq!(status.code(), Some(0));
    // Far from the grace period of ten seconds.
    assert!(took < Duration::from_secs(4), "{took:?}");
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: server is going down: "), "{rest}");
}
