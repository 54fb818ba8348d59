//! Brokers that answer CONNECT wrongly, late or not at all.

use std::time::Duration;

use tidegate::io::mqtt::{Fault, Protocol};

use crate::broker::Act;
use crate::case::{Case, Expect, PUBLISHES, answers, message, met, opened, packet, then, welcome};

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];
const FINE: Expect = Expect::Fine { messages: 3, acked: PUBLISHES };

/// What comes in place of the welcome.
fn instead(name: String, protocol: Protocol, expect: Expect, bytes: Vec<u8>) -> Case {
    Case::new(name, protocol, expect, then(opened(), [Act::Say(bytes), Act::Swallow]))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = codes();
    cases.extend(shapes());
    cases.extend(timing());
    cases.extend(properties());
    cases.extend(strangers());
    cases.extend(silence());
    cases
}

/// Every code of the welcome, those there are and those there are not.
fn codes() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in 1..=255 {
        let expect = match code {
            3 => Expect::Ends(Fault::Unreachable),
            1..=5 => Expect::Ends(Fault::Refused),
            _ => Expect::Ends(Fault::Unreachable),
        };
        cases.push(instead(format!("code {code}"), Protocol::V311, expect, vec![0x20, 2, 0, code]));
        let expect = match code {
            132..=135 | 138 | 140 | 144 | 153..=157 => Expect::Ends(Fault::Refused),
            _ => Expect::Ends(Fault::Unreachable),
        };
        cases.push(instead(format!("code {code}"), Protocol::V5, expect, vec![0x20, 3, 0, code, 0]));
    }
    // A broker of MQTT 3.1.1 that is spoken to in MQTT 5.
    let refused = Expect::Ends(Fault::Refused);
    cases.push(instead("older broker".into(), Protocol::V5, refused, vec![0x20, 2, 0, 1]));
    cases
}

/// Welcomes of a wrong shape.
fn shapes() -> Vec<Case> {
    let mut cases = Vec::new();
    for protocol in BOTH {
        let whole = welcome(protocol);
        for length in 0..whole.len() - 2 {
            let short = packet(0x20, &whole[2..2 + length]);
            cases.push(instead(
                format!("welcome of {length} bytes"),
                protocol,
                Expect::Ends(Fault::Unreachable),
                short,
            ));
        }
        for flags in 1..16 {
            let odd = [vec![0x20 | flags], whole[1..].to_vec()].concat();
            cases.push(instead(
                format!("welcome with flags {flags}"),
                protocol,
                Expect::Ends(Fault::Unreachable),
                odd,
            ));
        }
        for length in [[0xff, 0xff, 0xff, 0x7f, 0], [0xff, 0xff, 0xff, 0xff, 0xff], [0xff, 0xff, 0x7f, 0, 0]]
        {
            let bytes = [&[0x20][..], &length].concat();
            cases.push(instead(
                format!("welcome with length {length:?}"),
                protocol,
                Expect::Ends(Fault::Unreachable),
                bytes,
            ));
        }
    }
    cases
}

/// Welcomes at the wrong time, more than once, or with a lie about the session.
fn timing() -> Vec<Case> {
    let mut cases = Vec::new();
    for protocol in BOTH {
        // It says that it kept a session that we had it forget, or that it forgot the one we rely on.
        for (present, clean) in [(1, true), (0, false), (1, false)] {
            let mut bytes = welcome(protocol);
            bytes[2] = present;
            let script = then(opened(), served(protocol, bytes));
            let mut case =
                Case::new(format!("session present {present}, clean {clean}"), protocol, FINE, script);
            case.clean_start = clean;
            cases.push(case);
        }
        let twice =
            then(met(protocol), [Act::Say(answers(protocol)), Act::Say(welcome(protocol)), Act::Swallow]);
        cases.push(Case::new("welcome twice", protocol, Expect::Ends(Fault::Lost), twice));
        let early = [message(protocol, Some(3), b"early"), welcome(protocol)].concat();
        cases.push(instead(
            "message before the welcome".into(),
            protocol,
            Expect::Ends(Fault::Unreachable),
            early,
        ));
        let at_once =
            then(opened(), [Act::Say([welcome(protocol), answers(protocol)].concat()), Act::Swallow]);
        cases.push(Case::new("answers before questions", protocol, Expect::Anything, at_once));
        cases.push(Case::new(
            "welcome before CONNECT",
            protocol,
            FINE,
            Vec::from(served(protocol, welcome(protocol))),
        ));
    }
    cases
}

/// A welcome of these bytes, and behind it a broker that does as it should.
fn served(protocol: Protocol, welcome: Vec<u8>) -> [Act; 7] {
    [
        Act::Say(welcome),
        Act::Hear(8),
        Act::Hear(3),
        Act::Hear(3),
        Act::Hear(3),
        Act::Say(answers(protocol)),
        Act::Serve,
    ]
}

/// What MQTT 5 lets a broker say in its welcome.
fn properties() -> Vec<Case> {
    let with = |name: &str, expect, properties: &[u8]| {
        let mut body = vec![0, 0];
        body.extend_from_slice(&packet(0, properties)[1..]);
        let bytes = packet(0x20, &body);
        let script = then(opened(), served(Protocol::V5, bytes));
        Case::new(format!("welcome with {name}"), Protocol::V5, expect, script)
    };
    let refused = Expect::Ends(Fault::Refused);
    let unreachable = Expect::Ends(Fault::Unreachable);
    let user = [0x26, 0, 1, b'k', 0, 1, b'v'].repeat(1_000);
    let too_many = [0x26, 0, 0, 0, 0].repeat(14_000);
    vec![
        with(
            "all that is usual",
            FINE,
            &[0x21, 0, 8, 0x22, 0, 10, 0x27, 0, 1, 0, 0, 0x25, 1, 0x2a, 1, 0x13, 0, 60],
        ),
        with("receive maximum 3", FINE, &[0x21, 0, 3]),
        with("receive maximum 65535", FINE, &[0x21, 255, 255]),
        with("maximum packet size 0", refused, &[0x27, 0, 0, 0, 0]),
        with("maximum packet size of all", FINE, &[0x27, 255, 255, 255, 255]),
        with("keep-alive 0", FINE, &[0x13, 0, 0]),
        with("keep-alive 1", FINE, &[0x13, 0, 1]),
        with("keep-alive 65535", FINE, &[0x13, 255, 255]),
        with("no QoS 1", refused, &[0x24, 0]),
        with("QoS 1 at most", FINE, &[0x24, 1]),
        with("QoS 255", FINE, &[0x24, 255]),
        with("no retained messages", FINE, &[0x25, 0]),
        with("topic aliases", FINE, &[0x22, 255, 255]),
        with("another client id", FINE, &[0x12, 0, 3, b'y', b'o', b'u']),
        with("a client id that is not UTF-8", unreachable, &[0x12, 0, 1, 0xff]),
        with("the same property twice", FINE, &[0x21, 0, 4, 0x21, 0, 5]),
        with("a property of another packet", unreachable, &[0x23, 0, 1]),
        with("a property there is not", unreachable, &[0x7f]),
        with("a property cut off", unreachable, &[0x27, 0, 0]),
        with("a thousand user properties", FINE, &user),
        with("more user properties than fit", unreachable, &too_many),
        with("authentication data", FINE, &[0x15, 0, 1, b'm', 0x16, 0, 2, 1, 2]),
    ]
}

/// Whoever answers with something else is no broker: all types of packets, with and without a body.
fn strangers() -> Vec<Case> {
    let mut cases = Vec::new();
    let unreachable = Expect::Ends(Fault::Unreachable);
    for protocol in BOTH {
        for kind in (0..16_u8).filter(|kind| *kind != 2) {
            for body in [&[][..], &[0, 1], &[0, 1, b't', 0, 0, 0, 0]] {
                let name = format!("type {kind} with {} bytes first", body.len());
                // Whoever begins with a huge message or an open-ended one is told by the type already.
                cases.push(instead(name, protocol, unreachable, packet(kind << 4, body)));
            }
        }
        for text in
            ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\x16\x03\x01\x02\x00", " ", "\n"]
        {
            let script = then(opened(), [Act::Say(text.as_bytes().to_vec()), Act::Close]);
            cases.push(Case::new(format!("{text:?} first"), protocol, unreachable, script));
        }
    }
    cases
}

/// Nothing, from the beginning or from somewhere in the welcome on.
fn silence() -> Vec<Case> {
    let mut cases = Vec::new();
    let limited = |mut case: Case| {
        case.within = Duration::from_secs(31);
        case
    };
    for protocol in BOTH {
        let unreachable = Expect::Ends(Fault::Unreachable);
        for (name, acts) in [
            ("hangs from the beginning", vec![Act::Hang]),
            ("reads for ever from the beginning", vec![Act::Swallow]),
            ("hangs after CONNECT", vec![Act::Hear(1), Act::Hang]),
            ("closes at once", vec![Act::Close]),
            ("closes after CONNECT", vec![Act::Hear(1), Act::Close]),
        ] {
            cases.push(limited(Case::new(name, protocol, unreachable, acts)));
        }
        let whole = welcome(protocol);
        for cut in 1..whole.len() {
            let acts = then(opened(), [Act::Say(whole[..cut].to_vec()), Act::Hang]);
            cases.push(limited(Case::new(
                format!("hangs after {cut} bytes of the welcome"),
                protocol,
                unreachable,
                acts,
            )));
        }
        let slow = then(opened(), [Act::Drip(whole.clone(), 1, Duration::from_secs(10)), Act::Serve]);
        cases.push(limited(Case::new(
            "a welcome that takes longer than the time limit",
            protocol,
            unreachable,
            slow,
        )));
    }
    cases
}
