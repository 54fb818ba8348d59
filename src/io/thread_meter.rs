//! How much processor time a thread has been given, as another thread can read it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The kernel's account of the thread that opened it: nanoseconds on a processor, nanoseconds it waited for one, turns.
const ACCOUNT: &str = "/proc/thread-self/schedstat";

/// Reads the processor time of the thread that opened it, from any thread.
#[derive(Debug)]
pub struct ThreadMeter(File);

impl ThreadMeter {
    /// For the calling thread; `None` where the kernel keeps no such account.
    pub fn open() -> Option<Self> {
        let meter = Self(File::open(ACCOUNT).ok()?);
        meter.taken().map(|_| meter)
    }

    /// Processor time so far; `None` once the thread has ended.
    pub fn taken(&self) -> Option<Duration> {
        // Three numbers of at most twenty digits.
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        // A kernel that counts nothing shows zeros.
        let nanos = text.split(' ').next()?.parse().ok().filter(|nanos| *nanos > 0)?;
        Some(Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_account_of_a_thread_is_read_from_another_one_and_ends_with_it() {
        let (send, meters) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let clock = SystemClock::start();
            while clock.thread_time() < Duration::from_millis(50) {}
            send.send(ThreadMeter::open()).unwrap();
            ended.recv().unwrap();
        });
        let Some(meter) = meters.recv().unwrap() else {
            println!("SKIPPED: this kernel keeps no account of threads");
            end.send(()).unwrap();
            return thread.join().unwrap();
        };
        assert!(meter.taken().unwrap() >= Duration::from_millis(40), "{:?}", meter.taken());
        end.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(meter.taken(), None);
    }
}
