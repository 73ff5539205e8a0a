//! Replacing the worker, and with it the program that it runs, where the file on disk is another
//! one by now.

use std::sync::Arc;

use super::candidate::{Check, Order};
use super::driver::Driver;
use super::spawn::Program;
use crate::error::{Error, Result};
use crate::ipc::codec::encode;
use crate::ipc::message::{ToWorker, Welcome, to_args};
use crate::log::{Line, Who};
use crate::machine::{Event, How, State};

impl Driver {
    /// A new file is checked before the worker that serves is told to stop.
    pub(super) fn restart(&mut self, how: How) {
        self.replace(Order::Restart(how));
    }

    /// A new file proves itself by taking over; where nobody serves that it could take over from,
    /// it is checked as for a restart.
    pub(super) fn reload(&mut self) {
        if self.supervisor.state() == State::BackingOff {
            self.replace(Order::Reload);
            return;
        }
        match self.new_program() {
            Ok(program) => self.reload_to(program),
            Err(error) => self.refuse(&error.chain()),
        }
    }

    fn reload_to(&mut self, program: Option<Arc<Program>>) {
        self.candidate = program;
        self.happen(Event::Reload);
        // The supervisor may have refused.
        self.candidate = None;
    }

    fn replace(&mut self, order: Order) {
        if self.supervisor.snapshot().stopping {
            // It is refused in any case, and no process is started for that.
            self.carry_out(order);
            return;
        }
        if self.check.is_some() {
            let line = Line::new(Who::Monitor);
            self.tell(line.bad("a new program is being checked; nothing was done"));
            return;
        }
        match self.new_program() {
            Ok(None) => self.carry_out(order),
            Ok(Some(program)) => match self.check(program, order) {
                Ok(check) => self.check = Some(check),
                Err(error) => self.refuse(&error.chain()),
            },
            Err(error) => self.refuse(&error.chain()),
        }
    }

    fn carry_out(&mut self, order: Order) {
        self.happen(match order {
            Order::Restart(how) => Event::Restart { how },
            Order::Reload => Event::Reload,
        });
    }

    pub(super) fn checked(&mut self, answer: Result<Arc<Program>, String>, order: Order) {
        self.check = None;
        let state = self.supervisor.state();
        match answer {
            // A worker is there again: the program proves itself beside it, or is refused with the
            // reload.
            Ok(program) if order == Order::Reload && state != State::BackingOff => {
                self.reload_to(Some(program));
            }
            Ok(program) => {
                let is_refused = self.supervisor.snapshot().stopping || state == State::Unkillable;
                if !is_refused {
                    self.adopt(program);
                }
                self.carry_out(order);
            }
            Err(why) => self.refuse(&why),
        }
    }

    /// The program on disk, if it is not the one that runs.
    fn new_program(&self) -> Result<Option<Arc<Program>>> {
        let recipe = &self.parts.recipe;
        let running = recipe.program().image.stamp();
        self.on_disk
            .other_than(running)
            .and_then(|image| image.map(|image| recipe.program_of(image)).transpose())
            .map_err(Error::os("open the new program"))
    }

    fn check(&self, program: Arc<Program>, order: Order) -> Result<Check> {
        // The program's own settings are for its `main`, which does not run; without them this is
        // short enough to fit into the channel before the program reads.
        let welcome = encode(&ToWorker::Welcome(Welcome {
            check: true,
            app: to_args(&())?,
            ..self.welcome(0)?
        }))?;
        let spawner = self.parts.recipe.spawner(&program);
        Check::start(program, spawner, welcome, order, self.parts.sender.clone())
    }

    pub(super) fn adopt(&mut self, program: Arc<Program>) {
        self.parts.recipe.adopt(program);
        let line = Line::new(Who::Monitor);
        self.tell(line.good("workers are started from the new program from now on"));
    }

    fn refuse(&self, why: &str) {
        self.tell(
            Line::new(Who::Monitor)
                .bad("the new program is refused, and the one that runs stays: ")
                .plain(why),
        );
    }

    /// Tells, once, that a worker which has just been started does not run what is on disk.
    pub(super) fn tell_of_the_file(&mut self) {
        let running = self.parts.recipe.program().image.stamp();
        if let Some(news) = self.on_disk.news(running) {
            self.tell(Line::new(Who::Monitor).warn(news));
        }
    }

    /// The file of the running program may not be executed any more (its mode was changed, say);
    /// a copy of it in memory still may. `false`: there can be none.
    pub(super) fn move_to_memory(&mut self) -> bool {
        let recipe = &self.parts.recipe;
        let copied = recipe.program().image.copy_to_memory();
        let Ok(program) = copied.and_then(|copy| recipe.program_of(copy)) else {
            return false;
        };
        self.parts.recipe.adopt(program);
        self.tell(Line::new(Who::Monitor).warn(
            "the executable may not be executed any more; workers are started from a copy of it in memory",
        ));
        true
    }
}
