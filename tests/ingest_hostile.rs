//! Whatever a stranger publishes is refused with a reason, costs little, and leaves the next good message unharmed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;

use fastrand::Rng;
use tidegate::clock::{EventTime, Uptime};
use tidegate::flow::{Quality, Report, SampleBatch, StreamId};
use tidegate::ingest::{
    Columns, Encoding, Ingest, IngestConfig, Limits, Message, PayloadFormat, SampleRate, Sink, StreamInput,
    TimeField, TimeUnit, TopicFilter,
};
use tidegate::tally::DropReason;

/// Refused payloads per format, hand-made ones not counted.
const REFUSED_MIN: u64 = 1_200;

/// Heap a message may take beyond what was there: the samples of the largest packet in the densest format, 16 bytes
/// for each 2, while their buffer doubles; and some more for a report's text.
const HEAP_MAX: u64 = 8 << 20;

/// Checks what arrives and counts it.
#[derive(Default)]
struct Inspect {
    items: usize,
}

impl Sink for Inspect {
    fn samples(&mut self, batch: &SampleBatch) {
        assert!(!batch.samples.is_empty());
        for sample in &batch.samples {
            assert!(sample.quality != Quality::Good || sample.value.is_finite());
            assert!(sample.signal.0 < 2);
        }
        self.items += batch.samples.len();
    }

    fn report(&mut self, report: Report) {
        assert!(report.text.expose().len() <= 64 << 10);
        self.items += 1;
    }
}

/// A format, good payloads of it with the number of items in each, and bad ones with the reason.
struct Target {
    name: &'static str,
    format: PayloadFormat,
    good: Vec<(Vec<u8>, usize)>,
    hostile: Vec<(Vec<u8>, DropReason)>,
}

fn values() -> Vec<String> {
    ["a", "m.b"].map(str::to_owned).to_vec()
}

fn time() -> TimeField {
    TimeField { name: "ts".to_owned(), unit: TimeUnit::Auto }
}

fn bytes(text: impl Into<String>) -> Vec<u8> {
    text.into().into_bytes()
}

/// What is bad for every format written in JSON.
fn hostile_json() -> Vec<(Vec<u8>, DropReason)> {
    let nested = |open: &str, count: usize| bytes(open.repeat(count));
    let keys: String = (0..100_000).map(|n| format!("\"{n}\":")).collect::<Vec<_>>().join("0,");
    vec![
        (nested("[", 250_000), DropReason::Malformed),
        (nested("{\"a\":", 50_000), DropReason::Depth),
        (nested("[{\"a\":", 40_000), DropReason::Depth),
        (bytes(format!("[{{\"a\":{}", "[".repeat(200_000))), DropReason::Depth),
        (bytes(format!("{{{keys}0}}")), DropReason::Oversize),
        (bytes(format!("{{{}\"a\":1}}", "\"a\":1,".repeat(40_000))), DropReason::Keys),
        (bytes(format!("{{{}\"a\":1}}", "\"\":{},".repeat(35_000))), DropReason::Keys),
        (b"{\"a\":\"\xe2\x82".to_vec(), DropReason::NotUtf8),
        (b"{\"a\":\"\xed\xa0\x80\"}".to_vec(), DropReason::NotUtf8),
        (b"{\"a\":\"\xc0\x80\"}".to_vec(), DropReason::NotUtf8),
        (b"\xff\xfe{\0".to_vec(), DropReason::NotUtf8),
        (bytes("{\"a\":1\0}"), DropReason::Malformed),
        (bytes("{\"a\":\"\u{1}\"}"), DropReason::Malformed),
        (bytes("{\"a\":\"\\ud8\"}"), DropReason::Malformed),
        (bytes("{\"a\":\"\\"), DropReason::Malformed),
        (bytes("{\"a\":nan}"), DropReason::Malformed),
        (bytes("{\"a\":+Infinity}"), DropReason::Malformed),
        (bytes("{\"a\":0x10}"), DropReason::Malformed),
        (bytes("{\"a\":1e}"), DropReason::Malformed),
        (bytes("{a:1}"), DropReason::Malformed),
        (bytes("{'a':1}"), DropReason::Malformed),
        (bytes("{\"ts\":1,\"a\":1,\"text\":\"x\"}//"), DropReason::Malformed),
        (bytes(" ".repeat(1000)), DropReason::Malformed),
        (bytes("null"), DropReason::Malformed),
        (vec![], DropReason::Empty),
        (vec![b' '; 300_000], DropReason::Oversize),
    ]
}

fn json_target() -> Target {
    let digits = "9".repeat(200_000);
    Target {
        name: "json",
        format: PayloadFormat::Json { values: values(), time: Some(time()) },
        good: vec![
            (bytes(r#"{"ts":"2026-11-20T03:00:00.5Z","a":1.5,"m":{"b":-2e3,"on":true},"z":["x",null]}"#), 2),
            (
                bytes(
                    r#"[{"ts":1763640000,"a":1},{"ts":1763640001.5,"m.b":2},{"a":null,"ts":"1763640002"}]"#,
                ),
                3,
            ),
            (bytes(r#"{"ts":1763640000,"a":NaN,"m":{"b":1e999}}"#), 2),
            (
                bytes(
                    format!(r#"{{"ts":1763640000,"a":{digits},"m.b":0.{digits}}}"#)
                        .replace(&digits, &digits[..90_000]),
                ),
                2,
            ),
        ],
        hostile: [
            hostile_json(),
            vec![
                (bytes(format!("{{\"ts\":{digits},\"a\":1}}")), DropReason::BadTime),
                (bytes("{\"ts\":1e308,\"a\":1}"), DropReason::BadTime),
                (bytes("{\"ts\":Infinity,\"a\":1}"), DropReason::BadTime),
                (bytes("{\"a\":1}"), DropReason::MissingField),
                (bytes("{}"), DropReason::MissingField),
                (bytes("[]"), DropReason::Empty),
            ],
        ]
        .concat(),
    }
}

fn senml_target() -> Target {
    let digits = "9".repeat(200_000);
    Target {
        name: "senml",
        format: PayloadFormat::Senml { values: values() },
        good: vec![
            (
                bytes(
                    r#"[{"bn":"urn:dev:1:","bt":1.763640000e9,"bv":10,"bu":"A","n":"a","v":1},{"n":"m.b","t":-5,"vb":true}]"#,
                ),
                2,
            ),
            (bytes(r#"[{"n":"x/a","v":NaN},{"n":"a","vs":"high","t":1},{"n":"a","v":1e999,"t":2}]"#), 3),
        ],
        hostile: [
            hostile_json(),
            vec![
                (bytes(format!(r#"[{{"n":"a","v":1,"t":{digits}}}]"#)), DropReason::BadTime),
                (bytes(r#"[{"n":"a","v":1,"bt":NaN}]"#), DropReason::BadTime),
                (bytes(r#"[{"n":"a","v":1,"bver":1e9}]"#), DropReason::Malformed),
                (bytes(r#"[{"n":"a","v":1,"x_":1}]"#), DropReason::Malformed),
                (bytes(r#"[{"n":["a"],"v":1}]"#), DropReason::Malformed),
                (bytes(format!("[{}]", vec!["{}"; 80_000].join(","))), DropReason::MissingField),
            ],
        ]
        .concat(),
    }
}

fn report_target() -> Target {
    Target {
        name: "report json",
        format: PayloadFormat::ReportJson {
            text: "text".to_owned(),
            time: Some(time()),
            id: Some("id".to_owned()),
        },
        good: vec![
            (
                bytes(
                    r#"{"text":"pump \"2\" leaks \u00e9\ud83d\ude00","ts":"2026-11-20T03:00:00Z","id":"WO-1"}"#,
                ),
                1,
            ),
            (
                bytes(r#"[{"text":"a","ts":1763640000,"id":7},{"text":"b","ts":1763640001,"x":{"text":1}}]"#),
                2,
            ),
        ],
        hostile: [
            hostile_json(),
            vec![
                (bytes(format!("{{\"ts\":1,\"text\":\"{}\"}}", "x".repeat(65_537))), DropReason::TextTooLong),
                (
                    bytes(format!("{{\"ts\":1,\"text\":\"{}\"}}", "\\u00e9".repeat(40_000))),
                    DropReason::TextTooLong,
                ),
                (bytes("{\"ts\":1,\"text\":{\"a\":\"b\"}}"), DropReason::MissingField),
                (bytes("{\"ts\":1,\"text\":\"\"}"), DropReason::Empty),
            ],
        ]
        .concat(),
    }
}

fn csv_target() -> Target {
    Target {
        name: "csv",
        format: PayloadFormat::Csv {
            values: values(),
            time: Some(time()),
            delimiter: b';',
            columns: Columns::Header,
        },
        good: vec![
            (bytes("ts;a;x;m.b\r\n2026-11-20T03:00:00Z;1.5;\"q;q\";-2e3\r\n1763640000.5;;;NaN\r\n"), 4),
            (bytes("\u{feff}\"ts\";\"a\"\n1763640000;1\n1763640001;1e999\n"), 2),
        ],
        hostile: vec![
            (bytes(";".repeat(100_000)), DropReason::Keys),
            (bytes("\n".repeat(100_000)), DropReason::Empty),
            (bytes("\"".repeat(100_001)), DropReason::Malformed),
            (bytes("ts;a\n1763640000;\"1\n"), DropReason::Malformed),
            (bytes("ts;a\n1763640000\n"), DropReason::Malformed),
            (bytes("ts;a\n1763640000;1;2\n"), DropReason::Malformed),
            (bytes(format!("ts;a\n{};1\n", "9".repeat(200_000))), DropReason::BadTime),
            (bytes("ts;a\nNaN;1\n"), DropReason::BadTime),
            (bytes("a\n1\n"), DropReason::MissingField),
            (b"ts;a\n\xff;1\n".to_vec(), DropReason::NotUtf8),
            (vec![], DropReason::Empty),
            (vec![b'\n'; 300_000], DropReason::Oversize),
        ],
    }
}

fn targets() -> Vec<Target> {
    let rate = SampleRate::new(1000.0).unwrap();
    let packed = |name, encoding, good: Vec<u8>, row: usize| Target {
        name,
        format: PayloadFormat::Packed { values: values(), encoding, rate, scale: 0.1 },
        good: vec![(good, 2)],
        hostile: (1..64)
            .filter(|length| length % row != 0)
            .map(|length| (vec![0xff; length], DropReason::Malformed))
            .chain([(vec![], DropReason::Empty), (vec![0; (256 << 10) + row], DropReason::Oversize)])
            .collect(),
    };
    let text = Target {
        name: "text",
        format: PayloadFormat::ReportText,
        good: vec![(bytes("pump 2 leaks at the seal, grüße"), 1)],
        hostile: vec![
            (bytes("x".repeat(65_537)), DropReason::TextTooLong),
            (bytes(" \t\r\n\u{a0}\u{2003}"), DropReason::Empty),
            (b"leak\xe2\x82".to_vec(), DropReason::NotUtf8),
            (b"\xf8\x88\x80\x80\x80".to_vec(), DropReason::NotUtf8),
        ],
    };
    let nmea = Target {
        name: "nmea",
        format: PayloadFormat::ReportNmea,
        good: vec![(
            bytes("$WIXDR,C,19.5,C,AIR*19\r\n!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C\r\n"),
            2,
        )],
        hostile: vec![
            (bytes("$WIXDR,C,19.5,C,AIR*21"), DropReason::Malformed),
            (bytes("$".repeat(100_000)), DropReason::Malformed),
            (bytes(format!("$WIXDR,{}", "x".repeat(65_537))), DropReason::TextTooLong),
            (bytes("\r\n"), DropReason::Empty),
        ],
    };
    let mut floats = 1.5_f32.to_le_bytes().to_vec();
    floats.extend(f32::INFINITY.to_le_bytes());
    vec![
        json_target(),
        senml_target(),
        report_target(),
        csv_target(),
        packed("f32le", Encoding::F32, floats, 8),
        packed("i16le", Encoding::I16, vec![1, 2, 3, 4], 4),
        text,
        nmea,
    ]
}

/// Changes a payload as a faulty line, a faulty program or a stranger would.
fn mutate(rng: &mut Rng, payload: &mut Vec<u8>) {
    const SPLICES: [&[u8]; 14] = [
        b"{",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b"\\u",
        b",",
        b";",
        b"NaN",
        b"\n",
        b"\0",
        b"\xff",
        b"\xe2\x82",
        b"1e999",
    ];
    let at = rng.usize(..=payload.len());
    match rng.u8(..6) {
        0 => payload.truncate(at),
        1 => payload.splice(at..at, rng.choice(SPLICES).into_iter().flatten().copied()).for_each(drop),
        2 if at < payload.len() => payload[at] ^= 1 << rng.u8(..8),
        3 if at < payload.len() => payload[at] = rng.u8(..),
        4 => {
            let to = rng.usize(at..=payload.len().min(at + 8));
            payload.drain(at..to);
        }
        _ => {
            let part = payload[at..payload.len().min(at + rng.usize(..20))].to_vec();
            payload.splice(at..at, part).for_each(drop);
        }
    }
}

struct Bench {
    ingest: Ingest,
    inspect: Inspect,
}

impl Bench {
    fn new(target: &Target) -> Self {
        let filter = TopicFilter::parse("plant/+").unwrap();
        let input = StreamInput { id: StreamId(0), filter, payload: target.format.clone() };
        let ingest = Ingest::new(IngestConfig { streams: vec![input], limits: Limits::default() });
        Self { ingest, inspect: Inspect::default() }
    }

    /// Items a payload is decoded to; the tally balances, and either they or a drop are counted.
    fn send(&mut self, payload: &[u8]) -> usize {
        let (items, dropped) = (self.inspect.items, self.ingest.tally().dropped_total());
        let message = Message {
            topic: b"plant/p",
            payload,
            received: Uptime::ZERO,
            arrival: EventTime(1_763_640_000_000_000),
        };
        let used = allocation_counter::measure(|| self.ingest.accept(&message, &mut self.inspect));
        assert!(used.bytes_max < HEAP_MAX, "{} bytes for {}", used.bytes_max, payload.len());
        assert!(self.ingest.tally().balances(0));
        let items = self.inspect.items - items;
        assert_eq!(items == 0, self.ingest.tally().dropped_total() == dropped + 1);
        items
    }
}

#[test]
fn hostile_payloads_are_refused_for_the_right_reason_and_harm_nothing() {
    for target in targets() {
        let mut bench = Bench::new(&target);
        for (payload, reason) in &target.hostile {
            let before = bench.ingest.tally().dropped(*reason);
            bench.send(payload);
            let start = String::from_utf8_lossy(&payload[..payload.len().min(60)]).into_owned();
            assert_eq!(
                bench.ingest.tally().dropped(*reason),
                before + 1,
                "{}: {reason:?} for {start}",
                target.name
            );
            for (good, items) in &target.good {
                assert_eq!(bench.send(good), *items, "{} after {start}", target.name);
            }
        }
    }
}

#[test]
fn a_thousand_damaged_payloads_per_format_are_refused_and_harm_nothing() {
    let seed = std::env::var("INGEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120);
    for target in targets() {
        let mut rng = Rng::with_seed(seed);
        let mut bench = Bench::new(&target);
        let small: Vec<_> = target.good.iter().filter(|(payload, _)| payload.len() < 1_000).collect();
        let mut sent = 0;
        while bench.ingest.tally().dropped_total() < REFUSED_MIN {
            let (good, items) = small[rng.usize(..small.len())];
            let mut payload = good.clone();
            for _ in 0..rng.u8(1..5) {
                mutate(&mut rng, &mut payload);
            }
            bench.send(&payload);
            assert_eq!(bench.send(good), *items, "INGEST_SEED={seed}: {} after {payload:?}", target.name);
            sent += 1;
            assert!(sent < 100 * REFUSED_MIN, "{}: nearly nothing is refused", target.name);
        }
        let tally = bench.ingest.tally();
        let reasons: BTreeMap<_, _> = DropReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), tally.dropped(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        eprintln!("{}: {sent} damaged, refused {reasons:?}", target.name);
    }
}
