//! Why TLS could not be agreed upon, each with its remedy.

use std::io;

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error as Rustls, OtherError, PeerIncompatible,
};

use crate::clock::EventTime;

/// Why the handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The broker's certificate has ended.
    #[error(
        "its certificate expired on {ended} and it is {now} here; renew it on the broker, or set the clock of this gateway"
    )]
    Expired {
        /// End of its validity.
        ended: String,
        /// What we take for the present.
        now: String,
    },
    /// The broker's certificate has not begun.
    #[error(
        "its certificate is valid from {begins} and it is {now} here; set the clock of this gateway (NTP by address), \
         or correct that of the authority"
    )]
    NotYetValid {
        /// Begin of its validity.
        begins: String,
        /// What we take for the present.
        now: String,
    },
    /// The broker's certificate is that of somebody else.
    #[error(
        "its certificate is for {presented}, not for {expected}; write one of those names into the url, or issue a \
         certificate with {expected} as subjectAltName"
    )]
    WrongName {
        /// The host of the url.
        expected: String,
        /// The names in the certificate.
        presented: String,
    },
    /// Nobody we trust vouches for the broker.
    #[error(
        "no authority in ca_file vouches for its certificate; put the certificate of the authority that issued it there, \
         and let the broker send its intermediate certificates"
    )]
    UnknownIssuer,
    /// The broker shows an authority's own certificate, as a self-signed one often is.
    #[error(
        "it shows the certificate of an authority as its own, as if self-signed; issue one for the broker, with CA:FALSE \
         and its name as subjectAltName"
    )]
    SelfSigned,
    /// The broker speaks only versions of TLS that are broken.
    #[error(
        "it speaks neither TLS 1.2 nor 1.3; update the broker or allow those there: older ones are not spoken"
    )]
    OldVersion,
    /// What answers does not speak TLS.
    #[error(
        "what answers at this port does not speak TLS; correct the port, or write mqtt:// where plain text is meant"
    )]
    NotTls,
    /// The broker wants a certificate of ours and got none.
    #[error("the broker asks for a certificate of this client; give cert_file and key_file")]
    CertificateWanted,
    /// The broker says that our certificate has expired.
    #[error(
        "the broker says that the certificate in cert_file has expired; renew it, nothing needs to be restarted"
    )]
    OwnExpired,
    /// The broker does not accept our certificate.
    #[error(
        "the broker refuses the certificate in cert_file ({alert}); let its authority be known to the broker, and the \
         name in it be allowed there"
    )]
    OwnRefused {
        /// The broker's word for it.
        alert: String,
    },
    /// Both have nothing in common.
    #[error(
        "the broker broke off ({alert}); it may ask for a client certificate (cert_file, key_file), or share no cipher \
         or version with TLS 1.2 and 1.3"
    )]
    BrokenOff {
        /// The broker's word for it.
        alert: String,
    },
    /// Anything else.
    #[error("{0}; check ca_file, the certificate of the broker and the clock")]
    Other(String),
}

impl TlsFault {
    /// What a failure of a socket says about TLS; gives it back when it says nothing: then the network failed.
    pub(in crate::io::mqtt) fn of(source: io::Error) -> Result<Self, io::Error> {
        // rustls reports distrust, ours or the broker's, as invalid data.
        if source.kind() != io::ErrorKind::InvalidData {
            return Err(source);
        }
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<Rustls>());
        Ok(inner.map_or_else(|| Self::Other(source.to_string()), Self::from_rustls))
    }

    fn from_rustls(error: &Rustls) -> Self {
        if let Rustls::InvalidCertificate(fault) = error {
            Self::from_certificate(fault)
        } else if let Rustls::AlertReceived(alert) = error {
            Self::from_alert(*alert)
        } else if let Rustls::PeerIncompatible(what) = error {
            let is_old = matches!(
                what,
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            );
            if is_old { Self::OldVersion } else { Self::Other(error.to_string()) }
        } else if let Rustls::InvalidMessage(_) | Rustls::InappropriateMessage { .. } = error {
            Self::NotTls
        } else {
            Self::Other(error.to_string())
        }
    }

    fn from_certificate(fault: &CertificateError) -> Self {
        if let CertificateError::ExpiredContext { time, not_after } = fault {
            Self::Expired { ended: day(*not_after), now: day(*time) }
        } else if let CertificateError::NotValidYetContext { time, not_before } = fault {
            Self::NotYetValid { begins: day(*not_before), now: day(*time) }
        } else if let CertificateError::NotValidForNameContext { expected, presented } = fault {
            let none = || "no name at all (a subjectAltName is needed)".to_owned();
            // `DnsName("broker.example")`, in the words of the library.
            let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let names: Vec<String> = presented.iter().map(bare).collect();
            let presented = if names.is_empty() { none() } else { names.join(", ") };
            Self::WrongName { expected: expected.to_str().into_owned(), presented }
        } else if let CertificateError::UnknownIssuer = fault {
            Self::UnknownIssuer
        } else if let CertificateError::Other(OtherError(other)) = fault
            && other.to_string().contains("CaUsedAsEndEntity")
        {
            Self::SelfSigned
        } else {
            Self::Other(fault.to_string())
        }
    }

    fn from_alert(alert: AlertDescription) -> Self {
        let word = || format!("{alert:?}");
        if alert == AlertDescription::ProtocolVersion {
            Self::OldVersion
        } else if alert == AlertDescription::CertificateRequired {
            Self::CertificateWanted
        } else if alert == AlertDescription::CertificateExpired {
            Self::OwnExpired
        } else if [
            AlertDescription::BadCertificate,
            AlertDescription::UnsupportedCertificate,
            AlertDescription::CertificateRevoked,
            AlertDescription::CertificateUnknown,
            AlertDescription::UnknownCA,
            AlertDescription::AccessDenied,
            AlertDescription::DecryptError,
        ]
        .contains(&alert)
        {
            Self::OwnRefused { alert: word() }
        } else {
            Self::BrokenOff { alert: word() }
        }
    }
}

fn day(time: UnixTime) -> String {
    let micros = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    day_text(EventTime(micros))
}

/// A day and minute in words, UTC.
pub(in crate::io::mqtt) fn day_text(at: EventTime) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(
        |_| "a day beyond the year 9999".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%MZ").to_string(),
    )
}
