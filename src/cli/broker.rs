//! The options of every command that speaks with a broker.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::exit::Failure;
use crate::io::files::read_secret;
use crate::io::mqtt::{Address, Endpoint, Protocol, TlsFiles};

/// How to log in to a broker.
#[derive(clap::Args)]
pub(in crate::cli) struct BrokerArgs {
    /// User name, where the broker asks for one
    #[arg(long, value_name = "NAME", help_heading = "Broker")]
    username: Option<String>,
    /// File with the password of that user
    #[arg(long, value_name = "FILE", requires = "username", help_heading = "Broker")]
    password_file: Option<PathBuf>,
    /// Certificates that may vouch for the broker (PEM); needed for mqtts
    #[arg(long, value_name = "FILE", help_heading = "Broker")]
    ca_file: Option<PathBuf>,
    /// Certificate of this client (PEM)
    #[arg(long, value_name = "FILE", requires = "key_file", requires = "ca_file", help_heading = "Broker")]
    cert_file: Option<PathBuf>,
    /// Private key of this client (PEM)
    #[arg(long, value_name = "FILE", requires = "cert_file", help_heading = "Broker")]
    key_file: Option<PathBuf>,
    /// Version of MQTT
    #[arg(long, value_enum, default_value = "5", help_heading = "Broker")]
    protocol: Version,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "5")]
    V5,
    #[value(name = "3.1.1")]
    V311,
}

impl BrokerArgs {
    /// The endpoint these options describe.
    pub(in crate::cli) fn endpoint(&self, address: Address, client_id: &str) -> Result<Endpoint, Failure> {
        let mut endpoint = Endpoint::new(address, client_id);
        endpoint.username.clone_from(&self.username);
        if let Some(file) = &self.password_file {
            endpoint.password = Some(read_secret(file).map_err(|error| Failure::Io(error.into()))?);
        }
        let client = self.cert_file.clone().zip(self.key_file.clone());
        endpoint.tls = self.ca_file.clone().map(|ca| TlsFiles { ca, client });
        endpoint.protocol = match self.protocol {
            Version::V5 => Protocol::V5,
            Version::V311 => Protocol::V311,
        };
        Ok(endpoint)
    }
}

/// A client id nobody else has: two clients of one id throw each other out.
pub(in crate::cli) fn passing_id(command: &str) -> String {
    format!("tidegate-{command}-{:08x}", fastrand::u32(..))
}
