//! What the example servers share: as much HTTP as it takes to be patient with honest clients, and
//! no more than that with others.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use session::Listener;

/// A client that takes longer for the head of its request, or to take our answer, is too slow.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest head: what most servers allow.
const MAX_HEAD: usize = 8 * 1024;
/// The most connections at once: each costs a thread.
const MAX_OPEN: usize = 256;
/// The most that is read of a body that nobody asked for.
const MAX_BODY: u64 = 64 * 1024;
/// How long to wait after `accept` failed: what it lacks (descriptors, memory) takes time to come.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path without its query.
    pub path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads the head of a request, within 2 s and 8 KiB.
    ///
    /// # Errors
    /// The client is too slow, says too much, or does not speak HTTP.
    pub fn read(stream: &mut TcpStream) -> io::Result<Request> {
        let head = read_head(stream)?;
        Request::parse(&head).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no HTTP"))
    }

    /// The value of a query parameter, as it was sent.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// A query parameter as a number; `None` if it is absent or is none.
    #[must_use]
    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.query(name)?.parse().ok()
    }

    /// The value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn parse(head: &[u8]) -> Option<Request> {
        let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if !words.next()?.starts_with("HTTP/1.") || words.next().is_some() {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        Some(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: lines.map(header).collect::<Option<_>>()?,
        })
    }
}

/// Answers a request in full.
///
/// # Errors
/// The client is gone, or does not take it within 2 s.
pub fn answer(stream: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        phrase(status),
        body.len()
    );
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all((head + body).as_bytes())
}

/// Serves until the worker is asked to stop, each connection on a thread of its own: no client
/// waits for another, and what goes wrong with one is over with it. Who is being served at the stop
/// is served to the end.
pub fn serve<F>(listener: &Listener, handler: F)
where
    F: Fn(&Request, &mut TcpStream) -> io::Result<()> + Sync,
{
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        for stream in listener.incoming() {
            // What it lacks (descriptors, memory) takes time to come, and it has waited already.
            let Ok(mut stream) = stream else { continue };
            if open.load(Ordering::SeqCst) >= MAX_OPEN {
                let _ = answer(&mut stream, 503, "too many visitors\n");
                continue;
            }
            let place = Place::take(&open);
            let handler = &handler;
            // Where there is no thread left, this client finds its connection closed.
            let _ = thread::Builder::new()
                .name("visitor".into())
                .spawn_scoped(scope, move || {
                    // A client that went away, or never was a real one, is no news.
                    let _ = visit(&mut stream, handler);
                    drop(place);
                });
        }
    });
}

/// One of the connections at once, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(open: &'a AtomicUsize) -> Place<'a> {
        open.fetch_add(1, Ordering::SeqCst);
        Place(open)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// As [`serve`], on a socket of the program's own and for ever: what a server looks like that
/// knows nothing of held listeners.
pub fn serve_for_ever<F>(listener: &TcpListener, handler: F) -> !
where
    F: Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
{
    // Each connection holds a clone of the handler, so their number needs no count of its own.
    let handler = Arc::new(handler);
    loop {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if Arc::strong_count(&handler) > MAX_OPEN {
            let _ = answer(&mut stream, 503, "too many visitors\n");
            continue;
        }
        let handler = Arc::clone(&handler);
        // Where there is no thread left, this client finds its connection closed.
        let _ = thread::Builder::new()
            .name("visitor".into())
            .spawn(move || {
                // A client that went away, or never was a real one, is no news.
                let _ = visit(&mut stream, &*handler);
            });
    }
}

fn visit<F>(stream: &mut TcpStream, handler: &F) -> io::Result<()>
where
    F: Fn(&Request, &mut TcpStream) -> io::Result<()>,
{
    match Request::read(stream) {
        Ok(request) => handler(&request, stream)?,
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            answer(stream, 400, &format!("{error}\n"))?;
        }
        Err(error) => return Err(error),
    }
    // To close a connection with something unread resets it, and the client may lose the answer.
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    io::copy(&mut stream.take(MAX_BODY), &mut io::sink()).map(drop)
}

fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    const END: &[u8] = b"\r\n\r\n";
    let deadline = Instant::now() + PATIENCE;
    let mut head = [0; MAX_HEAD];
    let mut length = 0;
    while length < MAX_HEAD {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut head[length..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // The end may have begun in what came before.
        let from = length.saturating_sub(END.len() - 1);
        length += read;
        if let Some(at) = head[from..length]
            .windows(END.len())
            .position(|part| part == END)
        {
            return Ok(head[..from + at].to_vec());
        }
    }
    Err(io::Error::new(
        ErrorKind::InvalidData,
        "expected a head of at most 8 KiB, found more",
    ))
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> io::Result<Request> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let writer = thread::spawn(move || {
            // The reader stops listening when it has had too much.
            let _ = client.write_all(&bytes);
            client
        });
        let request = Request::read(&mut stream);
        drop(stream);
        writer.join().unwrap();
        request
    }

    fn head_of(length: usize) -> Vec<u8> {
        let (start, end) = ("GET / HTTP/1.1\r\nPadding: ", "\r\n\r\n");
        let padding = "x".repeat(length - start.len() - end.len());
        format!("{start}{padding}{end}").into_bytes()
    }

    #[test]
    fn a_request_is_taken_apart() {
        let head = "POST /backup?name=x&n=7 HTTP/1.1\r\nHost: here\r\nX-Key:  a:b \r\n\r\nbody";
        let request = read(head.into()).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/backup")
        );
        assert_eq!(
            (request.query("name"), request.query("other")),
            (Some("x"), None)
        );
        assert_eq!(
            (request.number("n"), request.number::<u8>("name")),
            (Some(7), None)
        );
        assert_eq!(
            (request.header("x-key"), request.header("y")),
            (Some("a:b"), None)
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for head in [
            "",
            "GET /",
            "GET / HTTP/2",
            "GET / / HTTP/1.1",
            "GET / HTTP/1.1\r\nno colon",
        ] {
            let error = read(format!("{head}\r\n\r\n").into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{head}");
        }
        assert_eq!(
            read(b"\xff / HTTP/1.1\r\n\r\n".to_vec())
                .unwrap_err()
                .to_string(),
            "no HTTP"
        );
    }

    #[test]
    fn a_head_has_a_bound() {
        assert!(read(head_of(MAX_HEAD)).is_ok());
        for length in [MAX_HEAD + 1, 10 * MAX_HEAD] {
            assert_eq!(
                read(head_of(length)).unwrap_err().kind(),
                ErrorKind::InvalidData
            );
        }
    }

    #[test]
    fn a_client_that_drips_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let (begun, pause) = (Instant::now(), Duration::from_millis(50));
        let dripping = thread::spawn(move || {
            while client.write_all(b"x").is_ok() {
                thread::sleep(pause);
            }
        });
        assert!(Request::read(&mut stream).is_err());
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < 2 * PATIENCE);
        drop(stream);
        dripping.join().unwrap();
    }
}
