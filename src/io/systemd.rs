//! Tells systemd how the service is. Outside systemd every call does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// Who does not hear that the service is ready kills it: worth a wait, before the work has begun.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// The service is ready.
pub fn ready() {
    tell(&NotifyState::Ready, Some(READY_PATIENCE));
}

/// The service has begun to stop.
pub fn stopping() {
    tell(&NotifyState::Stopping, None);
}

/// Everything moves.
pub fn feed_watchdog() {
    tell(&NotifyState::Watchdog, None);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&NotifyState::Status(line), None);
}

fn tell(state: &NotifyState<'_>, patience: Option<Duration>) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        // With a broken or busy socket there is nothing to be done about it.
        drop(send(&socket, state, patience));
    }
}

/// Sends a state; where the receiver's queue is full, waits for it that long or not at all.
fn send(path: &OsStr, state: &NotifyState<'_>, patience: Option<Duration>) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match path.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(path)?,
    }
    socket.set_nonblocking(patience.is_none())?;
    socket.set_write_timeout(patience)?;
    socket.send(format!("{state}\n").as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eleventh ping that nobody read stopped the gateway: the socket waits for room by itself, on the task that
    /// does everything else, and SIGTERM was not heard any more. Nobody waits for systemd now but the word that all
    /// is ready, and that one not for ever.
    #[test]
    fn a_notify_socket_that_nobody_reads_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let mut sent = 0;
        while send(path.as_os_str(), &NotifyState::Watchdog, None).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "the queue never fills");
        }
        let ready = send(path.as_os_str(), &NotifyState::Ready, Some(Duration::from_millis(20)));
        assert_eq!(ready.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut heard = [0; 64];
        for _ in 0..sent {
            let bytes = systemd.recv(&mut heard).unwrap();
            assert_eq!(heard.get(..bytes), Some(&b"WATCHDOG=1\n"[..]));
        }
        send(path.as_os_str(), &NotifyState::Ready, Some(READY_PATIENCE)).unwrap();
        let bytes = systemd.recv(&mut heard).unwrap();
        assert_eq!(heard.get(..bytes), Some(&b"READY=1\n"[..]));
    }

    #[test]
    fn an_abstract_socket_is_found_and_an_absent_one_is_no_harm() {
        let name = format!("tidegate-test-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), &NotifyState::Stopping, None).unwrap();
        let mut heard = [0; 64];
        let bytes = systemd.recv(&mut heard).unwrap();
        assert_eq!(heard.get(..bytes), Some(&b"STOPPING=1\n"[..]));
        assert!(send(OsStr::new("/nowhere/notify"), &NotifyState::Stopping, None).is_err());
    }
}
