//! A broker that does what its script says, over a socket in memory, and writes down what was said on both sides.

use std::cell::RefCell;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Bytes written down of either side; floods are longer.
const RECORD_MAX: usize = 256 << 10;

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Reads until a packet of this type has come.
    Hear(u8),
    /// Sends.
    Say(Vec<u8>),
    /// Sends in pieces of so many bytes, with a pause before each but the first.
    Drip(Vec<u8>, usize, Duration),
    /// Sends the same again and again, without reading.
    Flood(Vec<u8>, usize),
    /// Lets time pass, without reading.
    Pause(Duration),
    /// Answers pings as a broker does until the client leaves.
    Serve,
    /// The same, each answer after a while.
    ServeLate(Duration),
    /// Reads and answers nothing until the client leaves.
    Swallow,
    /// Neither reads nor writes any more.
    Hang,
    /// Closes the socket.
    Close,
}

/// What a broker is made to do besides its script: the bugs planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// Every acknowledgement is turned into one of the oldest publish under way, on the wire but not in the record: to
    /// the judge it looks as if the client took any acknowledgement for it.
    AnyAck,
    /// The client's limit is far above the one the judge knows.
    NoSizeLimit,
    /// The client never asks whether the broker is alive.
    NoPing,
}

/// What was said.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) heard: Vec<u8>,
    pub(crate) said: Vec<u8>,
    /// Whether not all of it is written down.
    pub(crate) cut: bool,
    /// Whether the script has come to its end.
    pub(crate) done: bool,
}

pub(crate) struct Broker<'a> {
    socket: Option<DuplexStream>,
    /// Where in the record the next packet of the client begins.
    read: usize,
    record: &'a RefCell<Record>,
    planted: Planted,
}

/// Packets of a byte stream: type and flags, body. The judge's own reading of MQTT; stops at what is incomplete.
pub(crate) fn packets(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((size, head)) = size(bytes).filter(|(size, _)| *size <= bytes.len()) {
        found.push((bytes[0], &bytes[head..size]));
        bytes = &bytes[size..];
    }
    found
}

fn size(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for at in 0..4 {
        let byte = *bytes.get(1 + at)?;
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((2 + at + length, 2 + at));
        }
    }
    None
}

impl<'a> Broker<'a> {
    pub(crate) fn new(socket: DuplexStream, record: &'a RefCell<Record>, planted: Planted) -> Self {
        Self { socket: Some(socket), read: 0, record, planted }
    }

    /// Plays its part; never ends, because the client does.
    pub(crate) async fn play(mut self, script: &[Act]) {
        for act in script {
            if self.perform(act).await.is_none() {
                self.socket = None;
            }
        }
        self.record.borrow_mut().done = true;
        std::future::pending::<()>().await;
    }

    async fn perform(&mut self, act: &Act) -> Option<()> {
        match act {
            Act::Hear(kind) => while self.hear().await? != *kind {},
            Act::Say(bytes) => self.say(bytes).await?,
            Act::Drip(bytes, piece, pause) => {
                for (number, piece) in bytes.chunks(*piece).enumerate() {
                    if number > 0 {
                        tokio::time::sleep(*pause).await;
                    }
                    self.say(piece).await?;
                }
            }
            Act::Flood(bytes, times) => {
                for _ in 0..*times {
                    self.say(bytes).await?;
                }
            }
            Act::Pause(time) => tokio::time::sleep(*time).await,
            Act::Serve => loop {
                match self.hear().await? {
                    12 => self.say(&[0xd0, 0]).await?,
                    14 => return None,
                    _ => {}
                }
            },
            Act::ServeLate(after) => loop {
                match self.hear().await? {
                    12 => {
                        tokio::time::sleep(*after).await;
                        self.say(&[0xd0, 0]).await?;
                    }
                    14 => return None,
                    _ => {}
                }
            },
            Act::Swallow => while self.hear().await.is_some() {},
            Act::Hang => std::future::pending().await,
            Act::Close => return None,
        }
        Some(())
    }

    async fn say(&mut self, bytes: &[u8]) -> Option<()> {
        let bytes = self.recorded(bytes);
        self.socket.as_mut()?.write_all(&bytes).await.ok()
    }

    /// Writes down what is said, and gives back what goes out.
    fn recorded(&self, bytes: &[u8]) -> Vec<u8> {
        let mut record = self.record.borrow_mut();
        if record.said.len() + bytes.len() <= RECORD_MAX {
            record.said.extend_from_slice(bytes);
        } else {
            record.cut = true;
        }
        let mut bytes = bytes.to_vec();
        if self.planted == Planted::AnyAck && bytes.starts_with(&[0x40, 2]) && bytes.len() > 3 {
            let published = packets(&record.heard).into_iter().find(|(first, _)| first & 0xf6 == 0x32);
            if let Some((_, body)) = published {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                bytes[2..4].copy_from_slice(&body[2 + topic..4 + topic]);
            }
        }
        bytes
    }

    /// The type of the client's next packet.
    async fn hear(&mut self) -> Option<u8> {
        loop {
            {
                let record = self.record.borrow();
                let rest = record.heard.get(self.read..)?;
                if let Some((size, _)) = size(rest).filter(|(size, _)| *size <= rest.len()) {
                    self.read += size;
                    return Some(rest[0] >> 4);
                }
            }
            let mut piece = [0; 4096];
            let read = self.socket.as_mut()?.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            let mut record = self.record.borrow_mut();
            if record.heard.len() + read > RECORD_MAX {
                record.cut = true;
                record.heard.clear();
                self.read = 0;
            }
            record.heard.extend_from_slice(&piece[..read]);
        }
    }
}
