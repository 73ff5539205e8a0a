//! Processes that lost their parent and became the monitor's children: whatever left a worker's
//! group lives on when the worker is gone, and whatever dies of it has nobody else to reap it.

use super::driver::Driver;
use crate::log::{Line, Who};
use crate::process_table::Condition;
use crate::text::count;

/// So many are reaped before the owner looks at what else there is: a worker may leave thousands.
const MAX_AT_ONCE: usize = 256;
/// So many are named; the others are counted.
const MAX_NAMED: usize = 4;

/// What is known of the children that are no workers.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// The program's own, started before the session was: it waits for them itself.
    own: Vec<u32>,
    /// Those that were told of and live.
    told: Vec<u32>,
    /// There may be dead ones yet.
    more: bool,
}

impl Orphans {
    pub(super) fn new(children: Vec<u32>) -> Orphans {
        Orphans {
            own: children,
            told: Vec::new(),
            more: false,
        }
    }

    pub(super) fn has_more(&self) -> bool {
        self.more
    }
}

impl Driver {
    /// Goes on where the last time was enough.
    pub(super) fn reap_more_orphans(&mut self) {
        if self.orphans.more {
            self.reap_orphans();
        }
    }

    /// Reaps the orphans that are dead, and nobody else.
    pub(super) fn reap_orphans(&mut self) {
        self.orphans.more = false;
        for _ in 0..MAX_AT_ONCE {
            let Some(pid) = self.world.dead_child() else {
                return;
            };
            if self.is_unreaped_worker(pid) {
                // The owner is about to learn of it, and looks again afterwards.
                return;
            }
            if self.orphans.own.contains(&pid) {
                self.reap_behind();
                return;
            }
            if !self.world.reap_if_dead(pid) {
                return;
            }
        }
        self.orphans.more = true;
    }

    /// One that is not to be reaped hides those which died after it.
    fn reap_behind(&mut self) {
        for pid in self.world.children() {
            if !self.is_unreaped_worker(pid) && !self.orphans.own.contains(&pid) {
                self.world.reap_if_dead(pid);
            }
        }
    }

    /// A worker is dead, and its group with it: tells what is left, once for each process.
    pub(super) fn tell_of_orphans(&mut self) {
        self.reap_orphans();
        let children = self.world.children();
        self.orphans.told.retain(|pid| children.contains(pid));
        let mut names = Vec::new();
        let mut found = 0;
        for pid in children {
            let is_known = self.orphans.told.contains(&pid) || self.orphans.own.contains(&pid);
            if is_known || self.is_unreaped_worker(pid) {
                continue;
            }
            if found < MAX_NAMED {
                let Some(name) = self.name_of_orphan(pid) else {
                    continue;
                };
                names.push(format!("pid {pid} ({name})"));
            }
            self.orphans.told.push(pid);
            found += 1;
        }
        if found > 0 {
            self.tell(outliving(found, &names));
        }
    }

    /// `None`: it is none, since it is dead by now, or is in a worker's group and goes with it.
    fn name_of_orphan(&self, pid: u32) -> Option<String> {
        let stat = self.world.look_at(pid)?;
        let is_orphan = stat.condition != Condition::Dead && !self.is_unreaped_worker(stat.group);
        is_orphan.then_some(stat.name)
    }

    fn is_unreaped_worker(&self, pid: u32) -> bool {
        self.records
            .iter()
            .any(|record| record.pid == pid && record.death.is_none())
    }
}

fn outliving(found: usize, names: &[String]) -> Line {
    let more = match found - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (outlive, it) = if found == 1 {
        ("outlives", "it")
    } else {
        ("outlive", "them")
    };
    Line::new(Who::Monitor)
        .warn(format_args!(
            "{} in no worker's group {outlive} whoever started {it}: ",
            count(found as u64, "process")
        ))
        .plain(format_args!("{}{more}", names.join(", ")))
}
