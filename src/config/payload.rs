//! `payload = { format = … }`: how the payloads of a stream are written.

use crate::config::section::Section;
use crate::flow::StreamKind;
use crate::ingest::{Columns, Encoding, PayloadFormat, SampleRate, TimeField, TimeUnit};

/// Channels of one stream: a `SignalId` is 16 bits and each channel has buffers; no machine has more.
const CHANNELS_MAX: usize = 1_024;

const SENSOR_FORMATS: &str = "json | senml | csv | f32le | i16le";
const REPORT_FORMATS: &str = "json | text | nmea";

pub(in crate::config) fn read_payload(section: Section<'_>, kind: StreamKind) -> PayloadFormat {
    let payload = match kind {
        StreamKind::Sensor => read_sensor(&section),
        StreamKind::Report => read_report(&section),
    };
    section.finish();
    payload
}

fn read_sensor(section: &Section<'_>) -> PayloadFormat {
    let format = section.required("format", SENSOR_FORMATS).unwrap_or("json");
    let values = read_values(section);
    match format {
        "json" => PayloadFormat::Json { values, time: read_time(section) },
        "senml" => PayloadFormat::Senml { values },
        "csv" => {
            let delimiter = section.text("delimiter").unwrap_or(",");
            if delimiter.len() != 1 {
                section.fault("delimiter", format!("{delimiter:?}"), "one ASCII character");
            }
            let header = section.flag("header", false);
            let columns = section.texts("columns");
            PayloadFormat::Csv {
                values,
                time: read_time(section),
                delimiter: delimiter.bytes().next().unwrap_or(b','),
                columns: if header { Columns::Header } else { Columns::Fixed(columns) },
            }
        }
        "f32le" => read_packed(section, values, Encoding::F32),
        "i16le" => read_packed(section, values, Encoding::I16),
        other => {
            section.fault("format", format!("{other:?}"), SENSOR_FORMATS);
            PayloadFormat::Json { values, time: read_time(section) }
        }
    }
}

fn read_packed(section: &Section<'_>, values: Vec<String>, encoding: Encoding) -> PayloadFormat {
    let allowed = "samples per second and channel, from 1/3600 to 1000000";
    if !section.has("rate") {
        section.fault("rate", "missing", allowed);
    }
    let hertz = section.number("rate", 1.0 / 3600.0..=1e6).unwrap_or(1.0);
    let rate = SampleRate::new(hertz).or_else(|| SampleRate::new(1.0));
    #[expect(clippy::cast_possible_truncation, reason = "values are single precision")]
    let scale = section.number("scale", -1e9..=1e9).unwrap_or(1.0) as f32;
    match rate {
        Some(rate) => PayloadFormat::Packed { values, encoding, rate, scale },
        None => PayloadFormat::Senml { values },
    }
}

fn read_report(section: &Section<'_>) -> PayloadFormat {
    match section.required("format", REPORT_FORMATS).unwrap_or("text") {
        "json" => PayloadFormat::ReportJson {
            text: section.required("text", "the key of the text").unwrap_or("text").to_owned(),
            time: read_time(section),
            id: section.text("id").map(str::to_owned),
        },
        "text" => PayloadFormat::ReportText,
        "nmea" => PayloadFormat::ReportNmea,
        other => {
            section.fault("format", format!("{other:?}"), REPORT_FORMATS);
            PayloadFormat::ReportText
        }
    }
}

fn read_values(section: &Section<'_>) -> Vec<String> {
    let values = section.texts("values");
    if values.is_empty() || values.len() > CHANNELS_MAX {
        section.fault(
            "values",
            format!("{} names", values.len()),
            format!("1 to {CHANNELS_MAX} names of channels"),
        );
    }
    for (index, value) in values.iter().enumerate() {
        if values.iter().take(index).any(|other| other == value) || value.is_empty() {
            section.fault("values", format!("{value:?} is empty or stands there twice"), "names that differ");
        }
    }
    values
}

fn read_time(section: &Section<'_>) -> Option<TimeField> {
    let units = [
        ("auto", TimeUnit::Auto),
        ("s", TimeUnit::Seconds),
        ("ms", TimeUnit::Millis),
        ("us", TimeUnit::Micros),
        ("ns", TimeUnit::Nanos),
    ];
    let unit = section.word("time_unit", &units, TimeUnit::Auto);
    section.text("time").map(|name| TimeField { name: name.to_owned(), unit })
}
