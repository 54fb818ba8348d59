//! The windower needs no memory per sample once it has seen one round of windows.

use std::time::Duration;

use tidegate::clock::{ClockQuality, EventTime, Uptime, UtcTime};
use tidegate::flow::{AssetId, Quality, Sample, SampleBatch, SignalId, StreamId};
use tidegate::window::{FUTURE_MAX, IDLE, Length, WindowConfig, Windower};

const CHANNELS: u16 = 8;
const ASSETS: u32 = 5;
const SECOND: i64 = 1_000_000;

fn config(length: Length) -> WindowConfig {
    WindowConfig {
        stream: StreamId(0),
        channels: CHANNELS,
        length,
        lateness: Duration::from_secs(2),
        idle: IDLE,
        future_max: FUTURE_MAX,
        period: None,
        samples_max: 4_096,
    }
}

/// One row of each asset per second, every third swapped with its neighbour; windows go back when taken.
fn feed(windower: &mut Windower, batch: &mut SampleBatch, seconds: std::ops::Range<u32>) -> u64 {
    let mut windows = 0;
    for second in seconds {
        let received = Uptime(u64::from(second) * 1_000_000_000);
        let at = match second % 3 {
            1 => second + 1,
            2 => second - 1,
            _ => second,
        };
        for asset in 0..ASSETS {
            batch.asset = AssetId(asset);
            batch.received = received;
            for sample in &mut batch.samples {
                sample.at = EventTime(i64::from(at) * SECOND);
            }
            windower.push(batch, UtcTime { micros: 0, quality: ClockQuality::Unset });
            windower.close_due(batch.received);
            while let Some(window) = windower.pop() {
                windows += 1;
                windower.recycle(window);
            }
        }
    }
    windows
}

#[test]
fn steady_state_allocates_nothing() {
    let lengths = [
        ("tumbling", Length::Time { length: Duration::from_mins(1), hop: Duration::from_mins(1) }),
        ("hopping", Length::Time { length: Duration::from_mins(1), hop: Duration::from_secs(10) }),
        ("rows", Length::Count { samples: 64, hop: 32 }),
    ];
    for (name, length) in lengths {
        let mut windower = Windower::new(config(length));
        let sample = |signal| Sample {
            signal: SignalId(signal),
            at: EventTime(0),
            value: 1.5,
            quality: Quality::Good,
        };
        let mut batch = SampleBatch {
            stream: StreamId(0),
            asset: AssetId(0),
            received: Uptime::ZERO,
            samples: (0..CHANNELS).map(sample).collect(),
        };
        feed(&mut windower, &mut batch, 0..300);
        let mut windows = 0;
        let used = allocation_counter::measure(|| windows = feed(&mut windower, &mut batch, 300..1_500));
        assert!(windows > 50, "{name}: {windows} windows");
        assert_eq!(used.count_total, 0, "{name}: {} bytes for {windows} windows", used.bytes_total);
        assert!(windower.counts().reordered > 1_000, "{name}");
        assert!(windower.tally().balances(windower.held()), "{name}");
    }
}
