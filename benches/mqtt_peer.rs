//! What `scripts/bench` runs beside the gateway: a sender, a client that only counts, one that only echoes, a stopwatch,
//! and a far end with a publisher to hold the drain against. Not a benchmark by itself; `cargo bench` passes over it.
//!
//! The counting and echoing clients are plain rumqttc with its own acknowledgements: what the gateway is held against.
//! The sender and the stopwatch write MQTT 3.1.1 by hand, to take little of the processor they share with it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a tool that measures time and prints it, not part of the gateway"
)]

#[path = "peer/options.rs"]
mod options;

use std::collections::VecDeque;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Packet};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

use options::Options;

/// Messages written at a time at full speed.
const BATCH: u64 = 64;

/// Unacknowledged QoS 1 messages of the sender.
const IN_FLIGHT_MAX: u64 = 1_000;

fn main() {
    let (command, options) = Options::of_command_line();
    match command.as_str() {
        "send" => send(&options),
        "count" => receive(&options, false),
        "echo" => receive(&options, true),
        "stopwatch" => stopwatch(&options),
        "sink" => sink(&options),
        "publish" => publish(&options),
        _ => println!("mqtt_peer send|count|echo|stopwatch|sink|publish: see scripts/bench"),
    }
}

/// A row of the hydraulic rig: eight values and a time, about 180 bytes.
fn row(payload: &mut Vec<u8>, second: u64, number: u64) {
    payload.clear();
    let (days, rest) = (second / 86_400, second % 86_400);
    // Months of 28 days are months too.
    let (month, day) = (1 + days / 28 % 12, 1 + days % 28);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let wave = number % 97;
    write!(
        payload,
        "{{\"ts\":\"{}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.250Z\",\"ts1\":35.{wave:03},\
         \"ts2\":40.9{wave:02},\"ts3\":38.4{wave:02},\"ts4\":30.6{wave:02},\"vs1\":0.5{wave:02},\
         \"ce\":39.6{wave:02},\"cp\":1.8{wave:02},\"se\":59.1{wave:02}}}",
        2_000 + days / 336,
    )
    .unwrap();
}

/// One connection, MQTT 3.1.1, clean session.
struct Wire {
    stream: TcpStream,
    out: Vec<u8>,
}

impl Wire {
    fn connect(port: u64, id: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream, out: Vec::new() };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
        text(&mut body, id);
        wire.packet(0x10, &[&body]);
        wire.flush();
        assert_eq!(read_packet(&mut wire.stream).0, 0x20, "the broker did not welcome us");
        wire
    }

    fn subscribe(&mut self, filter: &str, qos: u64) {
        let mut body = vec![0, 1];
        text(&mut body, filter);
        body.push(u8::try_from(qos).unwrap());
        self.packet(0x82, &[&body]);
        self.flush();
        assert_eq!(read_packet(&mut self.stream).0, 0x90, "the broker did not grant the subscription");
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: u64, number: u64) {
        let mut head = Vec::with_capacity(64);
        text(&mut head, topic);
        if qos == 1 {
            head.extend(packet_id(number).to_be_bytes());
        }
        self.packet(0x30 | u8::try_from(qos << 1).unwrap(), &[&head, payload]);
    }

    fn packet(&mut self, kind: u8, parts: &[&[u8]]) {
        self.out.push(kind);
        let mut length: usize = parts.iter().map(|part| part.len()).sum();
        while length >= 128 {
            self.out.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        self.out.push(u8::try_from(length).unwrap());
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }

    fn flush(&mut self) {
        self.stream.write_all(&self.out).unwrap();
        self.out.clear();
    }
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

/// 1 to 60,000, round and round.
fn packet_id(number: u64) -> u16 {
    u16::try_from(number % 60_000 + 1).unwrap()
}

/// First byte and body of the next packet.
fn read_packet(stream: &mut impl Read) -> (u8, Vec<u8>) {
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    let kind = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte).unwrap();
        length |= usize::from(byte[0] & 127) << shift;
        shift += 7;
        if byte[0] < 128 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (kind, body)
}

/// Sends rows a second of event time apart: `--count` of them, `--rate` a second (0: as fast as the broker takes them)
/// or for `--seconds` (0: no limit in time).
fn send(options: &Options) {
    let (qos, rate, count) = (options.number("qos"), options.number("rate"), options.number("count"));
    let (from, topic, seconds) = (options.number("from"), options.text("topic"), options.number("seconds"));
    let mut wire = Wire::connect(options.number("port"), options.text("id"));
    let mut acks = std::io::BufReader::new(wire.stream.try_clone().unwrap());
    let (acked, acks_seen) = mpsc::channel();
    if qos == 1 {
        std::thread::spawn(move || {
            loop {
                read_packet(&mut acks);
                if acked.send(()).is_err() {
                    return;
                }
            }
        });
    }
    let started = Instant::now();
    let (mut payload, mut under_way, mut sent) = (Vec::new(), 0, 0);
    while sent < count && (seconds == 0 || started.elapsed() < Duration::from_secs(seconds)) {
        let due = if rate == 0 { BATCH.min(count - sent) } else { 1 };
        for _ in 0..due {
            row(&mut payload, from + sent, sent);
            wire.publish(topic, &payload, qos, sent);
            sent += 1;
        }
        wire.flush();
        if qos == 1 {
            under_way += due;
            under_way -= under_way.min(acks_seen.try_iter().count() as u64);
            while under_way > IN_FLIGHT_MAX {
                acks_seen.recv().unwrap();
                under_way -= 1;
            }
        }
        if let Some(nanos) = (sent * 1_000_000_000).checked_div(rate) {
            std::thread::sleep(Duration::from_nanos(nanos).saturating_sub(started.elapsed()));
        }
    }
    while qos == 1 && under_way > 0 {
        acks_seen.recv().unwrap();
        under_way -= 1;
    }
    println!("{{\"sent\":{sent},\"seconds\":{:.3}}}", started.elapsed().as_secs_f64());
}

/// A plain client: the options of the gateway's link, the library's own acknowledgements.
fn plain_client(options: &Options) -> (AsyncClient, EventLoop) {
    let port = u16::try_from(options.number("port")).unwrap();
    let mut mqtt = MqttOptions::new(options.text("id"), "127.0.0.1", port);
    let mut properties = ConnectProperties::new();
    properties.receive_maximum = Some(256);
    properties.max_packet_size = Some(256 << 10);
    mqtt.set_connect_properties(properties).set_keep_alive(Duration::from_mins(1));
    mqtt.set_outgoing_inflight_upper_limit(256);
    let mut network = mqtt.network_options();
    network.set_tcp_nodelay(true);
    mqtt.set_network_options(network);
    AsyncClient::new(mqtt, 256)
}

/// Receives `--count` messages; says so after the first and the last, or sends each back on `--to`.
fn receive(options: &Options, echo: bool) {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let qos = if options.number("qos") == 1 { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let count = options.number("count");
    executor.block_on(async {
        let (client, mut link) = plain_client(options);
        client.try_subscribe(options.text("topic"), qos).unwrap();
        let mut received = 0;
        while received < count {
            match link.poll().await.unwrap() {
                Event::Incoming(Packet::Publish(publish)) => {
                    received += 1;
                    if echo {
                        client.try_publish(options.text("to"), qos, false, publish.payload).unwrap();
                    }
                }
                Event::Incoming(Packet::SubAck(_)) => println!("ready"),
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
        println!("done");
        // The parent reads this process's account, then ends it.
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
}

/// Times from a message on `--topic` to the next on `--from-topic`, in microseconds, sorted: one line of JSON.
fn stopwatch(options: &Options) {
    let (qos, rate, count) = (options.number("qos"), options.number("rate"), options.number("count"));
    let (from, topic) = (options.number("from"), options.text("topic"));
    let mut answers = Wire::connect(options.number("port"), "stopwatch-in");
    answers.subscribe(options.text("answers"), qos);
    let mut wire = Wire::connect(options.number("port"), "stopwatch-out");
    let mut acks = std::io::BufReader::new(wire.stream.try_clone().unwrap());
    std::thread::spawn(move || {
        loop {
            read_packet(&mut acks);
        }
    });
    let (stamp, stamps) = mpsc::channel::<Instant>();
    let reader = std::thread::spawn(move || {
        let mut waiting = VecDeque::new();
        let mut took = Vec::new();
        let mut stream = answers.stream.try_clone().unwrap();
        while (took.len() as u64) < count {
            let (kind, body) = read_packet(&mut stream);
            let at = Instant::now();
            if kind & 0xf0 != 0x30 {
                continue;
            }
            waiting.extend(stamps.try_iter());
            took.push(at.duration_since(waiting.pop_front().unwrap()).as_micros());
            if kind & 6 == 2 {
                let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                answers.packet(0x40, &[&body[id..id + 2]]);
                answers.flush();
            }
        }
        took
    });
    let started = Instant::now();
    let mut payload = Vec::new();
    for number in 0..count {
        row(&mut payload, from + number, number);
        wire.publish(topic, &payload, qos, number);
        stamp.send(Instant::now()).unwrap();
        wire.flush();
        let due = Duration::from_nanos((number + 1) * 1_000_000_000 / rate);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    let mut took = reader.join().unwrap();
    took.sort_unstable();
    println!("{took:?}");
}

/// The upstream broker at the end of a long line, for one client: acknowledges each QoS 1 message `--delay-ms` after it
/// came. Ends when no batch has come for `--quiet-ms`; says how many came, how large, and from the first to the last.
fn sink(options: &Options) {
    let listener = TcpListener::bind(("127.0.0.1", u16::try_from(options.number("port")).unwrap())).unwrap();
    let delay = Duration::from_millis(options.number("delay-ms"));
    println!("ready");
    let stream = listener.accept().unwrap().0;
    stream.set_nodelay(true).unwrap();
    let mut answers = stream.try_clone().unwrap();
    let (answer, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (at, packet) in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if answers.write_all(&packet).is_err() {
                return;
            }
        }
    });
    let quiet = Duration::from_millis(options.number("quiet-ms"));
    let (batch, batches) = mpsc::channel();
    std::thread::spawn(move || {
        let mut packets = std::io::BufReader::with_capacity(1 << 16, stream.try_clone().unwrap());
        while packets.fill_buf().is_ok_and(|there| !there.is_empty()) {
            let (kind, body) = read_packet(&mut packets);
            let at = Instant::now();
            let reply = match kind >> 4 {
                1 => vec![0x20, 2, 0, 0],
                8 => vec![0x90, 3, body[0], body[1], 1],
                12 => vec![0xd0, 0],
                3 => {
                    let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    if body[2..end].windows(4).any(|part| part == b"/up/") {
                        batch.send((at, body.len() - end)).unwrap();
                    }
                    if kind & 6 == 0 {
                        continue;
                    }
                    vec![0x40, 2, body[end], body[end + 1]]
                }
                _ => continue,
            };
            answer.send((at + delay, reply)).unwrap();
        }
    });
    let (first, size) = batches.recv().unwrap();
    let (mut last, mut count, mut bytes) = (first, 1, size);
    while let Ok((at, size)) = batches.recv_timeout(quiet) {
        (last, count, bytes) = (at, count + 1, bytes + size);
    }
    let seconds = last.duration_since(first).as_secs_f64();
    println!("{{\"batches\":{count},\"bytes\":{bytes},\"seconds\":{seconds:.4}}}");
}

/// Publishes `--count` messages of `--bytes` each as fast as a window of `--window` unacknowledged ones allows.
fn publish(options: &Options) {
    let (count, bytes, window) = (options.number("count"), options.number("bytes"), options.number("window"));
    let mut wire = Wire::connect(options.number("port"), "publisher");
    let mut acks = std::io::BufReader::new(wire.stream.try_clone().unwrap());
    let payload = vec![7; usize::try_from(bytes).unwrap()];
    let mut under_way = 0;
    for number in 0..count {
        if under_way == window {
            wire.flush();
            read_packet(&mut acks);
            under_way -= 1;
        }
        wire.publish("tidegate/lab/bench/up/normal", &payload, 1, number);
        under_way += 1;
    }
    wire.flush();
    for _ in 0..under_way {
        read_packet(&mut acks);
    }
}
