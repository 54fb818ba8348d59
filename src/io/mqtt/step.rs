//! What the client library reports, in one form for both versions of MQTT.

use crate::io::mqtt::Inbound;

/// What the broker said when it welcomed us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// Whether it still had our session: subscriptions and unacknowledged messages.
    pub session_present: bool,
    /// Unacknowledged publishes it allows.
    pub receive_max: Option<u16>,
    /// Largest packet it takes, bytes.
    pub packet_max: Option<u32>,
}

/// One step of the client library, in one form for both versions of MQTT.
pub(in crate::io::mqtt) enum Step {
    Welcome(Welcome),
    Message(Inbound),
    /// A QoS 1 publish was sent under this packet id.
    Published(u16),
    SubscriptionSent(u16),
    SubscriptionAnswered(u16, Option<String>),
    /// The broker answered a publish; the reason if it refused.
    Answered(u16, Option<&'static str>),
    Pong,
    GoodbyeSent,
    /// Nothing of interest.
    Other,
}
