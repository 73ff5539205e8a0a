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
use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use session::Worker;
use session::crossbeam_channel::Receiver;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

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
    let stop = ends(worker.stopping())?;
    let server = TcpListener::from_std(worker.listener("server")?.into_std())?;
    // It accepts by itself, so only its own word lets it take over from another worker.
    worker.ready()?;
    // The other end is dropped only after it was told, so both outcomes mean the same.
    let stopped = async { drop(stop.await) };
    axum::serve(server, routes)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

/// The session's channel blocks, so a thread waits for it. (Not a blocking task: the runtime would
/// wait for that one before it ends.)
fn ends(stopping: Receiver<Infallible>) -> io::Result<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("stopping".into())
        .spawn(move || {
            let _ = stopping.recv();
            // The server may have ended before.
            let _ = tell.send(());
        })?;
    Ok(told)
}

async fn panics() -> &'static str {
    panic!("this request was one too many")
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "at last\n"
}
