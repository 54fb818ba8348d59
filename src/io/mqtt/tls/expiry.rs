//! When the certificates in our own files end.

use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;

use crate::clock::EventTime;
use crate::io::mqtt::TlsFiles;
use crate::io::mqtt::tls::fault::day_text;
use crate::io::mqtt::tls::pem::{PemFault, certificates};

/// Until when a file of certificates serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Key in the configuration.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Own chain: when its first certificate ends. Authorities: when the last one ends, for any of them may vouch.
    pub ends: EventTime,
}

/// Seconds of a day.
const DAY: i64 = 86_400;

impl Expiry {
    /// Whole days left; negative when it has ended.
    pub fn days_left(&self, now: EventTime) -> i64 {
        self.ends.micros_since(now).div_euclid(DAY * 1_000_000)
    }

    /// What to say of it and what to do.
    pub fn warning(&self, now: EventTime) -> String {
        let (path, ends) = (self.path.display(), day_text(self.ends));
        let remedy = if self.what == "ca_file" {
            "add the authority's next certificate to the file"
        } else {
            "renew it"
        };
        match self.days_left(now) {
            ..0 => format!("{} {path} has expired on {ends}: {remedy}", self.what),
            0 => format!("{} {path} expires within a day, on {ends}: {remedy}", self.what),
            1 => format!("{} {path} expires in 1 day, on {ends}: {remedy}", self.what),
            days => format!("{} {path} expires in {days} days, on {ends}: {remedy}", self.what),
        }
    }
}

/// Looks into the files of certificates; those that cannot be read are faults of their own.
pub fn expiries(files: &TlsFiles) -> Vec<Result<Expiry, (&'static str, PathBuf, PemFault)>> {
    let client = files.client.as_ref().map(|(certificate, _)| ("cert_file", certificate));
    std::iter::once(("ca_file", &files.ca))
        .chain(client)
        .map(|(what, path)| {
            let ends = certificates(path).and_then(|found| {
                let ends = found.iter().map(ends).collect::<Result<Vec<_>, _>>()?;
                let ends = if what == "ca_file" { ends.into_iter().max() } else { ends.into_iter().min() };
                Ok(ends.unwrap_or_default())
            });
            match ends {
                Ok(ends) => Ok(Expiry { what, path: path.clone(), ends }),
                Err(fault) => Err((what, path.clone(), fault)),
            }
        })
        .collect()
}

/// When a certificate ends. Lenient in all else: what TLS can use is for rustls to say.
pub(in crate::io::mqtt) fn ends(certificate: &CertificateDer<'_>) -> Result<EventTime, PemFault> {
    let parsed = CertificateInner::<Raw>::from_der(certificate)
        .map_err(|fault| PemFault::Unusable(fault.to_string()))?;
    let ends = parsed.tbs_certificate().validity().not_after;
    let micros = i64::try_from(ends.to_unix_duration().as_micros()).unwrap_or(i64::MAX);
    Ok(EventTime(micros))
}
