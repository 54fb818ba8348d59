//! The fake broker far away, and the link to it.

use std::collections::BTreeMap;

use tidegate::wire::decode_batch;

use crate::faults::Planted;
use crate::model::{Checked, Reference};

/// A batch between the gateway and the broker.
pub(crate) struct Packet {
    pub(crate) lane: usize,
    pub(crate) seqs: Vec<u64>,
    payload: Vec<u8>,
}

/// Knows every batch that was ever sent, by boot and token.
#[derive(Default)]
pub(crate) struct Broker {
    packets: BTreeMap<(u32, u64), Packet>,
    pub(crate) batches: u64,
}

impl Broker {
    pub(crate) fn send(&mut self, key: (u32, u64), lane: usize, seqs: Vec<u64>, payload: Vec<u8>) {
        self.packets.insert(key, Packet { lane, seqs, payload });
    }

    /// Whether it dies at a batch.
    pub(crate) fn dies(&self, key: (u32, u64), poison: Option<u64>) -> Result<bool, String> {
        let (Some(packet), Some(every)) = (self.packets.get(&key), poison) else { return Ok(false) };
        let (batch, _) = decode_batch(&packet.payload).map_err(|error| format!("batch upstream: {error}"))?;
        Ok(batch.events.iter().any(|event| event.facts().id.number.is_multiple_of(every)))
    }

    pub(crate) fn packet(&self, key: (u32, u64)) -> Option<&Packet> {
        self.packets.get(&key)
    }

    /// Takes a batch: reads it as any consumer does.
    pub(crate) fn take(&mut self, key: (u32, u64), planted: Planted, reference: &mut Reference) -> Checked {
        let Some(packet) = self.packets.get(&key) else { return Ok(()) };
        self.batches += 1;
        if planted == Planted::AckWithoutDelivery && self.batches.is_multiple_of(7) {
            return Ok(());
        }
        let (batch, used) =
            decode_batch(&packet.payload).map_err(|error| format!("batch upstream: {error}"))?;
        if used != packet.payload.len() || batch.events.len() != packet.seqs.len() {
            return Err(format!("{} events of {} records", batch.events.len(), packet.seqs.len()));
        }
        batch.events.iter().try_for_each(|event| reference.delivered(event.facts()))
    }
}
