//! Certificates and keys out of PEM files, and what is wrong with a file that holds none.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::io::files::{FileError, read_pem};

/// Why a file for TLS cannot be used: what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PemFault {
    /// There is none.
    #[error("there is no such file; correct the path, or put the file there")]
    Absent,
    /// We may not read it.
    #[error(
        "this user may not read it; give it to the user of the service, or hand it over with LoadCredential"
    )]
    Forbidden,
    /// It cannot be read otherwise.
    #[error("it cannot be read; give a plain file on a disk that works")]
    Unreadable(#[source] FileError),
    /// It has none of the lines that begin a PEM section.
    #[error("it is no PEM file; convert it, for instance with openssl x509 -inform der -in OLD -out NEW")]
    NotPem,
    /// It is PEM, of something else.
    #[error("it holds no {wanted}; {remedy}")]
    Other {
        /// What was looked for.
        wanted: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// It begins like PEM and is broken.
    #[error("its PEM is damaged ({0}); copy it again, whole")]
    Damaged(String),
    /// The key needs a pass phrase.
    #[error(
        "the key is encrypted and nobody is here to type the pass phrase; write it without one: \
         openssl pkey -in OLD -out NEW, readable by the service only"
    )]
    Encrypted,
    /// Not a certificate or key that TLS can use.
    #[error(
        "TLS cannot use what it holds ({0}); issue it anew, with ECDSA P-256 or RSA of 2,048 bits or more"
    )]
    Unusable(String),
    /// The key belongs to another certificate.
    #[error("it is not the key of cert_file {}; give the two that were issued together", certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
    },
    /// No authority in the file is valid any more.
    #[error("every certificate in it has expired, the last on {last}; put the authority's present one there")]
    Expired {
        /// When the last one ended.
        last: String,
    },
}

/// All certificates of a PEM file, at least one.
pub(in crate::io::mqtt) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let bytes = read(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|fault| damaged(&fault))?;
    if found.is_empty() {
        let remedy = "give the file of the certificate, not that of its key or request";
        return Err(PemFault::Other { wanted: "certificate", remedy });
    }
    Ok(found)
}

/// The first private key of a PEM file.
pub(in crate::io::mqtt) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemFault> {
    let bytes = read(path)?;
    let is_encrypted =
        holds(&bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(&bytes, b"Proc-Type: 4,ENCRYPTED");
    if is_encrypted {
        return Err(PemFault::Encrypted);
    }
    match PrivateKeyDer::pem_slice_iter(&bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(fault)) => Err(damaged(&fault)),
        None => Err(PemFault::Other {
            wanted: "private key",
            remedy: "give the file of the key, not that of its certificate",
        }),
    }
}

fn damaged(fault: &PemError) -> PemFault {
    // The library would print the missing line as a list of bytes.
    let is_cut = matches!(fault, PemError::MissingSectionEnd { .. });
    PemFault::Damaged(if is_cut { "it ends before its END line".to_owned() } else { fault.to_string() })
}

fn read(path: &Path) -> Result<Vec<u8>, PemFault> {
    let bytes = read_pem(path).map_err(|fault| match &fault {
        FileError::Read { source, .. } if source.kind() == ErrorKind::NotFound => PemFault::Absent,
        FileError::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => PemFault::Forbidden,
        FileError::Read { .. }
        | FileError::Write { .. }
        | FileError::TooLong { .. }
        | FileError::NotPlain { .. }
        | FileError::NotText { .. } => PemFault::Unreadable(fault),
    })?;
    if holds(&bytes, b"-----BEGIN ") { Ok(bytes) } else { Err(PemFault::NotPem) }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
