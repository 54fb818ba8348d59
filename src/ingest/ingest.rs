//! The stage: messages in, batches of samples and reports out, everything else counted.

use crate::clock::{EventTime, Uptime};
use crate::flow::{AssetId, Report, SampleBatch, StreamId};
use crate::ingest::decode::{Decoder, Envelope, Output};
use crate::ingest::route::{Router, Target};
use crate::ingest::{IngestConfig, Limits};
use crate::tally::{DropReason, Tally};

/// One message of the plant as it came from the broker.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Topic name.
    pub topic: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// When it arrived, in monotonic time.
    pub received: Uptime,
    /// When it arrived by the wall clock: the event time of samples that have none.
    pub arrival: EventTime,
}

/// Takes what a message is decoded to.
pub trait Sink {
    /// The samples of one message for one stream. The batch is reused: copy what is kept.
    fn samples(&mut self, batch: &SampleBatch);
    /// A report.
    fn report(&mut self, report: Report);
}

/// Decodes the messages of a plant.
pub struct Ingest {
    streams: Vec<Stream>,
    router: Router,
    limits: Limits,
    tally: Tally,
    batch: SampleBatch,
    output: Output,
}

struct Stream {
    id: StreamId,
    decoder: Decoder,
    tally: Tally,
}

impl Ingest {
    /// Prepares a decoder for each stream.
    pub fn new(config: IngestConfig) -> Self {
        let IngestConfig { streams, limits } = config;
        let decoders = streams.iter().map(|input| Stream {
            id: input.id,
            decoder: Decoder::new(&input.payload),
            tally: Tally::new(),
        });
        Self {
            streams: decoders.collect(),
            router: Router::new(streams.into_iter().map(|input| input.filter).collect(), limits),
            limits,
            tally: Tally::new(),
            batch: SampleBatch {
                stream: StreamId(0),
                asset: AssetId(0),
                received: Uptime::ZERO,
                samples: Vec::new(),
            },
            output: Output::default(),
        }
    }

    /// Decodes a message for every stream whose filter matches. Each of them counts it once: as passed, if all of it
    /// was decoded, or as dropped; a message that no stream wants is counted once.
    pub fn accept(&mut self, message: &Message<'_>, sink: &mut impl Sink) {
        let targets = match self.router.route(message.topic) {
            Ok(targets) => targets,
            Err(reason) => {
                count(&mut self.tally, Err(reason));
                return;
            }
        };
        for target in targets {
            let Some(stream) = self.streams.get_mut(target.stream) else { continue };
            let outcome = decode(stream, *target, message, &self.limits, &mut self.output);
            if outcome.is_ok() {
                let asset = target.asset.unwrap_or_default();
                deliver(&mut self.output, &mut self.batch, (stream.id, asset, message.received), sink);
            }
            count(&mut stream.tally, outcome);
            count(&mut self.tally, outcome);
        }
    }

    /// Messages of all streams, and those that no stream wanted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Messages of one stream; all zero for a stream that does not exist.
    pub fn stream_tally(&self, stream: StreamId) -> &Tally {
        static NONE: Tally = Tally::new();
        self.streams.iter().find(|candidate| candidate.id == stream).map_or(&NONE, |found| &found.tally)
    }

    /// Filters to subscribe to: each once, those left out that a wider one covers.
    pub fn subscriptions(&self) -> Vec<String> {
        self.router.subscriptions()
    }

    /// What the wildcards matched for a source, joined by `/`; empty without wildcards. Stays in the plant.
    pub fn asset_name(&self, asset: AssetId) -> &str {
        self.router.asset_name(asset)
    }

    /// Distinct sources of all streams. At most the configured limit.
    pub fn series_count(&self) -> usize {
        self.router.series_count()
    }
}

fn decode(
    stream: &mut Stream,
    target: Target,
    message: &Message<'_>,
    limits: &Limits,
    output: &mut Output,
) -> Result<(), DropReason> {
    let asset = target.asset.ok_or(DropReason::SeriesLimit)?;
    output.samples.clear();
    output.reports.clear();
    let envelope =
        Envelope { stream: stream.id, asset, received: message.received, arrival: message.arrival, limits };
    stream.decoder.decode(message.payload, &envelope, output)
}

fn deliver(
    output: &mut Output,
    batch: &mut SampleBatch,
    (stream, asset, received): (StreamId, AssetId, Uptime),
    sink: &mut impl Sink,
) {
    if !output.samples.is_empty() {
        (batch.stream, batch.asset, batch.received) = (stream, asset, received);
        std::mem::swap(&mut batch.samples, &mut output.samples);
        sink.samples(batch);
        std::mem::swap(&mut batch.samples, &mut output.samples);
    }
    for report in output.reports.drain(..) {
        sink.report(report);
    }
}

fn count(tally: &mut Tally, outcome: Result<(), DropReason>) {
    tally.received += 1;
    match outcome {
        Ok(()) => tally.passed += 1,
        Err(reason) => tally.drop(reason, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Quality;
    use crate::ingest::{
        Columns, Encoding, PayloadFormat, SampleRate, StreamInput, TimeField, TimeUnit, TopicFilter,
    };
    use crate::units::Bytes;

    /// 2025-11-20T12:00:00Z.
    const ARRIVAL: EventTime = EventTime(1_763_640_000_000_000);

    /// Writes down what arrives: `channel=value@µs after arrival`, or the fields of a report.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Sink for Notes {
        fn samples(&mut self, batch: &SampleBatch) {
            self.0.extend(batch.samples.iter().map(|sample| {
                let after = sample.at.micros_since(ARRIVAL);
                let at = if after == 0 { String::new() } else { format!("@{after:+}") };
                match sample.quality {
                    Quality::Good => format!("{}={}{at}", sample.signal.0, sample.value),
                    Quality::Bad(why) => format!("{}:{why:?}{at}", sample.signal.0),
                }
            }));
        }

        fn report(&mut self, report: Report) {
            let part = |part: &Option<crate::flow::Private>| {
                part.as_ref().map_or_else(|| "-".to_owned(), |text| text.expose().to_owned())
            };
            let after = report.at.micros_since(ARRIVAL);
            let (reference, class) = (part(&report.reference), part(&report.class));
            self.0.push(format!("{reference}|{class}|{}@{after:+}", report.text.expose()));
        }
    }

    fn ingest(format: PayloadFormat) -> Ingest {
        let filter = TopicFilter::parse("plant/+/x").unwrap();
        let streams = vec![StreamInput { id: StreamId(7), filter, payload: format }];
        Ingest::new(IngestConfig { streams, limits: Limits::default() })
    }

    fn send(ingest: &mut Ingest, topic: &str, payload: &[u8]) -> Notes {
        let mut notes = Notes::default();
        let message = Message { topic: topic.as_bytes(), payload, received: Uptime::ZERO, arrival: ARRIVAL };
        ingest.accept(&message, &mut notes);
        assert!(ingest.tally().balances(0));
        notes
    }

    /// What a payload is decoded to, or the word of the reason.
    fn check(format: &PayloadFormat, payload: impl AsRef<[u8]>, expect: &str) {
        let mut ingest = ingest(format.clone());
        let notes = send(&mut ingest, "plant/a/x", payload.as_ref());
        let reason = DropReason::ALL.iter().find(|reason| ingest.tally().dropped(**reason) == 1);
        let found = reason.map_or_else(|| notes.0.join(" "), |reason| reason.as_str().to_owned());
        assert_eq!(found, expect, "{}", String::from_utf8_lossy(payload.as_ref()));
        assert_eq!(reason.is_some(), notes.0.is_empty());
        assert_eq!(ingest.stream_tally(StreamId(7)), ingest.tally());
        assert_eq!(ingest.tally().received, 1);
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn time(name: &str) -> TimeField {
        TimeField { name: name.to_owned(), unit: TimeUnit::Auto }
    }

    #[test]
    fn json_objects_become_rows() {
        let plain = PayloadFormat::Json { values: names(&["a", "b", "m.c", "m.d.e"]), time: None };
        for (payload, expect) in [
            (r#"{"a":1,"b":-2.5e1}"#, "0=1 1=-25"),
            ("\u{feff} {\"a\" : 1 }\r\n", "0=1"),
            (r#"[{"a":1},{"b":2}]"#, "0=1 1=2"),
            (r#"{"a":1,"z":[1,{"a":9,"b":[{"a":8}]}],"m":{"a":7,"c":3,"d":{"e":4,"a":6}}}"#, "0=1 2=3 3=4"),
            (r#"{"m.c":3,"m.d.e":4}"#, "2=3 3=4"),
            (r#"{"a":null,"b":"12"}"#, "0:Missing 1:Missing"),
            (r#"{"a":{"x":1},"b":[2]}"#, "0:Missing 1:Missing"),
            (r#"{"a":true,"b":false}"#, "0=1 1=0"),
            (
                r#"{"a":NaN,"b":-Infinity,"m":{"c":1e999,"d":{"e":1e39}}}"#,
                "0:NonFinite 1:NonFinite 2:NonFinite 3:NonFinite",
            ),
            (r#"{"a":"nan","b":"-Inf"}"#, "0:NonFinite 1:NonFinite"),
            (r#"{"a":1,"b":2,"a":3}"#, "0=3 1=2"),
            (r#"{"\u0061":1,"\u0000":2}"#, "0=1"),
            (r#"{"z":1}"#, "missing-field"),
            (r#"[{"a":1},{}]"#, "missing-field"),
            ("[]", "empty"),
            ("", "empty"),
            ("  ", "malformed"),
            ("1", "malformed"),
            (r#"[{"a":1},2]"#, "malformed"),
            (r#"{"a":1}{"a":2}"#, "malformed"),
            (r#"{"a":1,}"#, "malformed"),
            (r#"{"a":01}"#, "malformed"),
            (r#"{"a":1"#, "malformed"),
        ] {
            check(&plain, payload, expect);
        }
    }

    #[test]
    fn json_times_are_the_rows_own() {
        let timed = PayloadFormat::Json { values: names(&["a"]), time: Some(time("m.ts")) };
        for (payload, expect) in [
            (r#"{"a":1,"m":{"ts":"2025-11-20T12:00:01Z"}}"#, "0=1@+1000000"),
            (r#"{"m":{"ts":1763639999.5},"a":1}"#, "0=1@-500000"),
            (r#"[{"a":1,"m.ts":1763640000001},{"a":2,"m.ts":"1763640000002"}]"#, "0=1@+1000 0=2@+2000"),
            (r#"{"a":1,"m.ts":"2025-11-20T12:00:01\u005a"}"#, "0=1@+1000000"),
            (r#"{"a":1}"#, "missing-field"),
            (r#"[{"a":1,"m.ts":1763640000001},{"a":2}]"#, "missing-field"),
            (r#"{"a":1,"m.ts":null}"#, "bad-time"),
            (r#"{"a":1,"m.ts":"yesterday"}"#, "bad-time"),
            (r#"{"a":1,"m.ts":1e300}"#, "bad-time"),
            (r#"{"a":1,"m.ts":NaN}"#, "bad-time"),
            (r#"{"a":1,"m.ts":{"s":1}}"#, "bad-time"),
        ] {
            check(&timed, payload, expect);
        }
    }

    #[test]
    fn senml_packs_are_resolved_as_the_rfc_says() {
        let senml = PayloadFormat::Senml { values: names(&["voltage", "current", "urn:dev:x:on"]) };
        for (payload, expect) in [
            (r#"[{"n":"urn:dev:ow:10e2073a01080063:voltage","u":"V","v":23.1}]"#, "0=23.1"),
            (
                r#"[{"bn":"urn:dev:ow:1:","bt":1763640010,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
                    {"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]"#,
                "0=120.1@+10000000 1=1.2@+5000000 1=1.3@+6000000",
            ),
            (r#"[{"bn":"a/","bv":100,"n":"voltage","v":1,"t":-0.25}]"#, "0=101@-250000"),
            (r#"[{"bn":"urn:dev:x:"},{"n":"on","vb":true},{"n":"current","vs":"high"}]"#, "2=1 1:Missing"),
            (r#"[{"n":"voltage","v":1},{"n":"voltage","v":2,"t":1}]"#, "0=1 0=2@+1000000"),
            (r#"[{"v":1,"n":"voltage"},{"n":"voltage","v":NaN}]"#, "0=1 0:NonFinite"),
            (r#"[{"bn":"voltage","v":1e39}]"#, "0:NonFinite"),
            (r#"[{"n":"other","v":1}]"#, "missing-field"),
            (r#"[{"bn":"voltage"}]"#, "missing-field"),
            (r#"[{"n":"voltage","v":1,"bver":11}]"#, "malformed"),
            (r#"[{"n":"voltage","v":1,"new_":1}]"#, "malformed"),
            (r#"[{"n":1,"v":1}]"#, "malformed"),
            (r#"[{"n":"voltage","v":1,"t":"now"}]"#, "bad-time"),
            (r#"[{"n":"voltage","v":1,"bt":1e300}]"#, "bad-time"),
            (r#"[{"n":"voltage","v":1,"new":{"x_":1}}]"#, "0=1"),
            ("[]", "missing-field"),
        ] {
            check(&senml, payload, expect);
        }
    }

    #[test]
    fn base_fields_of_a_pack_do_not_reach_the_next() {
        let mut ingest = ingest(PayloadFormat::Senml { values: names(&["a", "x:a"]) });
        let mut send = |payload: &str| send(&mut ingest, "plant/a/x", payload.as_bytes()).0.join(" ");
        assert_eq!(send(r#"[{"bn":"x:","bt":-1,"bv":10,"n":"a","v":1}]"#), "1=11@-1000000");
        assert_eq!(send(r#"[{"n":"a","v":1}]"#), "0=1");
        assert_eq!(send(r#"[{"n":"x:a","t":-1,"v":1"#), "");
        assert_eq!(send(r#"[{"bn":"a"},{"v":1},{"bv":1}]"#), "0=1");
    }

    #[test]
    fn csv_lines_become_rows() {
        let csv = |time, delimiter, columns| PayloadFormat::Csv {
            values: names(&["a", "b"]),
            time,
            delimiter,
            columns,
        };
        let header = csv(Some(time("ts")), b';', Columns::Header);
        for (payload, expect) in [
            (
                "ts;b;x;a\r\n1763640000001;2;;1\r\n\r\n2025-11-20T12:00:01Z;4;\"p;q\";\"3\"",
                "1=2@+1000 0=1@+1000 1=4@+1000000 0=3@+1000000",
            ),
            ("\u{feff}\"ts\";\"a\"\n1763640000001; -1.5 \n", "0=-1.5@+1000"),
            ("ts;a;b\n1763640000001;;NaN\n", "0:Missing@+1000 1:NonFinite@+1000"),
            ("ts;a\n1763640000001;high\n", "0:Missing@+1000"),
            ("ts;x;a\n1763640000001;\"q\"\";\"\"\";1\n", "0=1@+1000"),
            ("ts;a\n", "empty"),
            ("\n\n", "empty"),
            ("a;b\n1;2\n", "missing-field"),
            ("ts;x\n1763640000001;2\n", "missing-field"),
            ("ts;a\n1763640000001\n", "malformed"),
            ("ts;a\n1763640000001;1;2\n", "malformed"),
            ("ts;a\n1763640000001;\"1\n", "malformed"),
            ("ts;a\n1763640000001;\"1\"2\n", "malformed"),
            ("ts;a\n;1\n", "bad-time"),
        ] {
            check(&header, payload, expect);
        }
        check(
            &csv(Some(time("t")), b',', Columns::Fixed(vec![])),
            "1763640000001,1,2",
            "0=1@+1000 1=2@+1000",
        );
        check(&csv(None, b'\t', Columns::Fixed(names(&["x", "b"]))), "1\t2", "1=2");
        check(&csv(None, b',', Columns::Fixed(vec![])), "1,2\n3,4", "0=1 1=2 0=3 1=4");
        check(&csv(None, b',', Columns::Header), format!("{}a\n", ",".repeat(1024)), "keys");
    }

    #[test]
    fn packed_blocks_end_at_their_arrival() {
        let packed = |encoding, scale| {
            let rate = SampleRate::new(1000.0).unwrap();
            PayloadFormat::Packed { values: names(&["x", "y"]), encoding, rate, scale }
        };
        let counts: Vec<u8> = [1_i16, -2, 3, i16::MIN].iter().flat_map(|count| count.to_le_bytes()).collect();
        check(&packed(Encoding::I16, 0.5), &counts, "0=0.5@-1000 1=-1@-1000 0=1.5 1=-16384");
        let numbers: Vec<u8> = [1.5_f32, f32::NAN].iter().flat_map(|number| number.to_le_bytes()).collect();
        check(&packed(Encoding::F32, 2.0), &numbers, "0=3 1:NonFinite");
        check(&packed(Encoding::F32, f32::MAX), &numbers, "0:NonFinite 1:NonFinite");
        check(&packed(Encoding::I16, 1.0), &counts[..7], "malformed");
        check(&packed(Encoding::F32, 1.0), &counts[..4], "malformed");
        check(&packed(Encoding::F32, 1.0), [], "empty");
    }

    #[test]
    fn reports_keep_text_time_reference_and_class() {
        let json = PayloadFormat::ReportJson {
            text: "r.text".to_owned(),
            time: Some(time("ts")),
            id: Some("id".to_owned()),
        };
        let at = r#""ts":1763640000001"#;
        for (payload, expect) in [
            (
                format!(r#"{{{at},"r":{{"text":"pump \"2\"\nleaks \ud83d\ude00"}},"id":"WO-1"}}"#),
                "WO-1|-|pump \"2\"\nleaks 😀@+1000",
            ),
            (
                format!(r#"[{{{at},"r.text":"a","id":17}},{{{at},"r.text":"b","":"x"}}]"#),
                "17|-|a@+1000 -|-|b@+1000",
            ),
            (
                format!(r#"{{{at},"r.text":"half \ud83d, low \ude00"}}"#),
                "-|-|half \u{fffd}, low \u{fffd}@+1000",
            ),
            (format!(r#"{{{at},"r.text":" \n"}}"#), "empty"),
            (format!(r#"{{{at},"r.text":"{}"}}"#, "x".repeat(65_537)), "text-too-long"),
            (format!(r#"{{{at},"r.text":"a","id":"{}"}}"#, "x".repeat(257)), "text-too-long"),
            (format!(r#"{{{at},"r.text":null}}"#), "missing-field"),
            (format!(r#"[{{{at},"r.text":"a"}},{{{at}}}]"#), "missing-field"),
            (r#"{"r.text":"a"}"#.to_owned(), "missing-field"),
            (r#"{"r.text":"a","ts":""}"#.to_owned(), "bad-time"),
        ] {
            check(&json, payload, expect);
        }
        let text = PayloadFormat::ReportText;
        check(&text, "pump leaks", "-|-|pump leaks@+0");
        check(&text, b"pump \xff", "not-utf8");
        check(&text, " \t", "empty");
        check(&text, "x".repeat(65_537), "text-too-long");
        let nmea = PayloadFormat::ReportNmea;
        check(&nmea, "$WIXDR,C,19.5,C,AIR\r\n!AIVDM,1\r\n", "-|XDR|$WIXDR,C,19.5,C,AIR@+0 -|VDM|!AIVDM,1@+0");
        check(&nmea, "$WIXDR,C\r\nhello", "malformed");
        check(&nmea, "\r\n", "empty");
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let json = PayloadFormat::Json { values: names(&["a"]), time: None };
        let nested = |depth: usize| format!(r#"{{"a":1,"z":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        check(&json, nested(31), "0=1");
        check(&json, nested(32), "depth");
        check(&json, "[".repeat(200_000), "malformed");
        check(&json, r#"{"a":"#.repeat(50_000), "depth");
        let keyed = |count: usize| format!(r#"{{"a":1{}}}"#, r#","k":1"#.repeat(count - 1));
        check(&json, keyed(1024), "0=1");
        check(&json, keyed(1025), "keys");
        let many = vec![keyed(1024); 2].join(",");
        check(&json, format!("[{many}]"), "0=1 0=1");
        let padded = |bytes: usize| format!("{{\"a\":1{}}}", " ".repeat(bytes - 7));
        check(&json, padded(256 << 10), "0=1");
        check(&json, padded((256 << 10) + 1), "oversize");
        check(&json, b"{\"a\":1,\"\xff\":2}", "not-utf8");
        check(&json, b"{\"a\":1,\"\xe2\x82", "not-utf8");
    }

    #[test]
    fn every_matching_stream_decodes_and_counts_a_message() {
        let input = |id, filter: &str, value: &str| StreamInput {
            id: StreamId(id),
            filter: TopicFilter::parse(filter).unwrap(),
            payload: PayloadFormat::Json { values: names(&[value]), time: None },
        };
        let streams = vec![input(0, "plant/#", "a"), input(1, "plant/+/x", "b")];
        let limits = Limits { series: 3, packet: Bytes(100), ..Limits::default() };
        let mut ingest = Ingest::new(IngestConfig { streams, limits });
        assert_eq!(ingest.subscriptions(), ["plant/#"]);
        assert_eq!(send(&mut ingest, "plant/p1/x", br#"{"a":1,"b":2}"#).0, ["0=1", "0=2"]);
        assert_eq!(send(&mut ingest, "plant/p1/x", br#"{"a":1}"#).0, ["0=1"]);
        assert_eq!(send(&mut ingest, "plant/p2/x", br#"{"a":1,"b":2}"#).0, ["0=1"]);
        assert!(send(&mut ingest, "other", b"{}").0.is_empty());
        assert!(send(&mut ingest, "", b"{}").0.is_empty());
        let tally = ingest.tally();
        assert_eq!((tally.received, tally.passed), (8, 4));
        for reason in
            [DropReason::MissingField, DropReason::SeriesLimit, DropReason::NoStream, DropReason::Topic]
        {
            assert_eq!(tally.dropped(reason), 1, "{reason:?}");
        }
        assert_eq!(ingest.stream_tally(StreamId(0)).passed, 3);
        assert_eq!(ingest.stream_tally(StreamId(1)).received, 3);
        assert_eq!(ingest.stream_tally(StreamId(9)), &Tally::new());
        assert_eq!(ingest.series_count(), 3);
    }
}
