//! Brokers that take every connection and spoil it at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::client::BOTH;
use crate::service::gateway::Gateway;
use crate::service::world::{Plan, config};
use tidegate::io::mqtt::Protocol;

/// How long the gateway is watched.
const WATCHED: Duration = Duration::from_secs(6);

/// Connections in that time: with pauses from 0.2 s on the plant's side and 1 s upstream, doubled each time and drawn
/// below that, some ten and five are usual. Without pauses there would be thousands.
const PLANT_MAX: usize = 30;
const UPSTREAM_MAX: usize = 18;

/// Listens and spoils; how often somebody came.
fn spoiler(protocol: Protocol) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let number = count.fetch_add(1, Ordering::Relaxed);
            // A client that has gone already is as good.
            drop(spoil(&mut socket.unwrap(), protocol, number));
        }
    });
    (port, came)
}

/// One way after another to end a connection.
fn spoil(socket: &mut TcpStream, protocol: Protocol, number: usize) -> std::io::Result<()> {
    let (welcome, refusal): (&[u8], &[u8]) = match protocol {
        Protocol::V5 => (&[0x20, 3, 0, 0, 0], &[0x20, 3, 0, 0x87, 0]),
        Protocol::V311 => (&[0x20, 2, 0, 0], &[0x20, 2, 0, 5]),
    };
    let after: &[u8] = match number % 6 {
        0 => return Ok(()),
        1 => b"HTTP/1.1 400 Bad Request\r\n\r\n",
        2 => refusal,
        3 => &[welcome, &[0x40, 2, 0, 9]].concat(),
        4 => &[welcome, &[0x30, 0xff, 0xff, 0xff, 0x7f]].concat(),
        _ => welcome,
    };
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut heard = [0; 256];
    if socket.read(&mut heard)? > 0 {
        socket.write_all(after)?;
    }
    Ok(())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "watches for a while")]
fn brokers_that_spoil_every_connection_are_asked_less_and_less_often_and_the_gateway_stays_up() {
    for protocol in BOTH {
        let ((plant, plant_came), (upstream, upstream_came)) = (spoiler(protocol), spoiler(protocol));
        let plan = Plan { protocol, ..Plan::default() };
        let mut gateway = Gateway::start(&config("gw", plant, upstream, &plan));
        let begun = Instant::now();
        while plant_came.load(Ordering::Relaxed) == 0 || begun.elapsed() < WATCHED {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let (plant, upstream) = (plant_came.load(Ordering::Relaxed), upstream_came.load(Ordering::Relaxed));
        println!(
            "BACK-OFF {protocol:?}: {plant} connections to the plant, {upstream} upstream in {WATCHED:?}"
        );
        assert!((3..=PLANT_MAX).contains(&plant), "{plant}");
        assert!((1..=UPSTREAM_MAX).contains(&upstream), "{upstream}");
        assert_eq!(gateway.terminate().code(), Some(0));
        assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    }
}
