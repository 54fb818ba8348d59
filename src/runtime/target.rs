//! A broker to connect to, with a password that may change while the gateway runs.

use std::path::PathBuf;

use tracing::warn;

use crate::io::files::read_secret;
use crate::io::mqtt::{Connection, Endpoint, MqttError, Publisher, Socket, open, open_over};

/// Where to connect. The files of TLS are read for each connection, so the password is too: credentials are changed
/// without a restart, which would cost the open windows.
pub(in crate::runtime) struct Target {
    pub(in crate::runtime) endpoint: Endpoint,
    pub(in crate::runtime) password_file: Option<PathBuf>,
    /// Makes the sockets in place of TCP: of a test that owns the clock.
    pub(in crate::runtime) dial: Option<Dial>,
}

/// Makes a socket.
pub(in crate::runtime) type Dial = Box<dyn Fn() -> Box<dyn Socket> + Send + Sync>;

impl Target {
    /// Prepares the next connection.
    pub(in crate::runtime) fn open(&mut self) -> Result<(Publisher, Connection), MqttError> {
        if let Some(file) = &self.password_file {
            match read_secret(file) {
                Ok(password) => self.endpoint.password = Some(password),
                // Perhaps it is being replaced just now: the one known may still do.
                Err(error) => warn!(%error, "could not read the password again"),
            }
        }
        match &self.dial {
            Some(dial) => open_over(&self.endpoint, dial()),
            None => open(&self.endpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_takes_the_password_of_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let mut endpoint = Endpoint::new("mqtt://127.0.0.1:1".parse().unwrap(), "client");
        endpoint.username = Some("user".to_owned());
        let mut target = Target { endpoint, password_file: Some(file.clone()), dial: None };
        for password in ["first", "second"] {
            std::fs::write(&file, format!("{password}\n")).unwrap();
            assert!(target.open().is_ok());
            assert_eq!(target.endpoint.password.as_deref(), Some(password));
        }
        std::fs::remove_file(&file).unwrap();
        assert!(target.open().is_ok());
        assert_eq!(target.endpoint.password.as_deref(), Some("second"), "the one known is kept");
    }
}
