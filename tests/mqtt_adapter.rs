//! The MQTT adapter against a real Mosquitto: what is kept, what comes again, what is acknowledged.

mod common;

use std::collections::BTreeSet;

use common::client::{BOTH, acked, connected, endpoint, failure, goodbye, message, publish_all, subscribed};
use common::mosquitto::Mosquitto;
use tidegate::io::mqtt::{Delivery, Endpoint, Fault, Protocol, Qos, Token, Unsent, Will, open};

#[tokio::test]
async fn a_kept_session_keeps_qos_1_messages_while_we_are_away() {
    let broker = Mosquitto::start(false);
    for protocol in BOTH {
        let endpoint = endpoint(broker.port(), &format!("kept-{protocol:?}"), protocol);
        let (publisher, mut connection, welcome) = connected(&endpoint).await;
        assert!(!welcome.session_present);
        subscribed(&publisher, &mut connection, "plant/+/x", Qos::AtLeastOnce).await;
        goodbye(&publisher, &mut connection).await;
        publish_all(broker.port(), "plant/a/x", &[b"1", b"2", b"3"], false).await;

        let (publisher, mut connection, welcome) = connected(&endpoint).await;
        assert!(welcome.session_present, "{protocol:?}");
        for expected in [b"1", b"2", b"3"] {
            let message = message(&mut connection).await;
            assert_eq!((message.topic(), message.payload()), (&b"plant/a/x"[..], &expected[..]));
            assert!(!message.retained());
            publisher.ack(&message).unwrap();
        }
    }
}

#[tokio::test]
async fn a_kept_session_outlives_an_orderly_restart_of_the_broker() {
    let mut broker = Mosquitto::start(true);
    for protocol in BOTH {
        let endpoint = endpoint(broker.port(), &format!("kept-{protocol:?}"), protocol);
        let (publisher, mut connection, _) = connected(&endpoint).await;
        subscribed(&publisher, &mut connection, "restart", Qos::AtLeastOnce).await;
        goodbye(&publisher, &mut connection).await;
        publish_all(broker.port(), "restart", &[b"before"], false).await;
        broker.stop();
        broker.restart();
        let (publisher, mut connection, welcome) = connected(&endpoint).await;
        assert!(welcome.session_present);
        let message = message(&mut connection).await;
        assert_eq!(message.payload(), b"before");
        publisher.ack(&message).unwrap();
        goodbye(&publisher, &mut connection).await;
    }
}

#[tokio::test]
async fn only_what_was_acknowledged_does_not_come_again() {
    let broker = Mosquitto::start(false);
    for protocol in BOTH {
        let endpoint = endpoint(broker.port(), &format!("again-{protocol:?}"), protocol);
        let (publisher, mut connection, _) = connected(&endpoint).await;
        subscribed(&publisher, &mut connection, "again", Qos::AtLeastOnce).await;
        publish_all(broker.port(), "again", &[b"1", b"2"], false).await;
        let first = message(&mut connection).await;
        assert_eq!(message(&mut connection).await.payload(), b"2");
        drop(connection);

        // An acknowledgement that comes after the connection broke must not hit a packet id of the next one.
        let (publisher, mut connection, welcome) = connected(&endpoint).await;
        assert!(welcome.session_present);
        publisher.ack(&first).unwrap();
        let first = message(&mut connection).await;
        assert_eq!(first.payload(), b"1", "{protocol:?}");
        publisher.ack(&first).unwrap();
        goodbye(&publisher, &mut connection).await;

        let (publisher, mut connection, _) = connected(&endpoint).await;
        let second = message(&mut connection).await;
        assert_eq!(second.payload(), b"2", "the first was acknowledged, the second was not");
        publisher.ack(&second).unwrap();
        goodbye(&publisher, &mut connection).await;

        publish_all(broker.port(), "again", &[b"end"], false).await;
        let (_publisher, mut connection, _) = connected(&endpoint).await;
        assert_eq!(message(&mut connection).await.payload(), b"end");
    }
}

#[tokio::test]
async fn the_broker_keeps_an_oversize_message_from_an_mqtt_5_client() {
    let broker = Mosquitto::start(false);
    publish_big(broker.port(), "big/kept", true).await;
    let endpoint = Endpoint { packet_max: 64 << 10, ..endpoint(broker.port(), "small", Protocol::V5) };
    let (publisher, mut connection, _) = connected(&endpoint).await;
    subscribed(&publisher, &mut connection, "big/#", Qos::AtLeastOnce).await;
    publish_all(broker.port(), "big/end", &[b"end"], false).await;
    assert_eq!(
        message(&mut connection).await.payload(),
        b"end",
        "the big one was left out, the rest goes on"
    );
}

#[tokio::test]
async fn an_oversize_message_is_told_apart_on_mqtt_3_and_a_clean_start_gets_past_it() {
    let broker = Mosquitto::start(false);
    let small = Endpoint { packet_max: 64 << 10, ..endpoint(broker.port(), "small", Protocol::V311) };
    let (publisher, mut connection, _) = connected(&small).await;
    subscribed(&publisher, &mut connection, "big", Qos::AtLeastOnce).await;
    drop(connection);
    publish_big(broker.port(), "big", false).await;
    for _ in 0..2 {
        let (_publisher, mut connection) = open(&small).unwrap();
        let error = failure(&mut connection).await;
        assert_eq!(error.classify(), Fault::Oversize);
        let text = error.to_string();
        assert!(text.contains("65536") && text.contains("127.0.0.1"), "{text}");
    }
    let (publisher, connection, welcome) = connected(&Endpoint { clean_start: true, ..small.clone() }).await;
    assert!(!welcome.session_present);
    drop((publisher, connection));
    let (publisher, mut connection, _) = connected(&small).await;
    subscribed(&publisher, &mut connection, "big", Qos::AtLeastOnce).await;
    publish_all(broker.port(), "big", &[b"end"], false).await;
    assert_eq!(message(&mut connection).await.payload(), b"end");
}

async fn publish_big(port: u16, topic: &str, retain: bool) {
    let payload = vec![b'x'; 300 << 10];
    publish_all(port, topic, &[&payload], retain).await;
}

#[tokio::test]
async fn a_packet_larger_than_the_broker_takes_is_not_sent_and_harms_nothing() {
    let broker = Mosquitto::start_with(false, "allow_anonymous true\nmax_packet_size 20000\n");
    let (publisher, mut connection, welcome) = connected(&endpoint(broker.port(), "big", Protocol::V5)).await;
    assert_eq!(welcome.packet_max, Some(20_000));
    let delivery = Delivery::AtLeastOnce(Token(1));
    assert_eq!(
        publisher.publish("t", vec![0; 20_000], delivery, false),
        Err(Unsent::TooLarge { limit: 20_000 })
    );
    publisher.publish("t", vec![0; 19_900], Delivery::AtLeastOnce(Token(2)), false).unwrap();
    assert_eq!(acked(&mut connection).await, Token(2));
}

#[tokio::test]
async fn members_of_a_shared_subscription_split_the_messages() {
    let broker = Mosquitto::start(false);
    for protocol in BOTH {
        let topic = format!("load/{protocol:?}");
        let filter = format!("$share/group/{topic}");
        let (one, mut first, _) = connected(&endpoint(broker.port(), "member-1", protocol)).await;
        let (two, mut second, _) = connected(&endpoint(broker.port(), "member-2", protocol)).await;
        subscribed(&one, &mut first, &filter, Qos::AtLeastOnce).await;
        subscribed(&two, &mut second, &filter, Qos::AtLeastOnce).await;
        let payloads: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(String::as_bytes).collect();
        publish_all(broker.port(), &topic, &payloads, false).await;
        let (mut seen, mut shares) = (BTreeSet::new(), [0, 0]);
        while seen.len() < payloads.len() {
            // Cancelling is harmless here: what is written is too small for a write to wait.
            let (member, message) = tokio::select! {
                message = message(&mut first) => (0, message),
                message = message(&mut second) => (1, message),
            };
            [&one, &two][member].ack(&message).unwrap();
            shares[member] += 1;
            assert!(seen.insert(message.payload().to_vec()), "delivered twice");
        }
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
        goodbye(&one, &mut first).await;
        goodbye(&two, &mut second).await;
    }
}

#[tokio::test]
async fn the_last_will_is_published_when_the_connection_breaks_and_not_after_a_goodbye() {
    let broker = Mosquitto::start(false);
    let (watcher, mut watching, _) = connected(&endpoint(broker.port(), "watcher", Protocol::V5)).await;
    subscribed(&watcher, &mut watching, "status/#", Qos::AtLeastOnce).await;
    for protocol in BOTH {
        let topic = format!("status/{protocol:?}");
        let will = Will { topic: topic.clone(), payload: b"offline".to_vec(), retain: true };
        let endpoint = Endpoint { last_will: Some(will), ..endpoint(broker.port(), "mortal", protocol) };
        for orderly in [true, false] {
            let (publisher, mut connection, _) = connected(&endpoint).await;
            publisher.publish(&topic, "online", Delivery::AtLeastOnce(Token(1)), true).unwrap();
            acked(&mut connection).await;
            if orderly {
                goodbye(&publisher, &mut connection).await;
            }
            drop(connection);
            assert_eq!(message(&mut watching).await.payload(), b"online");
        }
        assert_eq!(message(&mut watching).await.payload(), b"offline", "{protocol:?}");
    }
    // Nothing was left over from the orderly ends.
    publish_all(broker.port(), "status/end", &[b"end"], false).await;
    assert_eq!(message(&mut watching).await.payload(), b"end");
}

#[tokio::test]
async fn a_stranger_is_refused_with_the_remedy() {
    let broker = Mosquitto::start_with(false, "allow_anonymous false\n");
    for protocol in BOTH {
        let mut endpoint = endpoint(broker.port(), "stranger", protocol);
        (endpoint.username, endpoint.password) = (Some("me".into()), Some("wrong-secret".into()));
        let (_publisher, mut connection) = open(&endpoint).unwrap();
        let error = failure(&mut connection).await;
        assert_eq!(error.classify(), Fault::Refused, "{error}");
        let text = error.to_string();
        assert!(text.contains("password_file") && !text.contains("wrong-secret"), "{text}");
    }
}

#[tokio::test]
async fn nothing_is_taken_before_the_welcome_and_nonsense_never() {
    let broker = Mosquitto::start(false);
    for protocol in BOTH {
        let endpoint = endpoint(broker.port(), "early", protocol);
        let (publisher, connection) = open(&endpoint).unwrap();
        assert_eq!(publisher.publish("t", "x", Delivery::AtMostOnce, false), Err(Unsent::NotConnected));
        assert_eq!(publisher.subscribe("t", Qos::AtMostOnce), Err(Unsent::NotConnected));
        drop(connection);
        let (publisher, _connection, _) = connected(&endpoint).await;
        for topic in ["", "a/+", "#", "a\0"] {
            assert_eq!(
                publisher.publish(topic, "x", Delivery::AtMostOnce, false),
                Err(Unsent::Topic),
                "{topic:?}"
            );
        }
        for filter in ["", "a#", "#/a", "a\0"] {
            assert_eq!(publisher.subscribe(filter, Qos::AtMostOnce), Err(Unsent::Topic), "{filter:?}");
        }
    }
}

#[tokio::test]
async fn no_more_is_under_way_than_allowed() {
    let broker = Mosquitto::start(false);
    for protocol in BOTH {
        let endpoint = Endpoint { in_flight: 8, ..endpoint(broker.port(), "full", protocol) };
        let (publisher, mut connection, _) = connected(&endpoint).await;
        let publish = |token| publisher.publish("t", "x", Delivery::AtLeastOnce(Token(token)), false);
        for token in 0..8 {
            publish(token).unwrap();
        }
        assert_eq!(publish(8), Err(Unsent::Full));
        assert_eq!(acked(&mut connection).await, Token(0));
        publish(8).unwrap();
        for token in 1..=8 {
            assert_eq!(acked(&mut connection).await, Token(token));
        }
    }
}
