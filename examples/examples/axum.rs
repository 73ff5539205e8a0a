//! An async server: axum on a runtime of its own, ended by the session without a broken answer.
//!
//! ```text
//! $ cargo run --example axum
//! $ curl http://127.0.0.1:3000/panic      costs that request alone: the pid stays
//! $ curl http://127.0.0.1:3000/slow       type `restart clean` meanwhile: it is answered
//! ```
//!
//! The socket is the monitor's: type `reload`, and the next worker takes over without a failed
//! request. axum runs each connection as a task, and a panic ends its task. So `panic = "main"`: the panic
//! of a task is no reason to end the worker.

use std::convert::Infallible;
use std::error::Error;
use std::future;
use std::io;
use std::net::SocketAddr;
use std::process;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum::serve::Listener;
use session::Worker;
use session::crossbeam_channel::Receiver;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::watch;

#[session::main(panic = "main")]
fn main(worker: Worker) -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&worker))
}

async fn serve(worker: &Worker) -> Result<(), Box<dyn Error>> {
    let hello = format!(
        "hello from pid {}, generation {}\n",
        process::id(),
        worker.generation()
    );
    let routes = Router::new()
        .route("/", get(move || async move { hello }))
        .route("/panic", get(panics))
        .route("/slow", get(slow));
    let mut stopping = ends(worker.stopping())?;
    let door = Door {
        server: TcpListener::from_std(worker.listener("server")?.into_std())?,
        stopping: stopping.clone(),
    };
    // It accepts by itself, so only its own word lets it take over from another worker.
    worker.ready()?;
    let all_said = async move {
        is_over(&mut stopping).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    axum::serve(door, routes)
        .with_graceful_shutdown(all_said)
        .await?;
    Ok(())
}

/// axum hangs up on whoever it has let in and not heard yet when it is told to end. So the door is
/// closed first, and who came last has this long to say what it wants.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Lets nobody in once the worker is to stop: the next one does.
struct Door {
    server: TcpListener,
    stopping: watch::Receiver<()>,
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        tokio::select! {
            biased;
            () = is_over(&mut self.stopping) => future::pending().await,
            visitor = Listener::accept(&mut self.server) => visitor,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.server.local_addr()
    }
}

/// The session's channel blocks, so a thread waits for it. (Not a blocking task: the runtime would
/// wait for that one before it ends.)
fn ends(stopping: Receiver<Infallible>) -> io::Result<watch::Receiver<()>> {
    let (going_on, told) = watch::channel(());
    thread::Builder::new()
        .name("stopping".into())
        .spawn(move || {
            let _ = stopping.recv();
            drop(going_on);
        })?;
    Ok(told)
}

async fn is_over(stopping: &mut watch::Receiver<()>) {
    // Nothing is ever sent: what comes is the end.
    while stopping.changed().await.is_ok() {}
}

async fn panics() -> &'static str {
    panic!("this request was one too many")
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "at last\n"
}
