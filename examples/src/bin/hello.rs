//! The smallest real server.
use session::Worker;
use std::io::{Read, Write};

#[session::main]
fn main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
    let listener = std::net::TcpListener::bind((worker.host(), worker.port("server")?))?;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut bytes = [0; 1024];
        let _ = stream.read(&mut bytes);
        let body = format!(
            "hello from pid {}, generation {}\n",
            std::process::id(),
            worker.generation()
        );
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }
    Ok(())
}
