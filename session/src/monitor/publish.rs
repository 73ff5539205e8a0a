//! Crash reports, once they are complete.

use serde::Serialize;

use super::driver::{Driver, MAX_REPORTS};
use super::record::Record;
use super::sources::ear;
use crate::ipc::message::to_args;
use crate::log::{Line, Who};
use crate::machine::Generation;
use crate::report::CrashReport;
use crate::text::count;

/// The lines of output that the log shows of a crash.
const TAIL_LINES: usize = 40;

impl Driver {
    /// Makes the reports whose last piece has come, and forgets workers nothing is due of.
    pub(super) fn settle(&mut self) {
        let reports: Vec<CrashReport> =
            self.records.iter_mut().filter_map(Record::report).collect();
        for report in reports {
            self.publish(report);
        }
        self.records.retain(|record| !record.is_settled());
    }

    fn publish(&mut self, report: CrashReport) {
        let line = || Line::new(Who::Monitor);
        self.tell(
            line()
                .bad(format_args!(
                    "crash report, generation {}: ",
                    report.generation
                ))
                .plain(report.summary()),
        );
        let (before, lines) = report.last_lines(TAIL_LINES);
        if before > 0 {
            let before = count(before as u64, "line");
            self.tell(
                Line::new(Who::Worker).plain(format_args!("… {before} before, see `reports`")),
            );
        }
        for text in lines {
            self.tell(Line::new(Who::Worker).plain("| ").plain(text));
        }
        self.tell_listeners("notify_crash", &report, report.generation);
        if !self.parts.hooks.tell_crash(&report) {
            self.dropped += 1;
            self.tell(
                line().warn("the crash hooks are busy; this report was not delivered to them"),
            );
        }
        self.webhook.crashed();
        if self.reports.len() == MAX_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }

    pub(super) fn tell_listeners(&self, name: &str, args: &impl Serialize, generation: Generation) {
        if self.parts.listeners.has(name) {
            // By way of the text, as what a worker sends comes.
            let text = to_args(args);
            let args = text.map(|text| serde_json::from_str(text.get()).unwrap_or_default());
            let args = args.unwrap_or_default();
            ear::dispatcher(&self.dispatcher, &self.parts.listeners, &self.parts.log)
                .tell(name, args, generation);
        }
    }
}
