//! Reports as JSON: one object, or an array of objects, with the text in one of its fields.

use crate::clock::EventTime;
use crate::flow::{Private, Report};
use crate::ingest::decode::envelope::Envelope;
use crate::ingest::decode::fields::{Fields, Row, Walk};
use crate::ingest::decode::json;
use crate::ingest::decode::scan::{Scalar, Scanner};
use crate::ingest::{TimeField, TimeUnit};
use crate::tally::DropReason;

/// Bytes of the plant's own number of a report. They number, they do not tell.
const REFERENCE_BYTES_MAX: usize = 256;

/// Reads the reports of one stream.
pub(crate) struct ReportDecoder {
    fields: Fields,
    /// What each field is for.
    roles: Vec<Role>,
    walk: Walk,
    scratch: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Text,
    Reference,
    Time(TimeUnit),
}

struct ReportRow<'a> {
    envelope: &'a Envelope<'a>,
    roles: &'a [Role],
    text: Option<Private>,
    reference: Option<Private>,
    time: Option<EventTime>,
    reports: &'a mut Vec<Report>,
    scratch: &'a mut String,
}

impl ReportDecoder {
    pub(crate) fn new(text: &str, time: Option<&TimeField>, id: Option<&str>) -> Self {
        let fields = [
            Some((text, Role::Text)),
            id.map(|id| (id, Role::Reference)),
            time.map(|time| (time.name.as_str(), Role::Time(time.unit))),
        ];
        let fields = fields.into_iter().flatten();
        Self {
            fields: Fields::new(fields.clone().map(|(name, _)| name)),
            roles: fields.map(|(_, role)| role).collect(),
            walk: Walk::default(),
            scratch: String::new(),
        }
    }

    pub(crate) fn decode(
        &mut self,
        text: &str,
        envelope: &Envelope<'_>,
        reports: &mut Vec<Report>,
    ) -> Result<(), DropReason> {
        let mut row = ReportRow {
            envelope,
            roles: &self.roles,
            text: None,
            reference: None,
            time: None,
            reports,
            scratch: &mut self.scratch,
        };
        self.fields.walk(&mut Scanner::new(text, envelope.limits), &mut self.walk, &mut row)
    }
}

impl Row for ReportRow<'_> {
    fn field(&mut self, field: u16, value: Option<Scalar<'_>>) -> Result<(), DropReason> {
        match self.roles.get(usize::from(field)) {
            Some(Role::Text) => {
                self.text = words(value, self.scratch).map(checked(self.envelope)).transpose()?;
            }
            Some(Role::Reference) => {
                let reference = words(value, self.scratch).filter(|reference| !reference.is_empty());
                if reference.is_some_and(|reference| reference.len() > REFERENCE_BYTES_MAX) {
                    return Err(DropReason::TextTooLong);
                }
                self.reference = reference.map(|reference| Private::new(reference.to_owned()));
            }
            Some(Role::Time(unit)) => self.time = Some(json::time_of(value, *unit, self.scratch)?),
            None => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), DropReason> {
        let timed = self.roles.iter().any(|role| matches!(role, Role::Time(_)));
        let at = match self.time.take() {
            None if timed => return Err(DropReason::MissingField),
            time => time.unwrap_or(self.envelope.arrival),
        };
        let text = self.text.take().ok_or(DropReason::MissingField)?;
        let mut report = self.envelope.report(text);
        report.at = at;
        report.reference = self.reference.take();
        self.reports.push(report);
        Ok(())
    }
}

/// A text within the limit that is not blank.
pub(crate) fn checked<'a>(
    envelope: &'a Envelope<'_>,
) -> impl Fn(&str) -> Result<Private, DropReason> + use<'a> {
    let max = usize::try_from(envelope.limits.text.0).unwrap_or(usize::MAX);
    move |text| {
        if text.len() > max {
            Err(DropReason::TextTooLong)
        } else if text.trim().is_empty() {
            Err(DropReason::Empty)
        } else {
            Ok(Private::new(text.to_owned()))
        }
    }
}

/// A text, or a number as written: plants number their reports either way.
fn words<'a>(value: Option<Scalar<'a>>, scratch: &'a mut String) -> Option<&'a str> {
    match value {
        Some(Scalar::Text(text)) => Some(text.read(scratch)),
        Some(Scalar::Number(number)) => Some(number),
        Some(Scalar::NonFinite | Scalar::Bool(_) | Scalar::Null) | None => None,
    }
}
