//! Where a broker is: `mqtt://host:port` or `mqtts://host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Host, port and whether TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts`.
    pub tls: bool,
}

/// Why a text is not the address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broker address {found:?}: {fault}, expected \"mqtt://host:1883\" or \"mqtts://host:8883\"")]
pub struct UrlError {
    found: String,
    fault: &'static str,
}

/// Port of unencrypted MQTT, registered with IANA.
const PORT_PLAIN: u16 = 1883;
/// Port of MQTT over TLS, registered with IANA.
const PORT_TLS: u16 = 8883;

impl FromStr for Address {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|fault| UrlError { found: shown(text), fault })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err("the scheme is neither mqtt nor mqtts"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err("user name and password belong into `username` and `password_file`");
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or("the bracket is not closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "what stands in brackets is no IPv6 address")?;
            if tls {
                return Err("TLS needs a host name or an IPv4 address");
            }
            let port =
                if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or("the port is odd")?) };
            (host, port)
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')) {
        return Err("the host holds a character no host name has");
    }
    let port = match port {
        None => {
            if tls {
                PORT_TLS
            } else {
                PORT_PLAIN
            }
        }
        Some(port) => {
            port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("the port is not 1 to 65535")?
        }
    };
    Ok(Address { host: host.to_owned(), port, tls })
}

/// The text as an error shows it: short, and without what stands before an `@`.
fn shown(text: &str) -> String {
    text.rsplit('@').next().unwrap_or(text).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_default_port() {
        for (text, host, port, tls) in [
            ("mqtt://127.0.0.1:1884", "127.0.0.1", 1884, false),
            ("mqtt://broker", "broker", 1883, false),
            ("mqtts://ingest.example", "ingest.example", 8883, true),
            ("mqtts://ingest.example:443/", "ingest.example", 443, true),
            ("mqtt://[::1]:1883", "::1", 1883, false),
            ("mqtt://[fe80::2]", "fe80::2", 1883, false),
        ] {
            assert_eq!(text.parse::<Address>(), Ok(Address { host: host.into(), port, tls }), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_what_is_allowed_and_shows_no_password() {
        for text in [
            "",
            "broker:1883",
            "http://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://broker:0",
            "mqtt://broker:65536",
            "mqtt://broker:x",
            "mqtt://br oker",
            "mqtt://broker/path",
            "mqtt://[::1",
            "mqtt://[::g]",
            "mqtts://[::1]:8883",
            "mqtt://me:secret@broker",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("mqtts://host:8883"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
