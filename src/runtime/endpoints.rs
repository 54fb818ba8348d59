//! The two brokers as the configuration names them: where they are, how to speak with them, by which certificates.

use std::sync::Arc;

use crate::config::{Config, LinkSettings};
use crate::forward::ForwardConfig;
use crate::io::files::read_secret;
use crate::io::mqtt::{Endpoint, Protocol, TlsFiles, TlsMemory, Will};
use crate::runtime::certificates::Certificates;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::options::Pace;
use crate::runtime::target::Target;

/// Decisions on the plant's broker without acknowledgement.
const PLANT_IN_FLIGHT: u16 = 64;

/// Packets a broker upstream must take, bytes. An event with the features of a usual model is a quarter of it; a broker
/// that takes less would have the events skipped one by one as undeliverable.
const UPSTREAM_PACKET_MIN: u32 = 4 << 10;

/// Bytes of a packet around its payload: topic, header, properties.
const PACKET_EXTRA: u32 = 1_024;

/// How the session upstream behaves.
pub(in crate::runtime) fn forward_config(config: &Config, pace: Pace) -> ForwardConfig {
    let upstream = &config.upstream;
    ForwardConfig {
        in_flight: upstream.in_flight,
        rate: upstream.rate,
        daily: upstream.daily,
        backoff_max: pace.backoff_max,
        keep_alive: upstream.link.keep_alive,
        tls: upstream.link.address.tls,
        ..ForwardConfig::default()
    }
}

/// The plant's broker and how to speak with it.
pub(in crate::runtime) fn plant_target(config: &Config, common: &Common) -> Result<Target, WiringError> {
    let packet_max = u32::try_from(config.limits.packet.0).unwrap_or(u32::MAX).saturating_add(PACKET_EXTRA);
    let endpoint = Endpoint {
        session_expiry: config.plant.session_expiry,
        clean_start: false,
        packet_max,
        in_flight: PLANT_IN_FLIGHT,
        ..endpoint(&config.plant.link, common)?
    };
    Ok(Target { endpoint, password_file: config.plant.link.password_file.clone(), dial: None })
}

/// The broker upstream and how to speak with it.
pub(in crate::runtime) fn upstream_target(config: &Config, common: &Common) -> Result<Target, WiringError> {
    // Nothing is kept on the far broker for us: what it has not acknowledged comes from the outbox again.
    let endpoint = Endpoint {
        clean_start: true,
        in_flight: config.upstream.in_flight,
        packet_min: UPSTREAM_PACKET_MIN,
        ..endpoint(&config.upstream.link, common)?
    };
    Ok(Target { endpoint, password_file: config.upstream.link.password_file.clone(), dial: None })
}

fn endpoint(link: &LinkSettings, common: &Common) -> Result<Endpoint, WiringError> {
    let client_id = format!("tidegate-{}-{}", common.origin.site, common.origin.gateway);
    // Read again for each connection; here so that one that is missing is a fault of the configuration.
    let password = link.password_file.as_deref().map(read_secret).transpose()?;
    Ok(Endpoint {
        tls: tls_files(link),
        tls_memory: tls_memory(common),
        username: link.username.clone(),
        password,
        protocol: if link.v5 { Protocol::V5 } else { Protocol::V311 },
        keep_alive: link.keep_alive,
        connect_timeout: link.connect_timeout,
        last_will: Some(Will {
            topic: common.topics.available(),
            payload: b"offline".to_vec(),
            retain: true,
        }),
        ..Endpoint::new(link.address.clone(), &client_id)
    })
}

fn tls_files(link: &LinkSettings) -> Option<TlsFiles> {
    let client = link.cert_file.clone().zip(link.key_file.clone());
    link.ca_file.clone().map(|ca| TlsFiles { ca, client })
}

fn tls_memory(common: &Common) -> TlsMemory {
    TlsMemory::new(Arc::new(common.clock.clone()), common.known)
}

/// What the certificates of both links are watched by.
pub(in crate::runtime) fn certificates(config: &Config, common: &Common) -> Certificates {
    let links = [("plant", &config.plant.link), ("upstream", &config.upstream.link)];
    let links = links.into_iter().filter_map(|(name, link)| Some((name, tls_files(link)?))).collect();
    Certificates::new(links, tls_memory(common))
}
