//! Sockets: descriptors that travel over a channel, and what a listening socket is.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

/// The most descriptors in one message: a listener, its private twin, and room for as many again.
const MAX_FDS: usize = 4;

#[allow(clippy::cast_possible_truncation)] // Sixteen bytes.
const FDS_LENGTH: libc::c_uint = (MAX_FDS * size_of::<RawFd>()) as libc::c_uint;

// SAFETY: arithmetic only.
const CONTROL_LENGTH: usize = unsafe { libc::CMSG_SPACE(FDS_LENGTH) } as usize;

/// Room for the descriptors of one message, aligned as their header has to be.
#[repr(C)]
union Control {
    bytes: [u8; CONTROL_LENGTH],
    header: libc::cmsghdr,
}

/// One `sendmsg` that neither blocks nor raises SIGPIPE. The descriptors travel with the first
/// byte, so they have arrived whole if any byte was taken.
pub(crate) fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if fds.len() > MAX_FDS || (bytes.is_empty() && !fds.is_empty()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = Control {
        bytes: [0; CONTROL_LENGTH],
    };
    let mut message = message(&mut part);
    if !fds.is_empty() {
        attach(&mut message, &mut control, fds);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    retry(|| {
        // SAFETY: `message` points to `part`, to the bytes behind it, and to `control`, all alive;
        // `sendmsg` only reads them.
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) }
    })
}

/// Puts `fds`, of which there are 1 to [`MAX_FDS`], into `control`, and `control` into `message`.
fn attach(message: &mut libc::msghdr, control: &mut Control, fds: &[BorrowedFd<'_>]) {
    #[allow(clippy::cast_possible_truncation)] // At most `FDS_LENGTH`.
    let length = size_of_val(fds) as libc::c_uint;
    message.msg_control = (&raw mut *control).cast();
    // SAFETY: arithmetic only.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(length) } as _;
    // SAFETY: `message` has a control buffer that is aligned for a header and has room for one
    // and for `MAX_FDS` descriptors, so the first header and its data are inside of it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(length) as _;
        let data = libc::CMSG_DATA(header).cast::<RawFd>();
        for (at, fd) in fds.iter().enumerate() {
            data.add(at).write_unaligned(fd.as_raw_fd());
        }
    }
}

/// One `recvmsg`, as a plain `read` would be (0 is the end), that also takes the descriptors that
/// came with the bytes. No child inherits them. What does not fit is closed by the kernel.
pub(crate) fn receive_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: libc::c_int = libc::MSG_CMSG_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    const FLAGS: libc::c_int = 0;

    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Control {
        bytes: [0; CONTROL_LENGTH],
    };
    let mut message = message(&mut part);
    let count = retry(|| {
        // An attempt that failed may have changed them.
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_LENGTH as _;
        // SAFETY: `message` points to `part`, to the buffer behind it, and to `control`, all alive
        // and of the lengths that it says.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, FLAGS) }
    })?;
    let before = fds.len();
    detach(&message, fds);
    if cfg!(target_vendor = "apple") {
        for fd in &fds[before..] {
            // It fails for no descriptor that is open.
            let _ = set_close_on_exec(fd.as_fd());
        }
    }
    Ok(count)
}

/// Takes all descriptors out of a message that `recvmsg` has filled in, however many it was told
/// of: also of a truncated one, which has fewer than were sent.
fn detach(message: &libc::msghdr, fds: &mut Vec<OwnedFd>) {
    // SAFETY: `recvmsg` has succeeded, so the control buffer holds whole headers up to the length
    // that `message` says, and each SCM_RIGHTS has descriptors that are open, new, and only ours.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let is_fds =
                (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS;
            if is_fds {
                let length = ((*header).cmsg_len as usize) - (libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for at in 0..length / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(at).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

fn message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is a valid value: no address, no parts, no control data. Some
    // systems have padding in it, so it cannot be written out.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

fn retry(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Makes a bound socket listen; for one that listens it changes the length of the queue.
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: takes no pointer, and `socket` is open while it is borrowed.
    match unsafe { libc::listen(socket.as_raw_fd(), backlog) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Does it still listen? Whoever shares a socket can shut it down for all.
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    match option(socket, libc::SO_ACCEPTCONN) {
        // Some versions of macOS do not tell.
        Err(error) if cfg!(target_vendor = "apple") && is_unknown_option(&error) => Ok(true),
        answer => Ok(answer? != 0),
    }
}

fn is_unknown_option(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOPROTOOPT)
}

/// Is it a TCP socket, of IPv4 or IPv6, that listens?
pub(crate) fn is_tcp_listener(socket: BorrowedFd<'_>) -> bool {
    let is_stream = option(socket, libc::SO_TYPE).is_ok_and(|kind| kind == libc::SOCK_STREAM);
    let is_internet =
        family(socket).is_ok_and(|family| family == libc::AF_INET || family == libc::AF_INET6);
    is_stream && is_internet && is_listening(socket).unwrap_or(false)
}

/// A whole number that the socket has at the level of all sockets.
fn option(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    #[allow(clippy::cast_possible_truncation)] // Four bytes.
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `length` is the size of the first.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    match outcome {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

fn family(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: an all-zero `sockaddr_storage` is a valid value.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    #[allow(clippy::cast_possible_truncation)] // Some hundred bytes.
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `length` is the size of the first.
    let outcome = unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    match outcome {
        0 => Ok(address.ss_family.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The flag belongs to the socket, not to the descriptor: all its holders share it.
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    Ok(flags.contains(OFlag::O_NONBLOCK))
}

fn set_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Where the descriptors that a service manager hands over begin.
const FIRST_PASSED: RawFd = 3;

/// The descriptors that a service manager handed over: `count` of them from 3 on, each in its
/// place, `None` where none is open. No child inherits them from here on.
///
/// To be called once, before this process opens anything for itself, and only when the manager's
/// word (`LISTEN_PID`) is that they are this process's. A second call finds nothing.
pub(crate) fn take_passed_fds(count: usize) -> Vec<Option<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    (FIRST_PASSED..).take(count).map(take_passed_fd).collect()
}

fn take_passed_fd(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: takes no pointer; for a descriptor that is not open it fails and changes nothing.
    let is_open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: it is open, and by the protocol of LISTEN_FDS it was opened for this process and for
    // nobody else in it; each number is taken once.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::IntoRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn is_close_on_exec(fd: BorrowedFd<'_>) -> bool {
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC)
    }

    fn inode(fd: &OwnedFd) -> u64 {
        let file = fs::File::from(fd.try_clone().unwrap());
        file.metadata().unwrap().ino()
    }

    fn receive(socket: &UnixStream, room: usize) -> (Vec<u8>, Vec<OwnedFd>) {
        let (mut buffer, mut fds) = (vec![0; room], Vec::new());
        let count = receive_with_fds(socket.as_fd(), &mut buffer, &mut fds).unwrap();
        buffer.truncate(count);
        (buffer, fds)
    }

    #[test]
    fn descriptors_arrive_with_the_first_byte_and_no_child_inherits_them() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sent: Vec<_> = (0..MAX_FDS)
            .map(|_| OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()))
            .collect();
        for count in 0..=MAX_FDS {
            let fds: Vec<_> = sent[..count].iter().map(AsFd::as_fd).collect();
            assert_eq!(send_with_fds(ours.as_fd(), b"abc", &fds).unwrap(), 3);
            let (bytes, received) = receive(&theirs, 1);
            assert_eq!(bytes, b"a");
            let inodes = |fds: &[OwnedFd]| fds.iter().map(inode).collect::<Vec<_>>();
            assert_eq!(inodes(&received), inodes(&sent[..count]));
            assert!(received.iter().all(|fd| is_close_on_exec(fd.as_fd())));
            let (bytes, received) = receive(&theirs, 16);
            assert_eq!(bytes, b"bc");
            assert!(received.is_empty());
        }
    }

    #[test]
    fn more_descriptors_than_a_message_has_room_for_are_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let many = vec![ours.as_fd(); MAX_FDS + 1];
        let error = send_with_fds(ours.as_fd(), b"x", &many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        // They would travel with no byte, and arrive with somebody else's.
        let error = send_with_fds(ours.as_fd(), b"", &many[..1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    /// A peer may attach more than it should: those are cut off, and none stays open without owner.
    #[test]
    fn a_truncated_message_leaks_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mark = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let copies = |wanted: u64| {
            let fds = fs::read_dir("/proc/self/fd").unwrap();
            fds.filter_map(|fd| fs::metadata(fd.ok()?.path()).ok())
                .filter(|data| data.ino() == wanted)
                .count()
        };
        for _ in 0..3 {
            send_many(&ours, &mark, 3 * MAX_FDS);
            let (bytes, received) = receive(&theirs, 8);
            assert_eq!(bytes, b"x");
            assert!(
                (1..=MAX_FDS).contains(&received.len()),
                "{}",
                received.len()
            );
            assert_eq!(copies(inode(&mark)), 1 + received.len());
            drop(received);
            assert_eq!(copies(inode(&mark)), 1);
        }
    }

    /// What [`send_with_fds`] refuses to do.
    fn send_many(socket: &UnixStream, fd: &OwnedFd, count: usize) {
        const ROOM: usize = 256;
        #[repr(align(8))]
        struct Aligned([u8; ROOM]);
        let mut control = Aligned([0; ROOM]);
        let mut byte = *b"x";
        let mut part = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        let mut message = message(&mut part);
        let length = libc::c_uint::try_from(count * size_of::<RawFd>()).unwrap();
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: as in `attach`; the buffer is aligned and has room (asserted).
        unsafe {
            assert!(libc::CMSG_SPACE(length) as usize <= ROOM);
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for at in 0..count {
                data.add(at).write_unaligned(fd.as_raw_fd());
            }
            assert_eq!(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0), 1);
        }
    }

    #[test]
    fn without_descriptors_it_is_a_plain_read_and_write() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut fds = Vec::new();
        let error = receive_with_fds(theirs.as_fd(), &mut [0; 8], &mut fds).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(send_with_fds(theirs.as_fd(), b"hello", &[]).unwrap(), 5);
        let mut bytes = [0; 5];
        ours.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        ours.write_all(b"bye").unwrap();
        assert_eq!(receive(&theirs, 8).0, b"bye");
        drop(ours);
        assert_eq!(receive(&theirs, 8).0, b"");
        let error = send_with_fds(theirs.as_fd(), b"x", &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_socket_takes_no_descriptor() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let full =
            (0..).find_map(|_| send_with_fds(ours.as_fd(), &[b'x'; 4096], &[ours.as_fd()]).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_that_was_shut_down_does_not_listen_until_it_is_told_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_listening(listener.as_fd()).unwrap());
        assert!(is_tcp_listener(listener.as_fd()));
        shut_down(&listener);
        assert!(!is_listening(listener.as_fd()).unwrap());
        assert!(!is_tcp_listener(listener.as_fd()));
        listen(listener.as_fd(), 16).unwrap();
        assert!(is_tcp_listener(listener.as_fd()));
        assert!(std::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok());
    }

    fn shut_down(listener: &TcpListener) {
        let stream = std::net::TcpStream::from(OwnedFd::from(listener.try_clone().unwrap()));
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    #[test]
    fn only_a_listening_tcp_socket_is_one() {
        let v6 = TcpListener::bind("[::1]:0").map(OwnedFd::from);
        if let Ok(v6) = v6 {
            assert!(is_tcp_listener(v6.as_fd()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let path = std::env::temp_dir().join(format!("session-socket-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        fs::remove_file(path).unwrap();
        let others: [OwnedFd; 5] = [
            stream.into(),
            unix.into(),
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            UnixStream::pair().unwrap().0.into(),
            fs::File::open("/dev/null").unwrap().into(),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(!is_tcp_listener(other.as_fd()), "{at}");
        }
    }

    #[test]
    fn whether_it_blocks_is_shared_by_all_holders() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = listener.try_clone().unwrap();
        assert!(!is_nonblocking(listener.as_fd()).unwrap());
        other.set_nonblocking(true).unwrap();
        assert!(is_nonblocking(listener.as_fd()).unwrap());
    }

    /// The numbers from 3 on belong to the test runner, so others are taken the same way.
    #[test]
    fn a_passed_descriptor_is_taken_if_it_is_open() {
        let fd = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let number = fd.into_raw_fd();
        let taken = take_passed_fd(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert!(is_close_on_exec(taken.as_fd()));
        // Far above what any limit lets a process open.
        assert!(take_passed_fd(RawFd::MAX).is_none());
    }
}
