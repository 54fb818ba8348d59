//! Brokers that go wrong after the welcome: packets that must not come, cut or late answers, silence, floods.

use std::time::Duration;

use tidegate::io::mqtt::{Fault, Protocol};

use crate::broker::{Act, packets};
use crate::case::{
    Case, Expect, PACKET_MAX, PUBLISHES, answers, granted, message, met, opened, packet, taken, then, welcome,
};

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];
const FINE: Expect = Expect::Fine { messages: 3, acked: PUBLISHES };
const LOST: Expect = Expect::Ends(Fault::Lost);

/// What comes in place of answers.
fn said(name: impl Into<String>, protocol: Protocol, expect: Expect, bytes: Vec<u8>) -> Case {
    Case::new(name, protocol, expect, then(met(protocol), [Act::Say(bytes), Act::Serve]))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for protocol in BOTH {
        cases.extend(unasked(protocol));
        cases.extend(answered_wrongly(protocol));
        cases.extend(messages(protocol));
        cases.extend(sizes(protocol));
        cases.extend(cut(protocol));
        cases.extend(slow(protocol));
        cases.extend(floods(protocol));
    }
    cases.extend(messages_5());
    cases
}

/// Every first byte there is, in a packet of no length.
fn unasked(protocol: Protocol) -> Vec<Case> {
    (0..=255)
        .map(|first| {
            let expect = match (first, protocol) {
                // A pong nobody asked for harms nobody.
                (0xd0, _) => Expect::Fine { messages: 0, acked: 0 },
                _ => LOST,
            };
            said(format!("first byte {first:#04x}, no body"), protocol, expect, vec![first, 0])
        })
        .collect()
}

/// Answers to questions nobody asked, or not like this.
fn answered_wrongly(protocol: Protocol) -> Vec<Case> {
    let fine = |acked| Expect::Fine { messages: 0, acked };
    let properties: &[u8] = if protocol == Protocol::V5 { &[0] } else { &[] };
    let suback = |id: u8, codes: &[u8]| packet(0x90, &[&[0, id], properties, codes].concat());
    let mut cases = vec![
        said("never a PUBACK", protocol, fine(0), granted(protocol)),
        said("one PUBACK of three", protocol, fine(1), [granted(protocol), taken(1)].concat()),
        said("PUBACKs backwards", protocol, fine(3), [taken(2), taken(1), taken(0)].concat()),
        said("PUBACK twice", protocol, fine(1), [taken(0), taken(0)].concat()),
        said("PUBACK of a subscription", protocol, LOST, vec![0x40, 2, 0, 1]),
        said("PUBACK of 0", protocol, LOST, vec![0x40, 2, 0, 0]),
        said("PUBACK of 5", protocol, LOST, vec![0x40, 2, 0, 5]),
        said("PUBACK of 999", protocol, LOST, vec![0x40, 2, 3, 231]),
        said("PUBACK of 65535", protocol, LOST, vec![0x40, 2, 255, 255]),
        said("PUBACK with one byte", protocol, LOST, vec![0x40, 1, 0]),
        said("PUBREC for QoS 1", protocol, LOST, vec![0x50, 2, 0, 2]),
        said("PUBREL for QoS 1", protocol, LOST, vec![0x62, 2, 0, 2]),
        said("PUBCOMP for QoS 1", protocol, LOST, vec![0x70, 2, 0, 2]),
        said("SUBACK of a publish", protocol, LOST, suback(2, &[1])),
        said("SUBACK of nothing", protocol, LOST, suback(77, &[1])),
        said("SUBACK twice", protocol, LOST, [granted(protocol), granted(protocol)].concat()),
        said("SUBACK without a code", protocol, LOST, suback(1, &[])),
        said("SUBACK with three codes", protocol, LOST, suback(1, &[1, 1, 1])),
        said("SUBACK with 200 codes", protocol, LOST, suback(1, &[0; 200])),
        said("SUBACK with code 3", protocol, LOST, suback(1, &[3])),
        said("SUBACK with code 255", protocol, LOST, suback(1, &[255])),
        said("SUBACK that refuses", protocol, fine(0), suback(1, &[0x80])),
        said("SUBACK with less QoS", protocol, fine(0), suback(1, &[0])),
        said("SUBACK with more QoS", protocol, fine(0), suback(1, &[2])),
        said("SUBACK with one byte", protocol, LOST, vec![0x90, 1, 0]),
        said("UNSUBACK", protocol, LOST, vec![0xb0, 2, 0, 1]),
        said("CONNECT", protocol, LOST, packet(0x10, &[0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 10, 0, 0, 0])),
        said("SUBSCRIBE", protocol, LOST, packet(0x82, &[0, 1, 0, 0, 1, b'#', 0])),
        said("PINGREQ", protocol, LOST, vec![0xc0, 0]),
        said("PINGRESP with a body", protocol, LOST, vec![0xd0, 1, 0]),
        said("AUTH", protocol, LOST, vec![0xf0, 2, 0x18, 0]),
        said("DISCONNECT", protocol, LOST, vec![0xe0, 0]),
        said("many pongs", protocol, fine(0), [0xd0, 0].repeat(1_000)),
    ];
    if protocol == Protocol::V5 {
        for code in 0..=255 {
            let expect = match code {
                0 | 16 => fine(1),
                128 | 131 | 135 | 144 | 145 | 151 | 153 => fine(0),
                _ => LOST,
            };
            cases.push(said(format!("PUBACK with code {code}"), protocol, expect, vec![0x40, 3, 0, 2, code]));
            let goodbye = vec![0xe0, 2, code, 0];
            cases.push(said(format!("DISCONNECT with code {code}"), protocol, LOST, goodbye));
        }
        let reason = packet(0x40, &[&[0, 2, 0x97, 8, 0x1f, 0, 5][..], b"quota"].concat());
        cases.push(said("PUBACK with a reason in words", protocol, fine(0), reason));
        cases.push(said("PUBACK with properties cut off", protocol, LOST, vec![0x40, 4, 0, 2, 0, 9]));
        let lie = packet(0x40, &[0, 2, 0, 2, 0x1f, 0, 9]);
        cases.push(said("PUBACK whose properties lie", protocol, LOST, lie));
    }
    cases
}

/// Messages that are wrong in themselves.
fn messages(protocol: Protocol) -> Vec<Case> {
    let fine = |messages| Expect::Fine { messages, acked: 0 };
    let properties: &[u8] = if protocol == Protocol::V5 { &[0] } else { &[] };
    let message_to = |first, topic: &[u8], id: &[u8]| {
        let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
        packet(first, &[&length, topic, id, properties, b"x"].concat())
    };
    let nine: &[u8] = &[0, 9];
    vec![
        said("a message of nothing", protocol, LOST, vec![0x30, 0]),
        said("a message of one byte", protocol, LOST, vec![0x30, 1, 0]),
        said("a topic longer than the packet", protocol, LOST, vec![0x30, 4, 0xff, 0xff, b't', 0]),
        said("a topic one longer than the packet", protocol, LOST, vec![0x30, 3, 0, 2, b't']),
        said("no packet id", protocol, LOST, vec![0x32, 3, 0, 1, b't']),
        said("half a packet id", protocol, LOST, vec![0x32, 4, 0, 1, b't', 0]),
        said("packet id 0", protocol, LOST, message_to(0x32, b"t", &[0, 0])),
        said("QoS 2", protocol, LOST, message_to(0x34, b"t", nine)),
        said("QoS 3", protocol, LOST, message_to(0x36, b"t", nine)),
        said("an empty topic", protocol, fine(1), message_to(0x32, b"", nine)),
        said("a topic that is not UTF-8", protocol, fine(1), message_to(0x32, b"\xff\xfe", nine)),
        said("a topic with a NUL", protocol, fine(1), message_to(0x32, b"a\0b", nine)),
        said("a topic with wildcards", protocol, fine(1), message_to(0x32, b"+/#", nine)),
        said("a topic of 60,000 bytes", protocol, fine(1), message_to(0x32, &vec![b'/'; 60_000], nine)),
        said("a topic nobody asked for", protocol, fine(1), message_to(0x32, b"$SYS/secret", nine)),
        said("no payload", protocol, fine(1), message(protocol, Some(9), b"")),
        said("retained, again and of QoS 1", protocol, fine(1), message_to(0x3b, b"t", nine)),
        said("again but of QoS 0", protocol, fine(1), message_to(0x38, b"t", b"")),
        said("one id for two messages", protocol, fine(2), message(protocol, Some(9), b"a").repeat(2)),
        said(
            "more than the receive maximum",
            protocol,
            fine(500),
            (1..=500).flat_map(|id| message(protocol, Some(id), b"x")).collect(),
        ),
    ]
}

/// Messages that only MQTT 5 can get wrong.
fn messages_5() -> Vec<Case> {
    let fine = Expect::Fine { messages: 1, acked: 0 };
    let with = |name: &str, expect, properties: &[u8]| {
        let head = packet(0, properties);
        let bytes = packet(0x32, &[&[0, 1, b't', 0, 9], &head[1..], b"x"].concat());
        said(format!("a message with {name}"), Protocol::V5, expect, bytes)
    };
    let ids = [0x0b, 1].repeat(20_000);
    let users = [0x26, 0, 0, 0, 0].repeat(12_000);
    let mut cases = vec![
        with("a topic alias", LOST, &[0x23, 0, 1]),
        with("topic alias 0", LOST, &[0x23, 0, 0]),
        with("topic alias 65535", LOST, &[0x23, 255, 255]),
        with(
            "all properties",
            fine,
            &[1, 1, 2, 0, 0, 0, 9, 3, 0, 1, b'c', 8, 0, 1, b'r', 9, 0, 1, 7, 0x0b, 1],
        ),
        with("a property there is not", LOST, &[0x7f, 0]),
        with("a property of CONNACK", LOST, &[0x13, 0, 1]),
        with("a property cut off", LOST, &[2, 0, 0]),
        with("a text longer than its properties", LOST, &[3, 0, 9, b'c']),
        with("a subscription id without end", LOST, &[0x0b, 0xff, 0xff, 0xff, 0xff, 0xff]),
        with("a user property cut off", LOST, &[0x26, 0, 1, b'k']),
        with("20,000 subscription ids", fine, &ids),
        with("12,000 user properties", fine, &users),
        with("texts that are not UTF-8", fine, &[3, 0, 1, 0xff, 0x26, 0, 1, 0xff, 0, 1, 0xff]),
    ];
    for alias in 0..4_u16 {
        let flood: Vec<u8> = (1..=200)
            .flat_map(|number| {
                let [high, low] = (alias * 200 + number).to_be_bytes();
                packet(0x30, &[0, 1, b't', 3, 0x23, high, low, b'x'])
            })
            .collect();
        cases.push(said(format!("a flood of topic aliases from {}", alias * 200), Protocol::V5, LOST, flood));
    }
    let lie = packet(0x30, &[0, 1, b't', 99, b'x']);
    cases.push(said("properties longer than the packet", Protocol::V5, LOST, lie));
    cases.push(said(
        "properties without end",
        Protocol::V5,
        LOST,
        packet(0x30, &[0, 1, b't', 255, 255, 255, 255, 1]),
    ));
    cases.push(said("no properties at all", Protocol::V5, LOST, vec![0x30, 3, 0, 1, b't']));
    cases
}

/// Packets at the limit, above it and far above it.
fn sizes(protocol: Protocol) -> Vec<Case> {
    let oversize = Expect::Ends(Fault::Oversize);
    let whole = |size: usize| {
        let head = message(protocol, Some(9), &vec![b'x'; size]).len() - size;
        message(protocol, Some(9), &vec![b'x'; size - head])
    };
    let limit = usize::try_from(PACKET_MAX).unwrap();
    let fine = Expect::Fine { messages: 1, acked: 0 };
    let mut cases = vec![
        said("a message at the limit", protocol, fine, whole(limit)),
        said("a message one above the limit", protocol, oversize, whole(limit + 1)),
        said("a message of 1 MiB", protocol, oversize, whole(1 << 20)),
    ];
    for length in
        [[0x30, 0xff, 0xff, 0xff, 0x7f], [0x32, 0x80, 0x80, 0x80, 0x40], [0x3b, 0xff, 0xff, 0x7f, 0]]
    {
        cases.push(said(format!("a message that claims {length:?}"), protocol, oversize, length.to_vec()));
    }
    for kind in [0x20_u8, 0x40, 0x90, 0xd0] {
        let bytes = vec![kind, 0xff, 0xff, 0xff, 0x7f];
        cases.push(said(format!("type {} that claims 256 MiB", kind >> 4), protocol, LOST, bytes));
    }
    // All of it, sent for as long as it is taken.
    let claim = message(protocol, None, &vec![b'x'; 8 << 20]);
    let script = then(met(protocol), [Act::Drip(claim, 4_096, Duration::from_millis(1)), Act::Serve]);
    cases.push(Case::new("a message of 8 MiB in pieces", protocol, oversize, script));
    for extra in [1, 2, 3, 4] {
        let bytes = [&[0x30][..], &vec![0x80; extra], &[0]].concat();
        // A length in more bytes than it needs is odd, one of five bytes is none.
        cases.push(said(format!("a length of 0 in {} bytes", extra + 1), protocol, LOST, bytes));
    }
    cases
}

/// The conversation ends, or pauses, after every byte of it; and it comes byte by byte.
fn cut(protocol: Protocol) -> Vec<Case> {
    let mut cases = Vec::new();
    let all = answers(protocol);
    for at in 0..=all.len() {
        let closed = then(met(protocol), [Act::Say(all[..at].to_vec()), Act::Close]);
        let whole = packets(&all[..at]);
        let of = |kind| whole.iter().filter(|(first, _)| first >> 4 == kind).count();
        let told = Expect::LostAfter { messages: of(3) as u64, acked: of(4) as u64 };
        cases.push(Case::new(format!("closed after {at} bytes"), protocol, told, closed));
        let hung = then(met(protocol), [Act::Say(all[..at].to_vec()), Act::Hang]);
        let mut case = Case::new(format!("hung after {at} bytes"), protocol, LOST, hung);
        // A keep-alive, half of one, and the client's naps.
        case.within = Duration::from_secs(92);
        cases.push(case);
        if at > 0 && at < all.len() {
            let split = then(
                met(protocol),
                [
                    Act::Say(all[..at].to_vec()),
                    Act::Pause(Duration::from_millis(10)),
                    Act::Say(all[at..].to_vec()),
                    Act::Serve,
                ],
            );
            cases.push(Case::new(format!("split after {at} bytes"), protocol, FINE, split));
        }
    }
    for piece in 1..=7 {
        let drip =
            then(met(protocol), [Act::Drip(all.clone(), piece, Duration::from_millis(900)), Act::Serve]);
        cases.push(Case::new(format!("{piece} bytes at a time"), protocol, FINE, drip));
    }
    let parts = [welcome(protocol), all].concat();
    let early = then(opened(), [Act::Drip(parts, 1, Duration::from_millis(1)), Act::Serve]);
    cases.push(Case::new("answers that may come before the questions", protocol, Expect::Anything, early));
    cases
}

/// Brokers without hurry.
fn slow(protocol: Protocol) -> Vec<Case> {
    let all = answers(protocol);
    let big = message(protocol, Some(9), &vec![b'x'; 60_000]);
    let drip = |bytes: &[u8], piece, millis| Act::Drip(bytes.to_vec(), piece, Duration::from_millis(millis));
    let case =
        |name: &str, expect, acts: Vec<Act>| Case::new(name, protocol, expect, then(met(protocol), acts));
    let mut loris = case("a packet at a byte in 30 s", LOST, vec![drip(&big, 1, 30_000), Act::Serve]);
    // A keep-alive, half of one, and what the packet takes at 200 bytes/s.
    loris.within = Duration::from_secs(91 + 60_100 / 200);
    let late = Duration::from_secs(20);
    let far = [
        vec![
            Act::Hear(1),
            Act::Pause(late),
            Act::Say(welcome(protocol)),
            Act::Hear(8),
            Act::Hear(3),
            Act::Hear(3),
            Act::Hear(3),
        ],
        vec![Act::Pause(late), Act::Say(all.clone()), Act::ServeLate(late)],
    ]
    .concat();
    let mut satellite = Case::new("a round trip of 20 s", protocol, FINE, far);
    (satellite.keep_alive, satellite.connect_timeout) = (Duration::from_mins(2), Duration::from_secs(90));
    let mut cut_far = satellite.clone();
    cut_far.name = "a round trip of 20 s, then a cut".into();
    cut_far.expect = Expect::LostAfter { messages: 3, acked: PUBLISHES };
    cut_far.script.pop();
    cut_far.script.push(Act::Swallow);
    cut_far.within = Duration::from_secs(40 + 180 + 1);
    let mut swallows = case("reads for ever and answers nothing", LOST, vec![Act::Swallow]);
    swallows.within = Duration::from_secs(92);
    let mut deaf = case("answers and reads nothing more", LOST, vec![Act::Say(all.clone()), Act::Hang]);
    deaf.within = Duration::from_secs(92);
    vec![
        case("a conversation at a byte a second", FINE, vec![drip(&all, 1, 1_000), Act::Serve]),
        case(
            "a packet at 300 bytes/s",
            Expect::Fine { messages: 1, acked: 0 },
            vec![drip(&big, 300, 1_000), Act::Serve],
        ),
        case(
            "a pause of 85 s",
            FINE,
            vec![Act::Pause(Duration::from_secs(85)), Act::Say(all.clone()), Act::Serve],
        ),
        case("a pause of 95 s", LOST, vec![Act::Pause(Duration::from_secs(95)), Act::Say(all), Act::Serve]),
        case(
            "a packet at 300 bytes/s, its header split",
            Expect::Fine { messages: 1, acked: 0 },
            vec![
                drip(&big[..1], 1, 0),
                Act::Pause(Duration::from_secs(1)),
                drip(&big[1..], 300, 1_000),
                Act::Serve,
            ],
        ),
        satellite,
        cut_far,
        loris,
        swallows,
        deaf,
    ]
}

/// More than anybody can take.
fn floods(protocol: Protocol) -> Vec<Case> {
    let flood = |name: &str, expect, bytes: Vec<u8>, times, after: Vec<Act>| {
        let script = then(met(protocol), [vec![Act::Flood(bytes, times)], after].concat());
        Case::new(format!("a flood of {name}"), protocol, expect, script)
    };
    let small = message(protocol, Some(9), b"x");
    let large = message(protocol, Some(9), &vec![b'x'; 60_000]);
    let many = |messages| Expect::Fine { messages, acked: 0 };
    let mut asleep =
        flood("messages while we do something else", many(20_000), small.clone(), 20_000, vec![Act::Serve]);
    asleep.sleeps = Duration::from_mins(5);
    let mut large_asleep =
        flood("large messages while we do something else", many(200), large, 200, vec![Act::Serve]);
    large_asleep.sleeps = Duration::from_secs(50);
    // The socket and two buffers of acknowledgements are full by then.
    let before = Expect::LostBefore { messages: 60_000 };
    let mut unread =
        flood("messages, and no acknowledgement is read", before, small.clone(), 100_000, vec![Act::Hang]);
    unread.within = Duration::from_mins(5);
    vec![
        flood("messages", many(20_000), small.repeat(100), 200, vec![Act::Serve]),
        flood("pongs", many(0), [0xd0, 0].repeat(1_000), 50, vec![Act::Serve]),
        flood("acknowledgements", LOST, taken(0), 10_000, vec![Act::Serve]),
        flood("answers to subscriptions", LOST, granted(protocol), 10_000, vec![Act::Serve]),
        flood(
            "messages without a payload",
            many(50_000),
            message(protocol, None, b"").repeat(500),
            100,
            vec![Act::Serve],
        ),
        asleep,
        large_asleep,
        unread,
    ]
}
