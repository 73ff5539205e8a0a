//! A program that speaks another protocol: what a build of another version would be.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::{process, thread};

fn main() -> io::Result<()> {
    let mut channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let pid = process::id();
    writeln!(
        channel,
        r#"{{"hello":{{"protocol":99,"generation":1,"pid":{pid}}}}}"#
    )?;
    loop {
        thread::park();
    }
}
