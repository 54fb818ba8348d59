//! What must hold whatever a broker does, found from the outside: from what was said on the wire and what was told.

use std::collections::{BTreeMap, BTreeSet};

use tidegate::io::mqtt::{Fault, Protocol};

use crate::broker::packets;
use crate::case::{Case, Expect};
use crate::client::Outcome;

/// Checks a case; says what is wrong.
pub(crate) fn judge(case: &Case, outcome: &Outcome) -> Result<(), String> {
    if outcome.hung || outcome.took > case.within {
        return Err(format!("it took {:?}", outcome.took));
    }
    if outcome.bytes_max > case.memory_max {
        return Err(format!("it took {} bytes of memory", outcome.bytes_max));
    }
    if outcome.undead {
        return Err("it went on after its end".into());
    }
    acknowledged(case, outcome)?;
    expected(case, outcome)?;
    discipline(outcome)?;
    complaint(case, outcome)?;
    let (sent, received) = outcome.counted;
    let (heard, said) = (outcome.record.heard.len() as u64, outcome.record.said.len() as u64);
    // What is still in the socket was sent and not heard, or said and not received.
    if !outcome.record.cut && (sent < heard || received > said) {
        return Err(format!("{sent} bytes counted of {heard} heard, {received} of {said} said"));
    }
    Ok(())
}

fn expected(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let ended = outcome.error.as_ref().map(|(fault, _)| *fault);
    let right = match case.expect {
        Expect::Anything => true,
        Expect::Ends(fault) => ended == Some(fault),
        Expect::LostBefore { messages } => ended == Some(Fault::Lost) && outcome.messages < messages,
        Expect::LostAfter { messages, acked } => {
            ended == Some(Fault::Lost) && (outcome.messages, outcome.acked.len() as u64) == (messages, acked)
        }
        Expect::Fine { messages, acked } => {
            ended.is_none()
                && outcome.connected
                && (outcome.messages, outcome.acked.len() as u64) == (messages, acked)
        }
    };
    if right {
        return Ok(());
    }
    let (messages, acked) = (outcome.messages, outcome.acked.len());
    Err(format!("expected {:?}, found {:?}, {messages} messages, {acked} acked", case.expect, outcome.error))
}

/// Nothing counts as acknowledged without a PUBACK for the packet id under which it went out.
fn acknowledged(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let mut ids = BTreeMap::new();
    for (first, body) in packets(&outcome.record.heard) {
        if first & 0xf6 == 0x32 {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let id = u16::from_be_bytes([body[2 + topic], body[3 + topic]]);
            let token: [u8; 8] = body[body.len() - 8..].try_into().unwrap();
            ids.insert(u64::from_be_bytes(token), id);
        }
    }
    let mut said: BTreeMap<u16, usize> = BTreeMap::new();
    for (first, body) in packets(&outcome.record.said) {
        if let (0x40, [high, low, rest @ ..]) = (first, body) {
            let refused = case.protocol == Protocol::V5 && rest.first().is_some_and(|code| *code >= 0x80);
            *said.entry(u16::from_be_bytes([*high, *low])).or_default() += usize::from(!refused);
        }
    }
    let mut seen = BTreeSet::new();
    for token in &outcome.acked {
        let id = ids.get(token).ok_or(format!("publish {token} was acknowledged and never sent"))?;
        let answer = said.get(id).copied().unwrap_or(0);
        if answer == 0 || !seen.insert(token) {
            return Err(format!("publish {token} was acknowledged, and no PUBACK says so"));
        }
    }
    Ok(())
}

/// What the client says is MQTT: first CONNECT and once, acknowledgements only of what came, nothing after good-bye.
fn discipline(outcome: &Outcome) -> Result<(), String> {
    if outcome.record.cut {
        return Ok(());
    }
    let mut owed: BTreeMap<u16, i64> = BTreeMap::new();
    for (first, body) in packets(&outcome.record.said) {
        if first & 0xf6 == 0x32 && body.len() >= 2 {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            if let Some([high, low]) = body.get(2 + topic..4 + topic) {
                *owed.entry(u16::from_be_bytes([*high, *low])).or_default() += 1;
            }
        }
    }
    let heard = packets(&outcome.record.heard);
    for (number, (first, body)) in heard.iter().enumerate() {
        let lawful = match (first >> 4, body) {
            (1, _) => number == 0,
            (3 | 8 | 12, _) => number > 0,
            (4, [high, low]) => {
                let owed = owed.entry(u16::from_be_bytes([*high, *low])).or_default();
                *owed -= 1;
                *owed >= 0
            }
            (14, []) => number + 1 == heard.len(),
            _ => false,
        };
        if !lawful {
            return Err(format!("packet {number} of the client, type {}, is out of place", first >> 4));
        }
    }
    Ok(())
}

/// An error names the broker, says what to do, and shows nothing of the plant.
fn complaint(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let Some((fault, text)) = &outcome.error else { return Ok(()) };
    let remedies = ["check", "raise", "set the", "its log", "allow"];
    let right = text.contains("broker.test:1883")
        && remedies.iter().any(|remedy| text.contains(remedy))
        && text.len() < 400
        && (*fault != Fault::Lost || outcome.connected);
    if right { Ok(()) } else { Err(format!("{}: the error says {text:?}", case.name)) }
}
