//! The loop over one socket: writes what is queued, reads what comes, pings, gives up.
//!
//! # Invariants
//! * Everything lives in the link's own buffers, nothing in a future: waiting may be cancelled at any time.
//! * What had arrived before the end is told before the end. Acknowledgements are among it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::sync::futures::Notified;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::io::mqtt::Traffic;
use crate::io::mqtt::codec::{Packet, Reader, ping};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::outgoing::Outgoing;
use crate::io::mqtt::socket::Socket;
use crate::io::mqtt::supervision::{Duty, Supervision};

/// A socket on which the broker has welcomed us.
pub(in crate::io::mqtt) struct Link {
    socket: Box<dyn Socket>,
    reader: Reader,
    /// Being written, and how much of it is.
    writing: Vec<u8>,
    written: usize,
    /// Written to TLS and perhaps not to the socket.
    unflushed: bool,
    traffic: Traffic,
    supervision: Supervision,
    alarm: Option<Pin<Box<Sleep>>>,
    left: bool,
    /// Why it ended, while what came before is still being read.
    failed: Option<Failure>,
}

/// What the link has to tell.
pub(in crate::io::mqtt) enum Told {
    Packet(Packet),
    /// The good-bye is written.
    Left,
}

/// Why waiting has ended.
enum Turn {
    /// There may be a packet.
    Read,
    /// The good-bye is written.
    Left,
    /// It has ended, and all that had come is told.
    Failed(Failure),
}

/// What the timers of the executor go by.
pub(in crate::io::mqtt) fn now() -> Instant {
    Instant::now()
}

impl Link {
    pub(in crate::io::mqtt) fn new(
        socket: Box<dyn Socket>,
        reader: Reader,
        supervision: Supervision,
        traffic: Traffic,
    ) -> Self {
        Self {
            socket,
            reader,
            writing: Vec::new(),
            written: 0,
            unflushed: false,
            traffic,
            supervision,
            alarm: None,
            left: false,
            failed: None,
        }
    }

    /// Waits for the next packet, and writes meanwhile. Cancel-safe.
    pub(in crate::io::mqtt) async fn next(&mut self, outgoing: &Outgoing) -> Result<Told, Failure> {
        loop {
            if let Some(packet) = self.reader.packet()? {
                self.supervision.complete();
                return Ok(Told::Packet(packet));
            }
            if let Some(size) = self.reader.awaited() {
                self.supervision.incomplete(size, now());
            }
            let mut queued = pin!(outgoing.queued());
            match poll_fn(|cx| self.poll_turn(cx, outgoing, queued.as_mut())).await {
                Turn::Read => {}
                Turn::Left => return Ok(Told::Left),
                Turn::Failed(failure) => return Err(failure),
            }
        }
    }

    fn poll_turn<'a>(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &'a Outgoing,
        mut queued: Pin<&mut Notified<'a>>,
    ) -> Poll<Turn> {
        loop {
            self.write(cx, outgoing);
            if self.left {
                return Poll::Ready(Turn::Left);
            }
            if !outgoing.is_backlogged() {
                match self.reader.poll_fill(cx, &mut *self.socket) {
                    Poll::Ready(Ok(0)) => self.fail(Failure::Closed),
                    Poll::Ready(Ok(_)) => {
                        self.supervision.received(now());
                        return Poll::Ready(Turn::Read);
                    }
                    Poll::Ready(Err(fault)) => self.fail(Failure::Io(fault)),
                    Poll::Pending => {}
                }
            }
            // Only now, when all that had come is read.
            if let Some(failure) = self.failed.take() {
                return Poll::Ready(Turn::Failed(failure));
            }
            let due = self.supervise(cx, outgoing);
            if !due {
                ready!(queued.as_mut().poll(cx));
                queued.set(outgoing.queued());
            }
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing) {
        if self.failed.is_some() {
            return;
        }
        let before = self.traffic.sent();
        let waiting = match self.poll_write(cx, outgoing) {
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(fault)) => {
                self.fail(Failure::Io(fault));
                false
            }
            Poll::Pending => true,
        };
        self.supervision.wrote(self.traffic.sent() != before, waiting, now());
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing) -> Poll<io::Result<()>> {
        let mut socket = Pin::new(&mut *self.socket);
        loop {
            while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
                let taken = ready!(socket.as_mut().poll_write(cx, rest))?;
                if taken == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += taken;
                self.unflushed = true;
            }
            self.written = 0;
            outgoing.take(&mut self.writing);
            if self.writing.is_empty() {
                break;
            }
        }
        if self.unflushed {
            ready!(socket.as_mut().poll_flush(cx))?;
            self.unflushed = false;
        }
        if outgoing.has_left() {
            // Whatever comes of it, the good-bye is written.
            drop(ready!(socket.poll_shutdown(cx)));
            self.left = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Sees to pings and time limits; whether there is something to do at once.
    fn supervise(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing) -> bool {
        let under_way = outgoing.with_window(|window| window.bytes());
        match self.supervision.duty(under_way, now()) {
            Duty::Wait(until) => {
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
                // Limits mostly move away: the timer is set again when it has rung or one has come nearer.
                if alarm.is_elapsed() || until < alarm.deadline() {
                    alarm.as_mut().reset(until);
                }
                return alarm.as_mut().poll(cx).is_ready();
            }
            Duty::Ping => {
                self.writing.extend_from_slice(&ping());
                self.supervision.pinged(now());
            }
            Duty::Dead(reason) => self.fail(Failure::Dead(reason)),
        }
        true
    }

    /// The first failure counts.
    fn fail(&mut self, failure: Failure) {
        self.failed.get_or_insert(failure);
    }
}
