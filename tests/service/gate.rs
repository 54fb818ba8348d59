//! A door in front of a broker: what comes while it is shut is turned away. So a test decides who is there first.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Forwards connections to a port on this machine.
pub(crate) struct Gate {
    port: u16,
    open: Arc<AtomicBool>,
}

impl Gate {
    /// A gate in front of a port.
    pub(crate) fn new(target: u16, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate =
            Self { port: listener.local_addr().unwrap().port(), open: Arc::new(AtomicBool::new(open)) };
        let open = Arc::clone(&gate.open);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(far) = TcpStream::connect(("127.0.0.1", target)) {
                    forward(&near, &far);
                    forward(&far, &near);
                }
            }
        });
        gate
    }

    /// Where to knock.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Opens or shuts it for new connections.
    pub(crate) fn set(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }
}

fn forward(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    from.set_nodelay(true).unwrap();
    std::thread::spawn(move || {
        // However one half ends, the other ends too.
        copy(&mut from, &mut to).ok();
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    });
}
