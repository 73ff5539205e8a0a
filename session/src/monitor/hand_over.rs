//! Handing the held listeners to workers, and moving them to other ports.

use std::os::fd::AsFd;

use super::driver::Driver;
use super::sockets;
use crate::config::SERVER_PORT;
use crate::error::{Error, Result};
use crate::ipc::codec::encode;
use crate::ipc::listeners;
use crate::ipc::message::{Handed, Outcome, Reply, UserLine, to_args};
use crate::log::{Line, Who};
use crate::machine::{Event, Generation, How, Serving};

impl Driver {
    /// A worker asks for the listener of this name.
    pub(super) fn listen(&mut self, generation: Generation, id: u64, name: &str) {
        match self.hand_over(generation, id, name) {
            Ok(()) => {
                let address = self.parts.sockets.local_addr(name);
                if name == SERVER_PORT
                    && let Some(record) = self.record(generation)
                {
                    record.is_held = true;
                    record.server = address;
                }
                self.happen(Event::Serves {
                    generation,
                    serving: Serving::Held,
                });
            }
            // It ended while it asked, and that is told anyway.
            Err(Error::PeerDied) => {}
            Err(error) => {
                let why = error.chain();
                self.tell(
                    Line::new(Who::Monitor)
                        .bad(format_args!(
                            "the listener `{}` could not be handed over: ",
                            crate::text::escape(name)
                        ))
                        .plain(&why),
                );
                if let Some(peer) = self
                    .record(generation)
                    .and_then(|record| record.peer.clone())
                {
                    // It may be dead by now; then nobody waits.
                    let _ = peer.answer(id, listeners::refused(why));
                }
            }
        }
    }

    /// The first worker that asks has the socket bound. The server's listener comes with a
    /// private one, so that a probe can ask this generation and no other.
    fn hand_over(&mut self, generation: Generation, id: u64, name: &str) -> Result<()> {
        let config = &self.parts.config;
        let port = *config.ports.get(name).ok_or_else(|| Error::UnknownPort {
            name: name.to_owned(),
            known: config.ports.keys().cloned().collect(),
        })?;
        let host = config.host;
        let Some(outbox) = self
            .record(generation)
            .and_then(|record| record.outbox.clone())
        else {
            return Err(Error::PeerDied);
        };
        let wants_private = name == SERVER_PORT
            && self
                .record(generation)
                .is_some_and(|record| record.private.is_none());
        let private = wants_private.then(sockets::private).transpose()?;
        let public = self.parts.sockets.get(name, host, port)?;
        let mut fds = vec![public.as_fd()];
        fds.extend(private.as_ref().map(|(socket, _)| socket.as_fd()));
        let reply = UserLine::Reply(Reply {
            id,
            outcome: Outcome::Answer(to_args(&Handed { fds: fds.len() })?),
        });
        outbox.write_line_with(&encode(&reply)?, &fds)?;
        if let (Some((_, addr)), Some(record)) = (private, self.record(generation)) {
            record.private = Some(addr);
        }
        Ok(())
    }

    /// The worker accepts on its private listener too.
    pub(super) fn serving(&mut self, generation: Generation) {
        let Some(record) = self.record(generation) else {
            return;
        };
        if record.private.is_none() {
            return;
        }
        record.serves_private = true;
        self.happen(Event::Serves {
            generation,
            serving: Serving::Private,
        });
    }

    /// A held listener is bound at its new port before it leaves the old one.
    pub(super) fn set_port(&mut self, name: &str, port: u64, restart: bool) -> Result<()> {
        let config = &mut self.parts.config;
        let before = config.ports.get(name).copied();
        config.set_port(name, port).map_err(Error::Invalid)?;
        if let (Some(before), Some(&after)) = (before, config.ports.get(name))
            && before != after
            && let Err(error) = self.parts.sockets.rebind(name, config.host, after)
        {
            config.ports.insert(name.to_owned(), before);
            return Err(error);
        }
        if restart {
            self.restart(How::Clean);
        }
        Ok(())
    }

    /// All who hold a listener share its state, so a worker can leave one behind that no longer
    /// listens.
    pub(super) fn repair_listeners(&mut self) {
        for repair in self.parts.sockets.repair() {
            self.tell(Line::new(Who::Monitor).warn(repair));
        }
    }
}
