#!/usr/bin/env python3
"""Takes away what protects from each row of the fault matrix, and demands that the row's test fails.

    python3 tests/fault_mutants.py            # all, about an hour on two processors
    python3 tests/fault_mutants.py A09 D01    # only these rows

`FAULTS.md` says what each row is. A mutant that does not compile, or that its test does not see, fails
the run; so does a test that fails without any mutant. A test that hangs has seen it. What a machine
cannot run is told as skipped, as it is in the tests.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
import mutation  # noqa: E402

MACHINE = "session/src/machine/"
MONITOR = "session/src/monitor/"
WORKER = "session/src/worker/"
SYS = "session/src/sys/"

# Row, what is broken, the file, what stands there once, what comes in its place, the test that must
# fail, as FAULTS.md names it.
MUTANTS = [
    # Spawn, death, respawn.
    ("A01", "a death during the handshake is not taken in", MACHINE + "generation.rs",
     ") -> bool {\n        match self.phase {",
     ") -> bool {\n        if matches!(self.phase, Phase::Handshaking { .. }) {\n            return false;\n        }\n"
     "        match self.phase {",
     "tests/tests/faults_a.rs::a01_a_worker_killed_at_any_point_is_replaced"),
    ("A01", "requests that are open at a death wait for their timeout", MONITOR + "sources/io.rs",
     "        self.peer.close();\n", "",
     "tests/tests/faults_a.rs::a01_a_request_to_a_worker_that_dies_ends_at_once"),
    ("A02", "a worker that was never ready counts as stable", MACHINE + "ended.rs",
     ".is_some_and(|ready_for| ready_for >= self.policy.backoff.stable)",
     ".is_none_or(|ready_for| ready_for >= self.policy.backoff.stable)",
     "tests/tests/faults_a.rs::a02_every_way_to_die_at_once_is_within_the_budget"),
    ("A03", "a worker that dies during a stop is started again", MACHINE + "ended.rs",
     "match (self.want, worker.crash()) {", "match (Want::Run, worker.crash()) {",
     "tests/tests/faults_a.rs::a03_a_death_that_races_with_a_stop_starts_nothing"),
    ("A04", "a worker that could not be started is not tried again", MACHINE + "supervisor.rs",
     "Want::Run => self.back_off(now, false, jitter, out),",
     "Want::Run => {\n                let _ = jitter;\n                self.close(now, 71, out);\n            }",
     "tests/tests/faults_a.rs::a04_a_lack_of_descriptors_is_retried"),
    ("A05", "workers are started from whatever is on disk", SYS + "image.rs",
     'let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));',
     "let path = path_at_start()?;",
     "examples/tests/zero_downtime.rs::a_crash_never_picks_up_a_new_file"),
    ("A06", "a hello is waited for without end", MACHINE + "mod.rs",
     "HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);",
     "HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3600);",
     "tests/tests/faults_a.rs::a06_a_worker_that_is_stopped_before_its_hello_is_replaced"),
    ("A07", "what a worker leaves in its group lives on", MONITOR + "driver.rs",
     "        self.world.kill(pid);\n", "",
     "tests/tests/faults_a.rs::a07_what_a_worker_leaves_in_its_group_goes_before_the_next_one_starts"),
    ("A08", "a group is signalled after its leader was reaped", MONITOR + "driver.rs",
     "        self.world.kill(pid);\n        let (status, usage) = self.world.reap(pid);\n",
     "        let (status, usage) = self.world.reap(pid);\n        self.world.kill(pid);\n",
     "tests/tests/faults_a.rs::a08_a_pid_that_is_used_again_is_never_signalled"),
    ("A09", "SIGCHLD stays ignored", MONITOR + "mod.rs",
     "    sys::reset_child_signal();\n    let log", "    let log",
     "tests/tests/faults_a.rs::a09_signals_that_a_launcher_blocked_or_ignored_work"),
    ("A09", "blocked signals stay blocked", "session/src/launch.rs",
     "        sys::clear_mask();\n", "",
     "tests/tests/faults_a.rs::a09_signals_that_a_launcher_blocked_or_ignored_work"),
    ("A10", "a worker does not mind that its monitor is gone", WORKER + "control.rs",
     "        self.shared.end(Ending::MonitorGone);\n", "",
     "tests/tests/faults_a.rs::a10_without_its_monitor_a_worker_ends_and_its_port_is_free"),
    ("A12", "an exit code loses its highest bit", SYS + "process.rs",
     "ExitStatus::Code(libc::WEXITSTATUS(status))", "ExitStatus::Code(libc::WEXITSTATUS(status) & 0x7f)",
     "tests/tests/faults_a.rs::a12_every_exit_code_and_signal_is_told_as_it_is"),
    ("A14", "each spawn leaves a descriptor behind", MONITOR + "spawn.rs",
     "    crate::sys::set_nonblocking(ours.as_fd())?;\n",
     "    crate::sys::set_nonblocking(ours.as_fd())?;\n    std::mem::forget(ours.try_clone()?);\n",
     "tests/tests/soak.rs::a14_ten_thousand_deaths_leave_nothing_behind"),
    ("A16", "a program does not look for itself among its ancestors", "session/src/launch/role.rs",
     "below_own_worker: marker.is_none() && image", "below_own_worker: false && marker.is_none() && image",
     "tests/tests/nested.rs::a_worker_that_runs_its_own_program_again_is_told_what_to_do_instead"),
    ("A16", "sessions in sessions have no bound", "session/src/launch/role.rs",
     "MAX_DEPTH: u32 = 4;", "MAX_DEPTH: u32 = 400;",
     "tests/tests/nested.rs::two_programs_that_start_each_other_end_at_the_fifth_too"),
    # Stop and signals.
    ("B01", "the ladder ends with SIGTERM", MACHINE + "ladder.rs",
     "out.push(Action::Tell(Notice::Killing { generation }));\n                self.kill(now, out);",
     "out.push(Action::Tell(Notice::Killing { generation }));\n                self.terminate(now, TERMINATE, out);",
     "tests/tests/faults_b.rs::b01_a_worker_that_heeds_neither_its_channel_nor_sigterm_is_killed_in_time"),
    ("B02", "SIGTERM comes without SIGCONT", SYS + "process.rs",
     "    signal_group(leader, Signal::SIGCONT);\n", "",
     "tests/tests/faults_b.rs::b02_a_stopped_worker_is_ended_like_any_other"),
    ("B03", "a second worker is started beside one that cannot be killed", MACHINE + "supervisor.rs",
     "Phase::Unkillable => out.push(Action::Tell(Notice::CannotRestart)),", "Phase::Unkillable => self.spawn(out),",
     "tests/tests/faults_b.rs::b03_a_worker_that_cannot_be_killed_has_no_second_one_beside_it"),
    ("B03", "the same, where nothing can be frozen", MACHINE + "supervisor.rs",
     "Phase::Unkillable => out.push(Action::Tell(Notice::CannotRestart)),", "Phase::Unkillable => self.spawn(out),",
     "session/src/machine/tests/death.rs::an_unkillable_worker_is_told_and_has_no_second_one_beside_it"),
    ("B04", "an operator who asks twice is heard once", MACHINE + "stop.rs",
     "Asker::Operator => false,", "Asker::Operator => how == How::Clean,",
     "tests/tests/faults_b.rs::b04_whoever_asks_again_escalates_and_nothing_makes_a_stop_gentler"),
    ("B04", "force waits behind a clean stop", MACHINE + "stop.rs",
     "if same_request || stop.how == How::Force {",
     "if same_request || stop.how == How::Force || how == How::Force {",
     "examples/tests/stop.rs::force_is_obeyed_while_a_clean_exit_hangs"),
    ("B05", "signals have their handler after the first worker", MONITOR + "mod.rs",
     "    sources::signals::install(sender.clone())?;\n",
     "    let late = sender.clone();\n"
     "    std::thread::spawn(move || {\n"
     "        std::thread::sleep(Duration::from_millis(40));\n"
     "        sources::signals::install(late)\n"
     "    });\n",
     "tests/tests/faults_b.rs::b05_a_signal_at_any_instant_of_the_start_leaves_nobody_behind"),
    ("B06", "the monitor's exit handlers never run", MONITOR + "effects.rs",
     "let handlers = std::mem::take(&mut self.parts.on_exit);", "let handlers = Vec::new();",
     "tests/tests/faults_b.rs::b06_exit_handlers_run_once_whatever_they_do_and_whoever_asks"),
    ("B06", "an exit handler that panics has no end", WORKER + "exit.rs",
     "Err(payload) => duty.end(Some(&panicked(&message_of(&**payload)))),",
     "Err(payload) => drop(message_of(&**payload)),",
     "tests/tests/worker_side.rs::a_handler_that_panics_is_told_and_the_others_run"),
    ("B08", "a hang-up counts under nohup too", MONITOR + "sources/signals.rs",
     "let outcome = if sys::hangup_is_ignored() {", "let outcome = if false && sys::hangup_is_ignored() {",
     "tests/tests/terminal.rs::under_nohup_the_session_outlives_its_terminal"),
    ("B09", "a worker stays in the group of its monitor", MONITOR + "spawn.rs",
     "            .env(MARKER, marker)\n            .process_group(0);", "            .env(MARKER, marker);",
     "tests/tests/terminal.rs::ctrl_c_ends_the_session_cleanly_and_reaches_the_monitor_alone"),
    ("B10", "a monitor that slept blames the server", "session/src/probe/mod.rs",
     "if late > LAG =>", "if late > 3600 * LAG =>",
     "tests/tests/faults_b.rs::b10_a_monitor_that_was_suspended_blames_no_worker"),
    ("B11", "the last reason is the one that counts", MONITOR + "driver.rs",
     "        if self.stop_reason.is_none() {", "        if self.stop_reason.is_none() || !reason.is_empty() {",
     "tests/tests/faults_b.rs::b11_the_first_reason_is_kept_and_there_is_one_end"),
    # Health.
    ("C01", "an answer is waited for without end", "session/src/probe/mod.rs",
     "    stream.set_read_timeout(Some(left))?;\n", "    let _ = left;\n",
     "tests/tests/faults_c.rs::c01_a_server_that_accepts_and_never_answers_is_replaced"),
    ("C02", "an unhealthy worker is only told", MACHINE + "readiness.rs",
     "                    self.leave(now, Leaving::Unhealthy, How::Clean, policy, out);\n",
     "                    let _ = (now, Leaving::Unhealthy, How::Clean);\n",
     "tests/tests/faults_c.rs::c02_a_deadlocked_worker_is_replaced"),
    ("C03", "failures count that are not consecutive", MACHINE + "readiness.rs",
     "std::mem::take(&mut self.probes.failures) > 0", "self.probes.failures > 0",
     "tests/tests/faults_c.rs::c03_one_failure_in_three_is_tolerated"),
    ("C04", "a start may take for ever", MACHINE + "generation.rs",
     "self.startup_deadline = Some(now + policy.startup_timeout);",
     "self.startup_deadline = None;\n                let _ = policy;",
     "tests/tests/faults_c.rs::c04_a_worker_that_never_becomes_healthy_is_a_failed_start"),
    ("C05", "whoever answers on the port is the worker", MONITOR + "effects.rs",
     "let group = (!record.trusted && !record.is_held).then_some(record.pid);", "let group = None;",
     "tests/tests/faults_c.rs::c05_a_stranger_on_the_port_is_never_healthy_and_is_named"),
    ("C06", "each piece of an answer has a deadline of its own", "session/src/probe/mod.rs",
     "        let left = clock.remaining(Phase::Answer)?;\n", "        let left = DRAIN * 3;\n        let _ = clock;\n",
     "tests/tests/faults_c.rs::c06_an_answer_without_end_costs_bounded_time_and_memory"),
    ("C07", "a redirect is an answer like any other", "session/src/probe/mod.rs",
     "300..=399 => Verdict::Unhealthy(Failure::Redirect(status)),", "300..=399 => Verdict::Healthy,",
     "tests/tests/faults_c.rs::c07_a_redirect_and_the_environment_lead_a_probe_nowhere"),
    ("C08", "what is no HTTP is read on", "session/src/probe/mod.rs",
     "                return Err(Verdict::Unhealthy(Failure::Malformed(malformed)));\n",
     "                let _ = malformed;\n",
     "tests/tests/faults_c.rs::c08_what_is_no_http_is_no_health_and_acts_on_nobody"),
    ("C09", "every host is asked at 127.0.0.1", "session/src/probe/mod.rs",
     "        ip => ip,\n", "        _ => Ipv4Addr::LOCALHOST.into(),\n",
     "tests/tests/faults_c.rs::c09_no_name_is_looked_up_and_either_kind_of_loopback_will_do"),
    ("C10", "deadlines are of the wall clock", MONITOR + "driver.rs",
     "        self.world.now().saturating_duration_since(self.started)\n",
     "        static START: OnceLock<std::time::SystemTime> = OnceLock::new();\n"
     "        let start = START.get_or_init(std::time::SystemTime::now);\n"
     "        start.elapsed().unwrap_or_default()\n",
     "tests/tests/faults_c.rs::c10_a_wall_clock_that_jumps_moves_only_the_stamps"),
    ("C11", "what keeps the monitor from asking is the server's fault", "session/src/probe/mod.rs",
     "_ => Verdict::Inconclusive(obstacle_of(error)),", "_ => Verdict::Unhealthy(Failure::Refused),",
     "tests/tests/faults_c.rs::c11_a_lack_of_descriptors_or_ports_says_nothing_of_the_server"),
    ("C12", "an answer counts that nobody has asked for", MACHINE + "readiness.rs",
     "let Some(started) = self.probes.take_in_flight() else {\n            return;\n        };",
     "let started = self.probes.take_in_flight().unwrap_or(now);",
     "session/src/machine/tests/health.rs::a_verdict_that_nobody_asked_for_counts_not"),
    # The channel.
    ("D01", "a line has no limit until it ends", "session/src/ipc/codec.rs",
     "if self.partial.len() + rest.len() > self.limit {", "if self.partial.len() + rest.len() > 4096 * self.limit {",
     "tests/tests/hostile.rs::an_endless_line_costs_no_memory_and_the_next_one_is_heard"),
    ("D02", "after a bad line there must be a hello", MONITOR + "sources/ear.rs",
     "            Err(bad) => self.bad(heard, &bad),\n",
     "            Err(bad) => {\n                self.bad(heard, &bad);\n                heard.greeted = false;\n            }\n",
     "tests/tests/hostile.rs::every_bad_line_is_skipped_and_the_next_one_is_heard"),
    ("D02", "bad lines are not counted", MONITOR + "sources/ear.rs",
     "            Err(bad) => self.bad(heard, &bad),\n", "            Err(_) => {}\n",
     "tests/tests/hostile.rs::every_bad_line_is_skipped_and_the_next_one_is_heard"),
    ("D03", "a write that a signal interrupts is the end", SYS + "fd.rs",
     "            return Ok(sent);\n        }\n        let error = io::Error::last_os_error();\n"
     "        if error.kind() != io::ErrorKind::Interrupted {\n            return Err(error);\n        }",
     "            return Ok(sent);\n        }\n        return Err(io::Error::last_os_error());",
     "tests/tests/faults_d.rs::d03_calls_that_a_signal_interrupts_are_made_again"),
    ("D03", "a read that a signal interrupts is the end", MONITOR + "sources/io.rs",
     "if matches!(error.kind(), WouldBlock | Interrupted) => {}", "if error.kind() == WouldBlock => {}",
     "tests/tests/faults_d.rs::d03_calls_that_a_signal_interrupts_are_made_again"),
    ("D03", "half a line at the end is not told", MONITOR + "sources/io.rs",
     "                    ear.bad(heard, &bad);\n", "                    let _ = bad;\n",
     "tests/tests/hostile.rs::half_a_line_before_a_death_is_told_with_its_length"),
    ("D04", "a worker may say as much as it likes", MONITOR + "sources/ear.rs",
     "if heard.words > MAX_WORDS_PER_SECOND\n", "if heard.words > 1_000_000 * MAX_WORDS_PER_SECOND\n",
     "tests/tests/hostile.rs::a_flood_of_good_lines_is_capped_and_told"),
    ("D05", "a worker that does not read is waited for", MONITOR + "outbox.rs",
     "                Ok(count) => written = count,\n",
     "                Ok(count) => {\n"
     "                    written = count;\n"
     "                    while written < line.len() {\n"
     "                        let mut wait = [sys::Poll::new(self.socket.as_fd(), sys::Interest::Write)];\n"
     "                        let _ = sys::poll(&mut wait, None);\n"
     "                        let rest = &line[written..];\n"
     "                        written += sys::write_nonblocking(self.socket.as_fd(), rest).unwrap_or(0);\n"
     "                    }\n"
     "                }\n",
     "tests/tests/hostile.rs::a_worker_that_never_reads_holds_up_nobody"),
    ("D05", "what waits for a worker has no bound", MONITOR + "outbox.rs",
     "unsent.bytes.len() + line.len() > MAX_UNSENT", "unsent.bytes.len() + line.len() > 4096 * MAX_UNSENT",
     "tests/tests/hostile.rs::a_worker_that_never_reads_holds_up_nobody"),
    ("D06", "a worker without a channel is left alone", MACHINE + "generation.rs",
     "deadline: now + CHANNEL_LOST,", "deadline: now + 3600 * CHANNEL_LOST,",
     "tests/tests/hostile.rs::a_worker_that_closes_its_channel_and_lives_on_is_replaced"),
    ("D07", "a report waits for whoever holds the output", MONITOR + "driver.rs",
     "self.world.drain(generation, io::DRAIN);", "self.world.drain(generation, 3600 * io::DRAIN);",
     "tests/tests/faults_d.rs::d07_a_grandchild_that_keeps_the_output_holds_up_nothing"),
    ("D07", "whoever inherits a channel is heard", MONITOR + "sources/io.rs",
     "            let _ = channel.socket.shutdown(std::net::Shutdown::Read);\n", "            let _ = channel;\n",
     "tests/tests/hostile.rs::who_inherits_the_channel_of_a_dead_worker_is_not_heard"),
    ("D08", "the end of a channel tells no one who waits", MONITOR + "sources/io.rs",
     "        self.peer.close();\n", "",
     "session/src/monitor/sources/io/tests.rs::whoever_waits_for_a_dead_worker_is_told_at_once"),
    ("D09", "a listener's panic is not caught", "session/src/ipc/listeners.rs",
     "catch_unwind(AssertUnwindSafe(|| listener(message))).is_err())",
     "{\n                listener(message);\n                catch_unwind(AssertUnwindSafe(|| ())).is_err()\n            })",
     "tests/tests/faults_d.rs::d09_a_listener_that_fails_costs_its_asker_an_answer_and_nobody_else_anything"),
    ("D10", "any worker may end the session", MONITOR + "hear.rs",
     "if !self.parts.config.worker.may_kill {", "if false && !self.parts.config.worker.may_kill {",
     "tests/tests/hostile.rs::a_kill_without_the_right_is_refused"),
    # Output and logs.
    ("E01", "a reader that is gone ends the monitor", "session/src/log/sink.rs",
     "                Err(error) => return Err(error),\n            }\n        }\n        Ok(())",
     "                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(74),\n"
     "                Err(error) => return Err(error),\n            }\n        }\n        Ok(())",
     "tests/tests/streams.rs::a_pipe_whose_reader_is_gone_stops_nothing"),
    ("E02", "whoever logs waits until it is written", "session/src/log/writer.rs",
     "        self.shared.push(line.into_boxed_slice(), Origin::Monitor);\n",
     "        self.shared.push(line.into_boxed_slice(), Origin::Monitor);\n"
     "        self.flush(Duration::from_secs(3600));\n",
     "tests/tests/streams.rs::a_pipe_that_nobody_reads_stops_nothing"),
    ("E03", "a full disk ends the monitor", "session/src/log/sink.rs",
     "                Err(error) => return Err(error),\n            }\n        }\n        Ok(())",
     "                Err(error) if error.kind() == io::ErrorKind::StorageFull => std::process::exit(74),\n"
     "                Err(error) => return Err(error),\n            }\n        }\n        Ok(())",
     "tests/tests/streams.rs::a_full_disk_stops_nothing"),
    ("E04", "control characters are shown as they are", "session/src/text.rs",
     "    rest.chars().for_each(|c| show(&mut out, c));\n    Cow::Owned(out)",
     "    out.push_str(rest);\n    Cow::Owned(out)",
     "tests/tests/hostile.rs::no_text_reaches_the_log_unescaped"),
    ("E04", "escape sequences of output are shown as they are", "session/src/text.rs",
     "    if !line.contains(|c| c != '\\t' && is_hidden(c)) {", "    if line.contains('\\u{1b}') || !line.contains(is_hidden) {",
     "tests/tests/hostile.rs::no_text_reaches_a_terminal_unescaped"),
    ("E05", "what is left in the pipes of a dead worker is not read", MONITOR + "sources/io.rs",
     "                            connection.hear_out();\n",
     "                            connection.hear_out();\n"
     "                            connection.outputs = [None, None];\n",
     "session/src/monitor/sources/io/tests.rs::what_a_dead_worker_had_written_is_read_after_its_death"),
    ("E05", "little is kept of the output", "session/src/output.rs",
     "TAIL_BYTES: usize = 64 * 1024;", "TAIL_BYTES: usize = 4 * 1024;",
     "examples/tests/lifecycle.rs::the_last_output_is_complete_even_after_100_kb_and_an_abort"),
    ("E06", "a line of output may be a megabyte", "session/src/output.rs",
     "MAX_OUTPUT_LINE: usize = 8 * 1024;", "MAX_OUTPUT_LINE: usize = 1024 * 1024;",
     "tests/tests/faults_e.rs::e06_a_line_without_end_is_split_and_memory_stays_flat"),
    ("E07", "all reports are kept", MONITOR + "driver.rs",
     "MAX_REPORTS: usize = 16;", "MAX_REPORTS: usize = 16_000;",
     "tests/tests/faults_e.rs::e07_a_flood_of_crashes_keeps_its_bounds"),
    # What is typed.
    ("F01", "the end of input ends the session", MONITOR + "sources/repl.rs",
     "            Ok(0) | Err(_) => break,\n",
     "            Ok(0) | Err(_) => {\n"
     "                let _ = inbox.send(Box::new(Input::HangUp));\n"
     "                break;\n            }\n",
     "tests/tests/faults_f.rs::f01_the_end_of_input_at_a_terminal_ends_the_typing_and_nothing_else"),
    ("F01", "input that has ended is read again and again", MONITOR + "sources/repl.rs",
     "            Ok(0) | Err(_) => break,\n", "            Ok(0) | Err(_) => {}\n",
     "tests/tests/streams.rs::without_input_it_costs_nothing"),
    ("F02", "what is typed to others is waited for", MONITOR + "sources/repl.rs",
     "match terminal.then(sys::in_foreground) {", "match terminal.then(|| Some(true)) {",
     "tests/tests/terminal.rs::in_the_background_it_supervises_and_in_the_foreground_it_obeys"),
    ("F03", "commands have no case", "session/src/repl/usage.rs",
     "options.iter().any(|option| option == token)",
     "options.iter().any(|option| option.eq_ignore_ascii_case(token))",
     "tests/tests/faults_f.rs::f03_near_misses_are_refused_and_do_nothing"),
    ("F04", "a typed line has no limit", MONITOR + "sources/repl.rs",
     "LineBuffer::with_limit(MAX_LINE)", "LineBuffer::with_limit(4096 * MAX_LINE)",
     "tests/tests/faults_f.rs::f04_lines_of_any_length_and_kind_are_refused_and_the_next_one_works"),
    ("F05", "an action's panic is not caught", MONITOR + "hooks.rs",
     "    match catch_unwind(AssertUnwindSafe(code)) {",
     "    let outcome = code();\n    match catch_unwind(AssertUnwindSafe(|| outcome)) {",
     "tests/tests/faults_f.rs::f05_an_action_that_fails_is_told_and_one_that_hangs_holds_up_no_stop"),
    ("F05", "actions run on the thread that supervises", "session/src/jobs.rs",
     "        self.jobs.try_send(Box::new(job)).is_ok()\n",
     "        job();\n        self.jobs.try_send(Box::new(|| ())).is_ok()\n",
     "tests/tests/faults_f.rs::f05_an_action_that_fails_is_told_and_one_that_hangs_holds_up_no_stop"),
    ("F06", "a last line without a newline is none", MONITOR + "sources/repl.rs",
     "BadLine::Cut(line) => pass_on(&Ok(&line), inbox),", "BadLine::Cut(_) => {}",
     "tests/tests/faults_f.rs::f06_a_script_that_is_piped_in_is_done_in_its_order"),
    # Configuration.
    ("G01", "a file that is wrong is none", "session/src/config/load.rs",
     "parse(&bytes, &name).map_err(LoadError::Invalid)?", "parse(&bytes, &name).unwrap_or_default()",
     "tests/tests/faults_g.rs::g01_a_configuration_that_is_refused_starts_nothing"),
    ("G02", "0 and false count as absent", "session/src/config/section.rs",
     "            .map(|member| &member.value)\n    }\n\n    pub(super) fn path",
     "            .map(|member| &member.value)\n"
     "            .filter(|node| !matches!(&node.json, Json::Bool(false)))\n"
     "            .filter(|node| !matches!(&node.json, Json::Number(digits) if digits.trim_matches('0').is_empty()))\n"
     "    }\n\n    pub(super) fn path",
     "tests/tests/faults_g.rs::g02_what_is_false_or_zero_on_purpose_is_kept"),
    ("G03", "values may be nested to any depth", "session/src/config/json.rs",
     "let node = reader.value(MAX_DEPTH)?;", "let node = reader.value(4096 * MAX_DEPTH)?;",
     "tests/tests/faults_g.rs::g03_files_of_any_kind_and_size_are_answered_at_once"),
    ("G04", "whatever can be opened is read", "session/src/config/load.rs",
     "    if !metadata.is_file() {", "    if false && !metadata.is_file() {",
     "tests/tests/faults_g.rs::g04_what_is_no_ordinary_file_is_refused_at_once"),
    ("G04", "a file is read piece by piece, by its name", "session/src/config/load.rs",
     "    file.take(limit)\n        .read_to_end(&mut bytes)\n",
     "    let first = file.take(1024).read_to_end(&mut bytes).map_err(unreadable)? as u64;\n"
     "    let mut file = open(path).map_err(unreadable)?;\n"
     "    let _ = io::Seek::seek(&mut file, io::SeekFrom::Start(first));\n"
     "    file.take(limit)\n        .read_to_end(&mut bytes)\n",
     "tests/tests/faults_g.rs::g04_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was"),
    ("G05", "a file that was named may be absent", "session/src/config/load.rs",
     "            if explicit {", "            if false && explicit {",
     "tests/tests/faults_g.rs::g05_a_file_that_is_not_there_and_a_value_that_is_none_change_nothing"),
    ("G06", "a route may hold anything", "session/src/config/value.rs",
     "text.bytes().all(|byte| byte.is_ascii_graphic())", "!text.is_empty()",
     "tests/tests/faults_g.rs::g06_neither_names_nor_the_environment_can_inject_anything"),
    # Hooks, panics, crash reports.
    ("H01", "a panic of another thread ends that thread alone", WORKER + "crash.rs",
     "let spares_threads = shared.policy == PanicPolicy::Main && !ABORTS;", "let spares_threads = !ABORTS;",
     "tests/tests/faults_h.rs::h01_a_panic_of_any_thread_ends_the_worker"),
    ("H02", "a thread that has panicked is unwound", WORKER + "crash.rs",
     "    // What this thread left half done must not be seen by anybody as it unwinds.\n    park_for_ever();\n", "",
     "tests/tests/faults_h.rs::h02_a_panic_whose_unwinding_would_panic_too_is_told_as_the_first"),
    ("H03", "hooks run on the thread that supervises", "session/src/jobs.rs",
     "        self.jobs.try_send(Box::new(job)).is_ok()\n",
     "        job();\n        self.jobs.try_send(Box::new(|| ())).is_ok()\n",
     "tests/tests/hangs.rs::no_hook_listener_or_command_delays_a_restart_or_a_forced_stop"),
    ("H03", "a hook's panic is not caught", MONITOR + "hooks.rs",
     "    match catch_unwind(AssertUnwindSafe(code)) {",
     "    let outcome = code();\n    match catch_unwind(AssertUnwindSafe(|| outcome)) {",
     "tests/tests/faults_h.rs::h03_hooks_that_fail_or_panic_are_told_and_delay_nothing"),
    ("H04", "the message of a panic has no bound", WORKER + "crash.rs",
     "message: bounded(&exit::message_of(payload), MAX_CRASH).into_owned(),", "message: exit::message_of(payload),",
     "tests/tests/faults_h.rs::h04_a_report_is_bounded_literal_and_without_secrets"),
    ("H05", "SIGTERM has a minute to be obeyed", MACHINE + "mod.rs",
     "TERMINATE: Duration = Duration::from_secs(1);", "TERMINATE: Duration = Duration::from_secs(60);",
     "tests/tests/faults_h.rs::h05_an_exit_that_hangs_is_ended_in_its_time"),
    # Limits and environment.
    ("I01", "a worker that could not be started is not tried again", MACHINE + "supervisor.rs",
     "Want::Run => self.back_off(now, false, jitter, out),",
     "Want::Run => {\n                let _ = jitter;\n                self.close(now, 71, out);\n            }",
     "tests/tests/faults_i.rs::i01_a_group_that_may_have_no_more_processes_is_no_end"),
    ("I02", "without /proc there is no session", SYS + "image.rs",
     "        Image::unpinned(std::path::absolute(path_at_start()?)?)\n",
     "        Err(io::ErrorKind::Unsupported.into())\n",
     "tests/tests/faults_i.rs::i02_without_proc_it_runs_and_says_so_once"),
    ("I03", "a process that is not permitted is a file that may not be executed", MONITOR + "effects.rs",
     "outcome.as_ref().is_err_and(Error::is_access_denied)",
     "outcome.as_ref().is_err_and(|error| error.chain().contains(\"not permitted\"))",
     "tests/tests/faults_i.rs::i03_a_filter_that_refuses_new_threads_and_processes_is_told_as_what_it_is"),
    # Handing on of listening sockets.
    ("J01", "the listener goes with its worker", MONITOR + "driver.rs",
     "        self.repair_listeners();\n", "        self.parts.sockets = Sockets::default();\n",
     "examples/tests/zero_downtime.rs::a_killed_worker_costs_no_refused_connection"),
    ("J02", "a visitor is dropped when the worker is to stop", WORKER + "listener.rs",
     "        // First, so that no crowd of visitors can delay a stop.\n        if fds[0].readable() {\n",
     "        // First, so that no crowd of visitors can delay a stop.\n        if fds[0].readable() {\n"
     "            thread::sleep(Duration::from_millis(20));\n            drop(self.public.accept());\n",
     "examples/tests/zero_downtime.rs::a_clean_restart_fails_no_request"),
    ("J03", "the channel stays open in what is started", MONITOR + "spawn.rs",
     "    crate::sys::set_nonblocking(ours.as_fd())?;\n",
     "    crate::sys::set_nonblocking(ours.as_fd())?;\n"
     "    let flags = nix::fcntl::FdFlag::empty();\n"
     "    nix::fcntl::fcntl(ours.as_fd(), nix::fcntl::FcntlArg::F_SETFD(flags))?;\n",
     "tests/tests/faults_j.rs::j03_a_worker_has_no_descriptor_of_the_monitor"),
    ("J04", "sockets are taken that were passed to others", MONITOR + "sockets.rs",
     "if pid.as_deref().and_then(decimal) != Some(me) {", "if false && pid.as_deref().and_then(decimal) != Some(me) {",
     "tests/tests/held.rs::a_socket_that_is_meant_for_another_process_or_for_no_port_is_not_adopted"),
    ("J05", "a port that is taken is told without who has it", MONITOR + "sockets.rs",
     "ErrorKind::AddrInUse => probe::holder(address).map(", "ErrorKind::AddrInUse => probe::holder(address).filter(|_| false).map(",
     "tests/tests/faults_j.rs::j05_a_port_that_is_taken_is_told_with_who_has_it"),
    ("J06", "nobody looks after a listener that a worker has had", MONITOR + "driver.rs",
     "        self.repair_listeners();\n", "",
     "tests/tests/held.rs::a_listener_that_a_worker_has_shut_down_or_made_blocking_is_repaired"),
    ("J07", "the listener goes with its worker", MONITOR + "driver.rs",
     "        self.repair_listeners();\n", "        self.parts.sockets = Sockets::default();\n",
     "tests/tests/held.rs::who_comes_while_no_worker_is_there_waits_for_the_next_one"),
    # The session key.
    ("K01", "what begins with the key is the key", MONITOR + "key.rs",
     "let mut difference = usize::from(key.len() != offered.len());", "let mut difference = 0;",
     "tests/tests/faults_k.rs::k01_nothing_but_the_key_of_this_session_ends_it"),
    ("K01", "without a key any is right", MONITOR + "hear.rs",
     "            .is_some_and(|key| key.accepts(offered, now));", "            .is_none_or(|key| key.accepts(offered, now));",
     "tests/tests/faults_k.rs::k01_without_a_key_there_is_none_to_be_right"),
    ("K02", "a worker is given the key", MONITOR + "effects.rs",
     "app: to_args(&config.app)?,", "app: to_args(&self.parts.key.as_ref().map(|key| key.text()))?,",
     "tests/tests/faults_k.rs::k02_the_key_is_found_nowhere_but_in_its_monitor"),
    ("K02", "the key is logged", MONITOR + "mod.rs",
     "    let on_key = on_key.zip(key.as_ref().map(|key| key.text().to_owned()));\n",
     "    let on_key = on_key.zip(key.as_ref().map(|key| key.text().to_owned()));\n"
     "    if let Some((_, key)) = &on_key {\n"
     "        log.line(&Line::new(Who::Monitor).plain(key));\n    }\n",
     "tests/tests/faults_k.rs::k02_the_key_is_found_nowhere_but_in_its_monitor"),
    # Other systems.
    ("L01", "nobody watches a worker that has lost its monitor", WORKER + "control.rs",
     "            kill_at(deadline);\n", "            let _ = deadline;\n",
     "tests/tests/worker_side.rs::without_its_monitor_a_watchdog_sees_to_the_deadline"),
]


def command(reference):
    """The arguments of `cargo test` for a test as FAULTS.md names it."""
    file, _, name = reference.rpartition("::")
    path = pathlib.PurePath(file)
    if path.parts[0] == "session":
        module = "::".join(path.relative_to("session/src").with_suffix("").parts)
        return ("-p", "session", "--lib"), ("--exact", f"{module}::{name}")
    return ("-p", f"session-{path.parts[0]}", "--test", path.stem), ("--exact", name)


if __name__ == "__main__":
    mutation.main([mutation.Mutant(*five, *command(test)) for *five, test in MUTANTS], sys.argv[1:])
