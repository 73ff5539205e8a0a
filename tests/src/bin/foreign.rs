//! A program that speaks another protocol: what a build of another version would be. With `mute` in
//! the file `mode` of its folder it says nothing at all.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::{fs, process, thread};

fn main() -> io::Result<()> {
    let mut channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let pid = process::id();
    if fs::read_to_string("mode").is_ok_and(|mode| mode == "mute") {
        fs::write("pid", pid.to_string())?;
    } else {
        writeln!(
            channel,
            r#"{{"hello":{{"protocol":99,"generation":1,"pid":{pid}}}}}"#
        )?;
    }
    loop {
        thread::park();
    }
}
