//! What all handles and threads of a worker share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::value::RawValue;

use super::ending::{Ending, Endings, Stopping};
use super::exit::{ExitHandlers, Observer};
use super::wire::Channel;
use crate::config;
use crate::error::{Error, Result};
use crate::ipc::dispatch::Dispatcher;
use crate::ipc::listeners::{Listeners, Message, Told};
use crate::ipc::message::{MAX_TEXT, Text, ToMonitor, Welcome, bounded};
use crate::ipc::peer::Peer;
use crate::launch::PanicPolicy;
use crate::sys::Waker;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) policy: PanicPolicy,
    /// `None`: nobody supervises.
    pub(super) link: Option<Link>,
    pub(super) endings: Endings,
    pub(super) stopping: Stopping,
    pub(super) exit_handlers: ExitHandlers,
    pub(super) listeners: Arc<Listeners>,
    /// Held by the one thread that asks the monitor for a listener: what comes with the answer
    /// belongs to it.
    pub(super) asking_to_listen: Mutex<()>,
    /// Made for the first listener: most programs have none.
    dispatcher: OnceLock<Dispatcher>,
}

/// The monitor.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) channel: Arc<Channel>,
    pub(super) peer: Peer,
}

/// What the program may know of its configuration.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) generation: u64,
    pub(super) host: IpAddr,
    pub(super) ports: BTreeMap<String, u16>,
    pub(super) grace: Duration,
    /// JSON; `None` stands for `null`.
    pub(super) app: Option<Box<RawValue>>,
}

impl From<Welcome> for Settings {
    fn from(welcome: Welcome) -> Settings {
        Settings {
            generation: welcome.generation,
            host: welcome.host,
            ports: welcome.ports,
            grace: Duration::from_millis(welcome.grace_ms),
            app: Some(welcome.app),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            generation: 1,
            host: Ipv4Addr::LOCALHOST.into(),
            ports: config::default_ports(),
            grace: Duration::from_secs(10),
            app: None,
        }
    }
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        policy: PanicPolicy,
        link: Option<Link>,
        waker: &'static Waker,
    ) -> Shared {
        Shared {
            settings,
            policy,
            link,
            endings: Endings::new(waker),
            stopping: Stopping::new(),
            exit_handlers: ExitHandlers::new(),
            listeners: Arc::default(),
            asking_to_listen: Mutex::default(),
            dispatcher: OnceLock::new(),
        }
    }

    /// Says one built-in verb. Where nobody supervises, there is nobody to hear it, and that is
    /// no error.
    pub(super) fn say(&self, verb: &ToMonitor) -> Result<()> {
        self.link
            .as_ref()
            .map_or(Ok(()), |link| link.peer.write(verb))
    }

    pub(super) fn lifecycle(&self, text: &str) -> Result<()> {
        let text = bounded(text, MAX_TEXT).into_owned();
        self.say(&ToMonitor::Lifecycle(Text { text }))
    }

    /// As [`lifecycle`](Shared::lifecycle), for what the library itself has to say: a monitor
    /// that is gone hears nothing, and that it is gone is seen elsewhere.
    pub(super) fn note(&self, text: &str) {
        let _ = self.lifecycle(text);
    }

    /// Makes the process end; a later ending than the first changes nothing.
    pub(super) fn end(&self, ending: Ending) -> bool {
        self.endings.begin(ending)
    }

    /// The thread that runs listeners, from the first listener on.
    pub(super) fn dispatcher(self: &Arc<Self>) -> Result<&Dispatcher> {
        let dispatcher = self.dispatcher.get_or_init(Dispatcher::new);
        let shared = Arc::clone(self);
        let observe = move |message: &Message, told: Told| {
            if told.panicked > 0 {
                shared.note(&format!(
                    "{} of {} listeners of `{}` panicked",
                    told.panicked,
                    told.listeners,
                    message.name()
                ));
            }
        };
        dispatcher
            .start(Arc::clone(&self.listeners), Box::new(observe))
            .map_err(Error::os("start the thread for messages"))?;
        Ok(dispatcher)
    }

    /// The same, if there ever was a listener.
    pub(super) fn started_dispatcher(&self) -> Option<&Dispatcher> {
        self.dispatcher.get()
    }
}

impl Observer for Shared {
    fn failed(&self, how: String) {
        self.note(&how);
    }

    fn ended(&self) {
        self.endings.waker().wake();
    }
}
