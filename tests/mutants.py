#!/usr/bin/env python3
"""Breaks the library on purpose, one named defect at a time, and demands that a test fails.

    python3 tests/mutants.py            # all, some minutes
    python3 tests/mutants.py S26 M2     # only these

The first seven are defects that the system which this one re-imagines has had. Each is applied to a
copy of the last commit, and a mutant that does not compile, or that no test sees, fails the run.
Those of the fault matrix are in `fault_mutants.py`.

Beside these, `cargo mutants` tries every small change to the pure rooms. CONTRIBUTING.md has its commands,
how long they take and what they last counted; `.cargo/mutants.toml` has the few mutants that change nothing.
"""

import sys

sys.dont_write_bytecode = True
import mutation  # noqa: E402

MACHINE = "session/src/machine/"

# Name, what it is, the file, what stands there once, what comes in its place, the tests that see it.
MUTANTS = [
    ("S3", "a worker that dies during a stop is started again", MACHINE + "ended.rs",
     "match (self.want, worker.crash()) {", "match (Want::Run, worker.crash()) {", "machine"),
    ("S4", "force kills nothing", MACHINE + "ladder.rs",
     "                    self.leaving = Some(why);\n                }\n                self.kill(now, out);",
     "                    self.leaving = Some(why);\n                }\n                let _ = now;", "machine"),
    ("S8", "exit handlers run again", MACHINE + "stop.rs",
     "        out.push(Action::Tell(Notice::Forcing));",
     "        out.push(Action::Tell(Notice::Forcing));\n"
     "        out.push(Action::RunExitHandlers { within: HANDLERS_FORCED });", "machine"),
    ("S25", "the first failed probe ends the probing", MACHINE + "probing.rs",
     "        self.next = Some(now + self.quick);\n    }\n\n    pub(super) fn next_interval",
     "        self.next = None;\n        let _ = now;\n    }\n\n    pub(super) fn next_interval", "machine"),
    ("S26", "the count of failures never starts anew", MACHINE + "readiness.rs",
     "std::mem::take(&mut self.probes.failures) > 0", "self.probes.failures > 0", "machine"),
    ("S44", "arguments are not anchored", "session/src/repl/usage.rs",
     "options.iter().any(|option| option == token)",
     "options.iter().any(|option| token.contains(option.as_str()))", "repl"),
    ("S47", "force waits behind a clean stop", MACHINE + "stop.rs",
     "if same_request || stop.how == How::Force {",
     "if same_request || stop.how == How::Force || how == How::Force {", "machine"),
    ("M1", "the delay does not grow", MACHINE + "backoff.rs",
     "self.min.saturating_mul(1 << doublings)", "self.min.saturating_mul(1 << (doublings & 0))", "machine"),
    ("M2", "an event of a dead generation counts for the next", MACHINE + "supervisor.rs",
     "Slot::Occupied(worker) if worker.generation == generation => Some(worker),",
     "Slot::Occupied(worker) if worker.generation >= generation => Some(worker),", "machine"),
    ("M3", "it gives up one failure late", MACHINE + "backoff.rs",
     "(failures >= limit.failures)", "(failures > limit.failures)", "machine"),
    ("M4", "the old worker is not told to go after a reload", MACHINE + "reload.rs",
     "                old.leave(now, Leaving::Restart, How::Clean, &self.policy, out);\n",
     "                let _ = (&mut old, Leaving::Restart, How::Clean);\n", "machine"),
    ("M5", "a worker is probed where another may answer", MACHINE + "readiness.rs",
     "self.serving == Serving::Private || !self.accompanied",
     "self.serving == Serving::Private || self.accompanied || !self.accompanied", "machine"),
    ("M6", "what cannot be probed is unhealthy", MACHINE + "readiness.rs",
     "if !std::mem::replace(&mut self.probes.told_obstacle, true) {",
     "self.probes.failures += 1;\n"
     "                if !std::mem::replace(&mut self.probes.told_obstacle, true) {", "machine"),
]

TARGET = ("-p", "session", "--lib")

mutation.main([mutation.Mutant(*five, TARGET, (tests,)) for *five, tests in MUTANTS], sys.argv[1:])
