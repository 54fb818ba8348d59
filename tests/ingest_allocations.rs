//! A sensor message costs no heap allocation once its topic and its size have been seen.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;

use tidegate::clock::{EventTime, Uptime};
use tidegate::flow::{Report, SampleBatch, StreamId};
use tidegate::ingest::{
    Columns, Encoding, Ingest, IngestConfig, Limits, Message, PayloadFormat, SampleRate, Sink, StreamInput,
    TimeField, TimeUnit, TopicFilter,
};

const NAMES: [&str; 8] = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "motor.cp", "motor.se"];

/// Counts what arrives without keeping it.
#[derive(Default)]
struct Count {
    samples: usize,
    reports: usize,
}

impl Sink for Count {
    fn samples(&mut self, batch: &SampleBatch) {
        self.samples += batch.samples.len();
    }

    fn report(&mut self, _: Report) {
        self.reports += 1;
    }
}

fn values() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

fn time() -> TimeField {
    TimeField { name: "ts".to_owned(), unit: TimeUnit::Auto }
}

/// Writes the payload of message `n`.
type PayloadOf = fn(u32) -> Vec<u8>;

/// Formats with a payload for message `n`; payloads differ in their numbers and order of keys, not in their size.
fn cases() -> Vec<(PayloadFormat, PayloadOf)> {
    let packed = |encoding| {
        let rate = SampleRate::new(10_000.0).unwrap();
        PayloadFormat::Packed { values: values(), encoding, rate, scale: 0.01 }
    };
    vec![
        (PayloadFormat::Json { values: values(), time: Some(time()) }, json_payload),
        (PayloadFormat::Json { values: values(), time: Some(time()) }, |n| {
            let row = String::from_utf8(json_payload(n)).unwrap();
            format!("[{}]", vec![row; 20].join(",")).into_bytes()
        }),
        (PayloadFormat::Senml { values: values() }, |n| {
            let mut pack = format!(r#"[{{"bn":"urn:dev:{n:06}:","bt":176364{n:04}.25,"bu":"Cel"}}"#);
            for name in NAMES {
                write!(pack, r#",{{"n":"{name}","v":{n:06}e-3}}"#).unwrap();
            }
            pack.push(']');
            pack.replace(":0", ":1").into_bytes()
        }),
        (
            PayloadFormat::Csv {
                values: values(),
                time: Some(time()),
                delimiter: b';',
                columns: Columns::Header,
            },
            |n| {
                let header = format!("ts;{}\n", NAMES.join(";"));
                let row = format!("2026-11-20T03:00:00.{n:06}Z;1;2;;4;{n:05};NaN;7;8\r\n");
                (header + &row.repeat(30)).into_bytes()
            },
        ),
        (packed(Encoding::F32), |n| (n as f32).to_le_bytes().repeat(8 * 256)),
        (packed(Encoding::I16), |n| [n.to_le_bytes()[0], 1].repeat(8 * 256)),
    ]
}

fn json_payload(n: u32) -> Vec<u8> {
    format!(
        r#"{{"ts":"2026-11-20T03:00:00.{n:06}Z","unit":"bar","ts1":{n},"ts2":-3.25,"t\u00733":NaN,"ts4":null,"vs1":0.61,"ce":47.2,"motor":{{"state":{{"on":true}},"cp":2.1e0,"se":66.1}}}}"#
    )
    .into_bytes()
}

#[test]
fn a_sensor_message_allocates_nothing_in_steady_state() {
    for (format, payload) in cases() {
        let filter = TopicFilter::parse("plant/+/telemetry").unwrap();
        let input = StreamInput { id: StreamId(0), filter, payload: format };
        let mut ingest = Ingest::new(IngestConfig { streams: vec![input], limits: Limits::default() });
        let mut sink = Count::default();
        let mut send = |n: u32, payload: &[u8]| {
            let topic =
                if n.is_multiple_of(2) { b"plant/pump-1/telemetry" } else { b"plant/pump-2/telemetry" };
            let arrival = EventTime(1_763_640_000_000_000 + i64::from(n));
            let message = Message { topic, payload, received: Uptime(u64::from(n)), arrival };
            ingest.accept(&message, &mut sink);
            assert_eq!(u64::from(n) + 1, ingest.tally().passed, "{}", String::from_utf8_lossy(payload));
        };
        // Four messages: both sources, and both of the buffers that change places.
        for n in 0..4 {
            send(n, &payload(n));
        }
        for n in 4..100 {
            let payload = payload(n);
            let used = allocation_counter::measure(|| send(n, &payload));
            assert_eq!(used.count_total, 0, "message {n}: {}", String::from_utf8_lossy(&payload));
        }
        assert!(sink.samples >= 100 * 8);
        assert_eq!(sink.reports, 0);
    }
}

#[test]
fn a_refused_message_allocates_nothing_either() {
    let filter = TopicFilter::parse("plant/+").unwrap();
    let format = PayloadFormat::Json { values: values(), time: Some(time()) };
    let input = StreamInput { id: StreamId(0), filter, payload: format };
    let limits = Limits { series: 2, ..Limits::default() };
    let mut ingest = Ingest::new(IngestConfig { streams: vec![input], limits });
    let mut sink = Count::default();
    let good = json_payload(1);
    let bad: [(&[u8], &[u8]); 8] = [
        (b"plant/a", b"{\"ts1\":"),
        (b"plant/a", b"\xff"),
        (b"plant/a", b"[[[[[[[[["),
        (b"plant/a", b"{\"ts1\":1}"),
        (b"plant/a", b"{\"ts1\":1,\"ts\":1e99}"),
        (b"plant/c", b"{}"),
        (b"elsewhere", b"{}"),
        (b"plant/\xff", b"{}"),
    ];
    let mut send = |topic, payload| {
        ingest.accept(&Message { topic, payload, received: Uptime::ZERO, arrival: EventTime(0) }, &mut sink);
    };
    send(b"plant/a", &good);
    send(b"plant/b", &good);
    for (topic, payload) in bad {
        send(topic, payload);
    }
    let used = allocation_counter::measure(|| {
        for (topic, payload) in bad {
            send(topic, payload);
        }
    });
    assert_eq!(used.count_total, 0);
    assert_eq!((ingest.tally().passed, ingest.tally().dropped_total()), (2, 16));
}
