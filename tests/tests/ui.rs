//! What `#[session::main]` accepts and what it says about the rest: one program per rule.

use std::env;
use std::process::Command;

/// Runs every program of `ui/pass` and compares what the compiler says about those of `ui/fail`.
///
/// The passing programs are about the expansion, so they run without a monitor. The variable that
/// says so has to be there before this process has a second thread, hence the second process.
#[test]
fn ui() {
    if env::var_os("SESSION_DISABLE").is_none() {
        let program = env::current_exe().expect("a test knows its own program");
        let status = Command::new(program)
            .args(["ui", "--exact", "--nocapture"])
            .env("SESSION_DISABLE", "1")
            .status()
            .expect("a test can run its own program");
        assert!(status.success(), "the ui tests failed: {status}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
