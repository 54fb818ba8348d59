//! From nothing to the broker's welcome, in one time limit.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::io::mqtt::codec::{Packet, Reader, Welcome, hello};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::link::{Link, now};
use crate::io::mqtt::socket::{Socket, Tls, addresses, counted, tcp};
use crate::io::mqtt::supervision::Supervision;
use crate::io::mqtt::{Endpoint, Traffic};

/// All that is needed to connect.
pub(in crate::io::mqtt) struct Plan {
    pub(in crate::io::mqtt) endpoint: Endpoint,
    pub(in crate::io::mqtt) tls: Option<Tls>,
    pub(in crate::io::mqtt) traffic: Traffic,
    /// A socket that is there already, in place of TCP.
    pub(in crate::io::mqtt) socket: Option<Box<dyn Socket>>,
}

/// Connects and logs in within the connect timeout.
pub(in crate::io::mqtt) async fn connect(plan: Plan) -> Result<(Link, Welcome), Failure> {
    let Plan { endpoint, tls, traffic, socket } = plan;
    let within = Within { deadline: now() + endpoint.connect_timeout };
    let socket = if let Some(socket) = socket {
        socket
    } else {
        let addresses = within.the_limit("looking up the name", addresses(&endpoint)).await?;
        let left = within.deadline.saturating_duration_since(now());
        within.the_limit("waiting for TCP", tcp(&addresses, left, &endpoint)).await?
    };
    let socket = counted(socket, &traffic);
    let mut socket = match tls {
        Some(tls) => within.the_limit("agreeing on TLS", tls.agree(socket)).await?,
        None => Box::new(socket),
    };
    let mut reader = Reader::new(endpoint.protocol, endpoint.packet_max);
    let login = login(&mut *socket, &mut reader, &endpoint);
    let welcome = within.the_limit("waiting for the welcome", login).await?;
    suits(&welcome, &endpoint)?;
    let supervision = Supervision::new(keep_alive(&welcome, &endpoint), endpoint.grace(), now());
    Ok((Link::new(socket, reader, supervision, traffic), welcome))
}

/// Limits what is done until the welcome, all of it together.
struct Within {
    deadline: Instant,
}

impl Within {
    async fn the_limit<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout_at(self.deadline, work).await.unwrap_or(Err(Failure::Timeout(doing)))
    }
}

async fn login(
    socket: &mut dyn Socket,
    reader: &mut Reader,
    endpoint: &Endpoint,
) -> Result<Welcome, Failure> {
    socket.write_all(&hello(endpoint)).await.map_err(Failure::Io)?;
    socket.flush().await.map_err(Failure::Io)?;
    loop {
        match reader.packet() {
            Ok(Some(Packet::Welcome(welcome))) => return Ok(welcome),
            Err(failure @ (Failure::Refused { .. } | Failure::Unavailable(_))) => return Err(failure),
            Ok(Some(Packet::Goodbye(reason))) => return Err(Failure::Unavailable(reason)),
            Ok(Some(_)) | Err(_) => return Err(Failure::Stranger),
            Ok(None) => {}
        }
        let filled = std::future::poll_fn(|cx| reader.poll_fill(cx, &mut *socket)).await;
        if filled.map_err(Failure::Io)? == 0 {
            return Err(Failure::Closed);
        }
    }
}

/// Turns down the welcome of a broker that cannot serve, before anything is sent: events wait for one that can.
fn suits(welcome: &Welcome, endpoint: &Endpoint) -> Result<(), Failure> {
    if let Some(max) = welcome.packet_max
        && max < endpoint.packet_min.max(1)
    {
        return Err(Failure::Refused {
            reason: format!("it takes packets of {max} bytes at most"),
            remedy: "raise the maximum packet size of the broker",
        });
    }
    if !welcome.at_least_once {
        return Err(Failure::Refused {
            reason: "it takes no messages of QoS 1".into(),
            remedy: "allow QoS 1 on the broker",
        });
    }
    Ok(())
}

/// How often something is sent: as asked for, or more often if the broker asks for that.
fn keep_alive(welcome: &Welcome, endpoint: &Endpoint) -> Duration {
    match welcome.keep_alive {
        Some(seconds) if seconds > 0 => endpoint.keep_alive.min(Duration::from_secs(seconds.into())),
        Some(_) | None => endpoint.keep_alive,
    }
}
