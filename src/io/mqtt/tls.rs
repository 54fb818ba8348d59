//! TLS from PEM files: rustls with the ring provider, no built-in authorities.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::io::files::read_pem;
use crate::io::mqtt::{Endpoint, MqttError, TlsFiles};

/// How to speak TLS with the broker of an endpoint; reads its files. An endpoint without files for TLS is a fault.
pub(in crate::io::mqtt) fn client_config(endpoint: &Endpoint) -> Result<Arc<ClientConfig>, MqttError> {
    let Some(files) = &endpoint.tls else {
        let fault = "mqtts needs a ca_file: there are no built-in certificate authorities";
        return Err(MqttError::Config { broker: endpoint.address.to_string(), fault });
    };
    server_name(endpoint)?;
    let config = built(files).map_err(|(what, path, source)| MqttError::TlsFile {
        broker: endpoint.address.to_string(),
        what,
        path: path.to_owned(),
        source,
    })?;
    Ok(Arc::new(config))
}

/// The name the broker's certificate must carry: that of the url.
pub(in crate::io::mqtt) fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, MqttError> {
    ServerName::try_from(endpoint.address.host.clone()).map_err(|_| MqttError::Config {
        broker: endpoint.address.to_string(),
        fault: "the host is neither a DNS name nor an IP address: no certificate can carry it",
    })
}

/// Which file, its path, what is wrong with it.
type FileFault<'a> = (&'static str, &'a Path, Box<dyn Error + Send + Sync>);

fn built(files: &TlsFiles) -> Result<ClientConfig, FileFault<'_>> {
    let ca = |source| ("ca_file", files.ca.as_path(), source);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca).map_err(ca)? {
        roots.add(certificate).map_err(|fault| ca(fault.into()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|fault| ca(fault.into()))?
        .with_root_certificates(roots);
    let Some((chain_path, key_path)) = &files.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(chain_path).map_err(|source| ("cert_file", chain_path.as_path(), source))?;
    let key = private_key(key_path).map_err(|source| ("key_file", key_path.as_path(), source))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|fault| ("cert_file", chain_path.as_path(), fault.into()))
}

/// All certificates of a PEM file; a file without one is a fault.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error + Send + Sync>> {
    let found = CertificateDer::pem_slice_iter(&read_pem(path)?).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err("it holds no PEM certificate".into());
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Box<dyn Error + Send + Sync>> {
    Ok(PrivateKeyDer::from_pem_slice(&read_pem(path)?)?)
}
