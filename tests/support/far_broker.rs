//! A broker of a hundred lines on tokio's clock: takes MQTT 3.1.1, keeps what is published, acknowledges as it is told.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::wire::{Dialer, Listener, Wire, listen};

/// How it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Each publish once.
    Once,
    /// Each publish twice, and the one before it again.
    Twice,
    /// Each publish once, and throws every third away: a planted bug.
    Lying,
}

/// A message it has taken.
#[derive(Clone)]
pub(crate) struct Taken {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
}

/// A broker. It ends when it is dropped.
pub(crate) struct FarBroker {
    dialer: Dialer,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    manner: Manner,
    taken: Mutex<Vec<Taken>>,
    /// Counts its restarts.
    restarts: watch::Sender<u32>,
}

impl FarBroker {
    pub(crate) fn start(manner: Manner) -> Self {
        let (dialer, listener) = listen();
        let shared = Arc::new(Shared { manner, taken: Mutex::default(), restarts: watch::channel(0).0 });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { dialer, shared, accepting }
    }

    /// Connects to it.
    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Everything it has taken so far.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Ends all connections without a word and knows nothing of them afterwards.
    pub(crate) fn restart(&self) {
        self.shared.restarts.send_modify(|count| *count += 1);
    }
}

impl Drop for FarBroker {
    fn drop(&mut self) {
        self.accepting.abort();
        self.restart();
    }
}

impl Shared {
    fn take(&self, mut taken: Taken) {
        let mut all = self.taken.lock().unwrap();
        if self.manner == Manner::Lying && taken.qos == 1 && all.len() % 3 == 2 {
            taken.topic = "thrown away".to_owned();
        }
        all.push(taken);
    }
}

async fn accept(mut listener: Listener, shared: Arc<Shared>) {
    while let Some(socket) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut restarts = shared.restarts.subscribe();
            tokio::select! {
                _ = serve(socket, &shared) => {}
                _ = restarts.changed() => {}
            }
        });
    }
}

/// One client, until it leaves or breaks the protocol.
async fn serve(mut socket: Wire, shared: &Shared) -> Option<()> {
    let (kind, connect) = packet(&mut socket).await?;
    assert_eq!(kind, 0x10, "CONNECT first");
    assert!(connect.starts_with(b"\0\x04MQTT\x04"), "MQTT 3.1.1");
    socket.write_all(&[0x20, 2, 0, 0]).await.ok()?;
    let mut before = None;
    loop {
        let (kind, body) = packet(&mut socket).await?;
        match kind >> 4 {
            3 => {
                let topic = text(&body, 0)?;
                let (qos, rest) = ((kind >> 1) & 3, 2 + topic.len());
                let payload = body.get(rest + usize::from(qos) * 2..)?.to_vec();
                let taken = Taken { topic, payload, qos };
                shared.take(taken);
                if qos == 1 {
                    let id = [*body.get(rest)?, *body.get(rest + 1)?];
                    let mut answer = vec![0x40, 2, id[0], id[1]];
                    if shared.manner == Manner::Twice {
                        answer.extend_from_within(..);
                        if let Some(before) = before.replace(id) {
                            answer.extend([0x40, 2, before[0], before[1]]);
                        }
                    }
                    socket.write_all(&answer).await.ok()?;
                }
            }
            12 => socket.write_all(&[0xd0, 0]).await.ok()?,
            14 => return None,
            other => panic!("a forwarder has no business with packets of type {other}"),
        }
    }
}

async fn packet(socket: &mut Wire) -> Option<(u8, Vec<u8>)> {
    let kind = socket.read_u8().await.ok()?;
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let byte = socket.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

fn text(body: &[u8], at: usize) -> Option<String> {
    let length = usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    String::from_utf8(body.get(at + 2..at + 2 + length)?.to_vec()).ok()
}
