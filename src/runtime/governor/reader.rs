//! The gauges on a thread of their own: a driver that hangs holds up nothing but itself.

use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Uptime;
use crate::governor::Readings;
use crate::runtime::retry::best_effort;
use crate::runtime::threads::thread;

/// Longest wait for the gauges: half a turn. Reading all files of a board takes a few milliseconds.
const BACK_WITHIN: Duration = Duration::from_millis(500);

/// What the gauges said.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime::governor) struct Seen {
    pub(in crate::runtime::governor) readings: Readings,
    /// The system says that its time is known.
    pub(in crate::runtime::governor) time_is_known: bool,
}

/// Asks the thread.
pub(in crate::runtime::governor) struct GaugeReader {
    /// One place: a thread that hangs is asked once.
    questions: mpsc::Sender<(Uptime, oneshot::Sender<Seen>)>,
    /// The question that has not been answered yet.
    open: Option<oneshot::Receiver<Seen>>,
    /// What was known last.
    last: Seen,
}

impl GaugeReader {
    /// Starts the thread. What it reads stands for lost whenever it is not back in time.
    pub(in crate::runtime::governor) fn start(
        first: Seen,
        mut read: impl FnMut(Uptime) -> Seen + Send + 'static,
    ) -> std::io::Result<Self> {
        let (questions, mut asked) = mpsc::channel::<(Uptime, oneshot::Sender<Seen>)>(1);
        let end = thread("tg-gauges", async move {
            while let Some((at, answer)) = asked.recv().await {
                // Whoever asked may have given up.
                best_effort(answer.send(read(at)));
            }
        })?;
        // Nobody waits for its end: it may hang.
        drop::<oneshot::Receiver<()>>(end);
        Ok(Self { questions, open: None, last: first })
    }

    /// What is measured now. Not back in time is lost, never cool: no temperature, the rest of the gauges as it was.
    pub(in crate::runtime::governor) async fn read(&mut self, at: Uptime) -> Seen {
        if let Some(seen) = self.ask(at).await {
            self.last = seen;
        } else {
            let known = self.last.readings;
            self.last.readings =
                Readings { at, temperature: None, clock: None, busy: None, flags_lost: true, ..known };
        }
        self.last
    }

    async fn ask(&mut self, at: Uptime) -> Option<Seen> {
        // What comes a turn late is of the past, and a thread that hangs is not asked again.
        if let Some(TryRecvError::Empty) = self.open.as_mut().and_then(|back| back.try_recv().err()) {
            return None;
        }
        let (answer, back) = oneshot::channel();
        self.questions.try_send((at, answer)).ok()?;
        let back = self.open.insert(back);
        let seen = tokio::time::timeout(BACK_WITHIN, back).await.ok()?;
        self.open = None;
        seen.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Celsius;

    fn seen(at: Uptime) -> Seen {
        let readings = Readings { at, temperature: Some(Celsius(50.0)), ..Readings::default() };
        Seen { readings, time_is_known: true }
    }

    #[tokio::test]
    async fn a_driver_that_hangs_is_a_lost_reading_and_is_read_again_when_it_comes_back() {
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (entered, mut inside) = mpsc::channel(8);
        let hangs = move |at: Uptime| {
            entered.try_send(()).unwrap();
            if at.0 == 2 {
                gate.recv().unwrap();
            }
            seen(at)
        };
        let mut reader = GaugeReader::start(seen(Uptime::ZERO), hangs).unwrap();
        let temperature = |seen: Seen| seen.readings.temperature;
        assert_eq!(temperature(reader.read(Uptime(1)).await), Some(Celsius(50.0)));
        inside.recv().await.unwrap();
        for at in [2, 3, 4] {
            let lost = reader.read(Uptime(at)).await.readings;
            assert_eq!((lost.at, lost.temperature, lost.flags_lost), (Uptime(at), None, true));
        }
        inside.recv().await.unwrap();
        go.send(()).unwrap();
        // The late answer is thrown away; the question after it is answered.
        let mut turns = (5..).map(Uptime);
        loop {
            let at = turns.next().unwrap();
            let back = reader.read(at).await.readings;
            if back.temperature.is_some() {
                assert_eq!(back.at, at, "what is said late is of the past");
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
