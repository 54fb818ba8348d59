//! One decoder per stream, whatever its format.

use crate::flow::{Report, Sample};
use crate::ingest::PayloadFormat;
use crate::ingest::decode::csv::CsvDecoder;
use crate::ingest::decode::envelope::Envelope;
use crate::ingest::decode::json::JsonDecoder;
use crate::ingest::decode::packed::PackedDecoder;
use crate::ingest::decode::report::ReportDecoder;
use crate::ingest::decode::senml::SenmlDecoder;
use crate::ingest::decode::{nmea, report};
use crate::tally::DropReason;

/// Decodes the payloads of one stream.
pub(crate) enum Decoder {
    Json(JsonDecoder),
    Senml(SenmlDecoder),
    Csv(CsvDecoder),
    Packed(PackedDecoder),
    ReportJson(ReportDecoder),
    ReportText,
    ReportNmea,
}

/// What a message is decoded to. Only complete when the decoder has returned without a reason.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) samples: Vec<Sample>,
    pub(crate) reports: Vec<Report>,
}

impl Decoder {
    pub(crate) fn new(format: &PayloadFormat) -> Self {
        match format {
            PayloadFormat::Json { values, time } => Self::Json(JsonDecoder::new(values, time.as_ref())),
            PayloadFormat::Senml { values } => Self::Senml(SenmlDecoder::new(values)),
            PayloadFormat::Csv { values, time, delimiter, columns } => {
                Self::Csv(CsvDecoder::new(values, time.as_ref(), *delimiter, columns))
            }
            PayloadFormat::Packed { values, encoding, rate, scale } => {
                Self::Packed(PackedDecoder::new(values, *encoding, *rate, *scale))
            }
            PayloadFormat::ReportJson { text, time, id } => {
                Self::ReportJson(ReportDecoder::new(text, time.as_ref(), id.as_deref()))
            }
            PayloadFormat::ReportText => Self::ReportText,
            PayloadFormat::ReportNmea => Self::ReportNmea,
        }
    }

    /// Decodes a payload into an empty output, whole or not at all.
    pub(crate) fn decode(
        &mut self,
        payload: &[u8],
        envelope: &Envelope<'_>,
        output: &mut Output,
    ) -> Result<(), DropReason> {
        if payload.is_empty() {
            return Err(DropReason::Empty);
        }
        if u64::try_from(payload.len()).is_ok_and(|bytes| bytes > envelope.limits.packet.0) {
            return Err(DropReason::Oversize);
        }
        let (arrival, limits, samples) = (envelope.arrival, envelope.limits, &mut output.samples);
        match self {
            Self::Json(json) => json.decode(text(payload)?, arrival, limits, samples)?,
            Self::Senml(senml) => senml.decode(text(payload)?, arrival, limits, samples)?,
            Self::Csv(csv) => csv.decode(text(payload)?, arrival, limits, samples)?,
            Self::Packed(packed) => packed.decode(payload, arrival, samples)?,
            Self::ReportJson(json) => json.decode(text(payload)?, envelope, &mut output.reports)?,
            Self::ReportText => {
                let text = report::checked(envelope)(text(payload)?)?;
                output.reports.push(envelope.report(text));
            }
            Self::ReportNmea => nmea::decode(text(payload)?, envelope, &mut output.reports)?,
        }
        if output.samples.is_empty() && output.reports.is_empty() { Err(DropReason::Empty) } else { Ok(()) }
    }
}

/// The payload as text, without the byte order mark that Windows programs put before it.
fn text(payload: &[u8]) -> Result<&str, DropReason> {
    let text = std::str::from_utf8(payload).map_err(|_| DropReason::NotUtf8)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
