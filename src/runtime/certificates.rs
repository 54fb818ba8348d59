//! Warns before certificates end: in the log once at 30, 7 and 1 days, in health and metrics all the time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{error, warn};

use crate::clock::{EventTime, Uptime};
use crate::io::mqtt::{TlsFiles, TlsMemory, expiries};

/// Whole days left at which a warning is logged, once each; below the last it has expired.
const WARNED_AT: [i64; 4] = [30, 7, 1, -1];

/// The files are looked at this often, and after each new connection: "daily" with room for a clock that is set late.
const LOOKED_EVERY: Duration = Duration::from_hours(1);

/// The certificates of both links.
pub(in crate::runtime) struct Certificates {
    links: Vec<(&'static str, TlsFiles)>,
    time: TlsMemory,
    looked: Option<(Uptime, u64)>,
    /// By link and file, the last threshold warned of.
    warned: BTreeMap<(&'static str, PathBuf), i64>,
    days_left: Option<i64>,
    complaint: Option<String>,
}

impl Certificates {
    /// Those of these links, judged by this time.
    pub(in crate::runtime) fn new(links: Vec<(&'static str, TlsFiles)>, time: TlsMemory) -> Self {
        Self { links, time, looked: None, warned: BTreeMap::new(), days_left: None, complaint: None }
    }

    /// Looks at the files when it is time, or when the number of connections made has changed.
    pub(in crate::runtime) fn watch(&mut self, now: Uptime, connects: u64) {
        let is_fresh = |(at, seen): &(Uptime, u64)| *seen == connects && now.since(*at) < LOOKED_EVERY;
        if self.looked.as_ref().is_some_and(is_fresh) {
            return;
        }
        self.looked = Some((now, connects));
        for (has_ended, text) in self.look(self.time.now()) {
            if has_ended {
                error!("{text}");
            } else {
                warn!("{text}");
            }
        }
    }

    /// Whole days until the first of them ends, zero when it has; nothing where there is no TLS.
    pub(in crate::runtime) fn days_left(&self) -> Option<u64> {
        self.days_left.map(|days| u64::try_from(days).unwrap_or(0))
    }

    /// What is wrong and what to do, for health.
    pub(in crate::runtime) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Looks at every file; what is to be logged, and whether that certificate has ended already.
    fn look(&mut self, now: EventTime) -> Vec<(bool, String)> {
        let mut news = Vec::new();
        let mut worst: Option<(i64, String)> = None;
        let mut unreadable = None;
        for (link, files) in &self.links {
            for found in expiries(files) {
                let expiry = match found {
                    Ok(expiry) => expiry,
                    Err((what, path, fault)) => {
                        unreadable = Some(format!("{link}.{what} {}: {fault}", path.display()));
                        continue;
                    }
                };
                let (days, text) = (expiry.days_left(now), format!("{link}.{}", expiry.warning(now)));
                let key = (*link, expiry.path.clone());
                match WARNED_AT.into_iter().rev().find(|at| days <= *at) {
                    None => drop(self.warned.remove(&key)),
                    Some(at) => {
                        if self.warned.insert(key, at).is_none_or(|before| at < before) {
                            news.push((days < 0, text.clone()));
                        }
                    }
                }
                if worst.as_ref().is_none_or(|(least, _)| days < *least) {
                    worst = Some((days, text));
                }
            }
        }
        self.days_left = worst.as_ref().map(|(days, _)| *days);
        let is_near = |(days, _): &(i64, String)| WARNED_AT.iter().any(|at| days <= at);
        self.complaint = unreadable.or(worst.filter(is_near).map(|(_, text)| text));
        news
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    /// 2027-06-01T00:00:00Z, when the certificates of these tests end.
    const END: EventTime = EventTime(1_811_808_000_000_000);

    fn write(path: &std::path::Path, year: i32) {
        let mut params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(year, 6, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(path, certificate.pem()).unwrap();
    }

    /// A link with an authority that lasts and a certificate that does not.
    fn watched(folder: &std::path::Path) -> Certificates {
        let [ca, own, key] = ["ca.pem", "own.pem", "own.key"].map(|name| folder.join(name));
        write(&ca, 2046);
        write(&own, 2027);
        let files = TlsFiles { ca, client: Some((own, key)) };
        Certificates::new(vec![("upstream", files)], TlsMemory::default())
    }

    #[test]
    fn a_warning_comes_once_at_30_7_and_1_days_and_at_the_end_and_a_renewal_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut certificates = watched(folder.path());
        let mut told = Vec::new();
        for quarter in (-4_i32..=41 * 4).rev() {
            let now = END.after(DAY).before(DAY / 4 * u32::try_from(quarter + 4).unwrap());
            let news = certificates.look(now);
            assert_eq!(
                certificates.complaint().is_some(),
                quarter < 31 * 4,
                "{quarter} quarters of a day left"
            );
            told.extend(news.into_iter().map(|(has_ended, text)| (quarter.div_euclid(4), has_ended, text)));
        }
        let days: Vec<_> = told.iter().map(|(day, has_ended, _)| (*day, *has_ended)).collect();
        assert_eq!(days, [(30, false), (7, false), (1, false), (-1, true)], "{told:?}");
        assert!(
            told[0].2.starts_with("upstream.cert_file ") && told[0].2.ends_with(": renew it"),
            "{told:?}"
        );
        assert_eq!(certificates.days_left(), Some(0));

        write(&folder.path().join("own.pem"), 2028);
        assert_eq!(certificates.look(END), []);
        assert_eq!((certificates.days_left(), certificates.complaint()), (Some(366), None));
        write(&folder.path().join("own.pem"), 2027);
        assert_eq!(certificates.look(END.before(DAY * 5)).len(), 1, "the next one is warned of again");
    }

    #[test]
    fn a_file_that_is_gone_is_no_health_and_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut certificates = watched(folder.path());
        std::fs::remove_file(folder.path().join("own.pem")).unwrap();
        certificates.watch(Uptime::ZERO, 0);
        let complaint = certificates.complaint().unwrap();
        assert!(
            complaint.contains("upstream.cert_file") && complaint.contains("no such file"),
            "{complaint}"
        );

        // Put back: seen with the next connection, or within the hour.
        write(&folder.path().join("own.pem"), 2027);
        certificates.watch(Uptime::ZERO.after(LOOKED_EVERY / 2), 0);
        assert!(certificates.complaint().is_some(), "too soon to look again");
        certificates.watch(Uptime::ZERO.after(LOOKED_EVERY / 2), 1);
        assert!(certificates.complaint().is_none_or(|text| !text.contains("no such file")));
    }
}
