//! Where lines go, and how one line gets there whole.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

/// How often in a row a sink may call itself writable and then refuse: a device that does so for
/// ever would otherwise keep its thread spinning.
pub(crate) const MAX_REFUSALS: u32 = 64;

/// What a writer writes to. A call may block: it has a thread of its own.
pub(crate) trait Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until a sink that would have blocked can be written to.
    fn wait(&mut self) -> io::Result<()>;
}

/// A stream of this process, written to without the buffer and the lock that `std` puts before it.
#[derive(Debug)]
pub(super) struct Descriptor<F>(pub(super) F);

impl<F: AsFd> Sink for Descriptor<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(unistd::write(&self.0, bytes)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::NONE)?;
        Ok(())
    }
}

/// Writes whole lines to a sink that may take them in parts.
#[derive(Debug)]
pub(super) struct Pen<S> {
    sink: S,
    /// The last line failed half-way, so the next one has to start on a line of its own.
    mid_line: bool,
}

impl<S: Sink> Pen<S> {
    pub(super) fn new(sink: S) -> Self {
        Self {
            sink,
            mid_line: false,
        }
    }

    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.mid_line {
            self.write_all(&[b"\n", line].concat())
        } else {
            self.write_all(line)
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        let mut refusals = 0;
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.mid_line = !rest.is_empty();
                    refusals = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares the terminal with us may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    refusals += 1;
                    if refusals > MAX_REFUSALS {
                        return Err(error);
                    }
                    self.wait()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.sink.wait() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// Follows a script, then takes all it is given.
    #[derive(Default)]
    struct Scripted {
        script: VecDeque<io::Result<usize>>,
        waits: VecDeque<io::Result<()>>,
        written: Vec<u8>,
        calls: u32,
    }

    impl Sink for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            let n = self
                .script
                .pop_front()
                .unwrap_or(Ok(usize::MAX))?
                .min(bytes.len());
            self.written.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn wait(&mut self) -> io::Result<()> {
            self.waits.pop_front().unwrap_or(Ok(()))
        }
    }

    fn pen(script: impl IntoIterator<Item = io::Result<usize>>) -> Pen<Scripted> {
        Pen::new(Scripted {
            script: script.into_iter().collect(),
            ..Scripted::default()
        })
    }

    #[test]
    fn a_line_is_one_write() {
        let mut pen = pen([]);
        pen.write_line(b"line\n").unwrap();
        assert_eq!((pen.sink.calls, &pen.sink.written[..]), (1, &b"line\n"[..]));
    }

    #[test]
    fn a_line_gets_through_short_and_interrupted_writes() {
        let scripts = [
            vec![Ok(1), Ok(1), Ok(1), Ok(1), Ok(1)],
            vec![
                Err(ErrorKind::Interrupted),
                Ok(2),
                Err(ErrorKind::Interrupted),
            ],
            vec![
                Err(ErrorKind::WouldBlock),
                Ok(3),
                Err(ErrorKind::WouldBlock),
            ],
        ];
        for script in scripts {
            let mut pen = pen(script
                .clone()
                .into_iter()
                .map(|r| r.map_err(io::Error::from)));
            pen.sink.waits.push_back(Err(ErrorKind::Interrupted.into()));
            pen.write_line(b"line\n").unwrap();
            assert_eq!(pen.sink.written, b"line\n", "{script:?}");
            assert!(!pen.mid_line);
        }
    }

    #[test]
    fn an_error_gives_the_line_up() {
        for error in [libc::ENOSPC, libc::EPIPE, libc::EIO] {
            let mut pen = pen([Err(io::Error::from_raw_os_error(error))]);
            let found = pen.write_line(b"line\n").unwrap_err();
            assert_eq!((found.raw_os_error(), pen.sink.calls), (Some(error), 1));
        }
        assert_eq!(
            pen([Ok(0)]).write_line(b"x\n").unwrap_err().kind(),
            ErrorKind::WriteZero
        );

        let mut pen = pen([Err(ErrorKind::WouldBlock.into())]);
        pen.sink
            .waits
            .push_back(Err(io::Error::from_raw_os_error(libc::ENOMEM)));
        assert!(pen.write_line(b"line\n").is_err());
    }

    #[test]
    fn the_line_after_a_broken_one_starts_anew() {
        let full = || Err(ErrorKind::StorageFull.into());
        let mut pen = pen([Ok(3), full(), full()]);
        assert!(pen.write_line(b"broken\n").is_err());
        assert!(pen.write_line(b"lost\n").is_err());
        pen.write_line(b"whole\n").unwrap();
        pen.write_line(b"next\n").unwrap();
        assert_eq!(pen.sink.written, b"bro\nwhole\nnext\n");
    }

    #[test]
    fn refusals_of_a_sink_that_says_it_is_writable_are_bounded() {
        let refusals = |count| (0..count).map(|_| Err(ErrorKind::WouldBlock.into()));
        assert!(pen(refusals(MAX_REFUSALS)).write_line(b"x\n").is_ok());
        assert!(pen(refusals(MAX_REFUSALS + 1)).write_line(b"x\n").is_err());
        let mut far = pen(refusals(100 * MAX_REFUSALS));
        assert!(far.write_line(b"x\n").is_err());
        assert_eq!(far.sink.calls, MAX_REFUSALS + 1);
        // Progress starts the count anew.
        let script = refusals(MAX_REFUSALS)
            .chain([Ok(1)])
            .chain(refusals(MAX_REFUSALS));
        assert!(pen(script).write_line(b"x\n").is_ok());
    }

    #[test]
    #[cfg_attr(miri, ignore = "socket pairs are not emulated")]
    fn a_descriptor_that_someone_made_non_blocking_is_waited_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let line = vec![b'x'; 4 << 20];
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).map(|_| read.len())
        });
        let mut pen = Pen::new(Descriptor(ours));
        pen.write_line(&line).unwrap();
        drop(pen);
        assert_eq!(reader.join().unwrap().unwrap(), line.len());
    }

    #[test]
    #[cfg_attr(miri, ignore = "socket pairs are not emulated")]
    fn a_reader_that_is_gone_is_an_error_and_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut pen = Pen::new(Descriptor(ours));
        assert_eq!(
            pen.write_line(b"x\n").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "the device is not emulated")]
    fn a_full_disk_is_an_error() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let error = Pen::new(Descriptor(full)).write_line(b"x\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
