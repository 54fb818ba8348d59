//! TLS 1.2 and 1.3 from PEM files: rustls with the ring provider, no built-in authorities, never plain text instead.
//!
//! The files are read for every connection, so that renewed certificates need no restart. While they stay the same the
//! sessions of the last day are resumed, which saves the certificates on the wire.

mod expiry;
mod fault;
mod memory;
mod pem;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, Error as Rustls, RootCertStore};

use crate::clock::EventTime;
use crate::io::mqtt::tls::expiry::ends;
use crate::io::mqtt::tls::fault::day_text;
use crate::io::mqtt::tls::pem::{certificates, private_key};
use crate::io::mqtt::{Endpoint, MqttError, TlsFiles};

pub use expiry::{Expiry, expiries};
pub use fault::TlsFault;
pub use memory::TlsMemory;
pub use pem::PemFault;

/// TLS sessions kept for one broker: it gives a few with each connection, one is used for the next.
const SESSIONS_KEPT: usize = 4;

/// A file of TLS that cannot be used: its key in the configuration, its path, why.
pub type FileFault = (&'static str, PathBuf, PemFault);

/// How to speak TLS with the broker of an endpoint; reads its files. An endpoint without files for TLS is a fault.
pub(in crate::io::mqtt) fn client_config(endpoint: &Endpoint) -> Result<Arc<ClientConfig>, MqttError> {
    let Some(files) = &endpoint.tls else {
        let fault = "mqtts needs a ca_file: there are no built-in certificate authorities";
        return Err(MqttError::Config { broker: endpoint.address.to_string(), fault });
    };
    server_name(endpoint)?;
    let configured = Material::read(files).and_then(|material| {
        endpoint.tls_memory.config(material.digest(), || material.configure(&endpoint.tls_memory))
    });
    configured.map_err(|(what, path, fault)| MqttError::TlsFile {
        broker: endpoint.address.to_string(),
        what,
        path,
        source: fault.into(),
    })
}

/// The name the broker's certificate must carry: that of the url.
pub(in crate::io::mqtt) fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, MqttError> {
    ServerName::try_from(endpoint.address.host.clone()).map_err(|_| MqttError::Config {
        broker: endpoint.address.to_string(),
        fault: "the host is neither a DNS name nor an IP address: no certificate can carry it",
    })
}

/// Whether these files can be used together, without connecting.
///
/// # Errors
/// The first file that cannot.
pub fn examine(files: &TlsFiles, memory: &TlsMemory) -> Result<(), FileFault> {
    Material::read(files)?.configure(memory).map(drop)
}

/// What the files hold.
struct Material<'a> {
    files: &'a TlsFiles,
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl<'a> Material<'a> {
    fn read(files: &'a TlsFiles) -> Result<Self, FileFault> {
        let of = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |fault| (what, path, fault)
        };
        let authorities = certificates(&files.ca).map_err(of("ca_file", &files.ca))?;
        let client = match &files.client {
            None => None,
            Some((chain, key)) => Some((
                certificates(chain).map_err(of("cert_file", chain))?,
                private_key(key).map_err(of("key_file", key))?,
            )),
        };
        Ok(Self { files, authorities, client })
    }

    /// Changes when any of it does.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let chain = self.client.iter().flat_map(|(chain, _)| chain);
        for certificate in self.authorities.iter().chain(chain) {
            hash.update(u64::try_from(certificate.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(certificate);
        }
        if let Some((_, key)) = &self.client {
            hash.update(key.secret_der());
        }
        hash.finalize().into()
    }

    /// That the key is one TLS can sign with.
    fn check_key(&self, provider: &CryptoProvider) -> Result<(), FileFault> {
        let (Some((_, key)), Some((_, path))) = (&self.client, &self.files.client) else { return Ok(()) };
        let loaded = provider.key_provider.load_private_key(key.clone_key());
        loaded.map(drop).map_err(|fault| ("key_file", path.clone(), PemFault::Unusable(fault.to_string())))
    }

    fn configure(&self, memory: &TlsMemory) -> Result<ClientConfig, FileFault> {
        let ca = |fault| ("ca_file", self.files.ca.clone(), fault);
        let unusable = |fault: Rustls| PemFault::Unusable(fault.to_string());
        let roots = self.roots(memory.now()).map_err(ca)?;
        let provider = ring::default_provider();
        self.check_key(&provider)?;
        let builder = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(memory.clone()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|fault| ca(unusable(fault)))?
            .with_root_certificates(roots);
        let mut config = match (&self.client, &self.files.client) {
            (Some((chain, key)), Some((certificate, key_file))) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|fault| unlike(&fault, certificate, key_file))?,
            (_, _) => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
        Ok(config)
    }

    /// The authorities that have not expired. The library would take them for ever.
    fn roots(&self, now: EventTime) -> Result<RootCertStore, PemFault> {
        let mut roots = RootCertStore::empty();
        let mut last = EventTime(i64::MIN);
        for certificate in &self.authorities {
            let end = ends(certificate)?;
            last = last.max(end);
            if end >= now {
                roots.add(certificate.clone()).map_err(|fault| PemFault::Unusable(fault.to_string()))?;
            }
        }
        if roots.is_empty() { Err(PemFault::Expired { last: day_text(last) }) } else { Ok(roots) }
    }
}

/// Why certificate and key cannot be used together.
fn unlike(fault: &Rustls, certificate: &Path, key_file: &Path) -> FileFault {
    if matches!(fault, Rustls::InconsistentKeys(_)) {
        let certificate = certificate.to_owned();
        ("key_file", key_file.to_owned(), PemFault::Mismatch { certificate })
    } else {
        ("cert_file", certificate.to_owned(), PemFault::Unusable(fault.to_string()))
    }
}
