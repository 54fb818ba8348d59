//! The books by example: days, grants, clocks.

use super::*;
use crate::clock::{ClockQuality, UtcTime};
use crate::forward::note::Note;
use crate::units::Ratio;

const DAILY: u64 = 1_000_000;
const HOUR: u64 = 3_600;

/// So many seconds after the start, on a day.
fn at(seconds: u64, day: i64) -> Moment {
    let micros = day * 86_400_000_000 + 3_600_000_000;
    Moment { up: Uptime(seconds * 1_000_000_000), utc: UtcTime { micros, quality: ClockQuality::Synced } }
}

fn unset(seconds: u64) -> Moment {
    let utc = UtcTime { micros: 5, quality: ClockQuality::Unset };
    Moment { utc, ..at(seconds, 0) }
}

fn books() -> Ledger {
    resumed(&Note::default().granted)
}

fn resumed(granted: &Granted) -> Ledger {
    let config = ForwardConfig {
        daily: Some(Bytes(DAILY)),
        alarm_reserve: Ratio::of(1, 10),
        ..ForwardConfig::default()
    };
    Ledger::new(&config, granted)
}

/// Pays in batches of a thousandth of the day.
fn pay(books: &mut Ledger, share: Share, bytes: u64) -> bool {
    (0..bytes.div_ceil(DAILY / 1_000)).all(|_| pay_batch(books, share, bytes.min(DAILY / 1_000)))
}

/// Pays, with every grant written at once; whether it could.
fn pay_batch(books: &mut Ledger, share: Share, bytes: u64) -> bool {
    for _ in 0..3 {
        match books.afford(share, bytes, 0) {
            Afford::No => return false,
            Afford::Soon => {
                let granted = books.granted();
                books.grant(&granted);
            }
            Afford::Yes => {
                books.begin(bytes);
                let (sent, received) = books.seen;
                books.saw(sent + bytes, received);
                books.end(bytes);
                return true;
            }
        }
    }
    panic!("a grant does not help");
}

#[test]
fn the_last_tenth_of_a_day_belongs_to_alarms() {
    let mut books = books();
    books.turn(at(0, 7));
    assert!(pay(&mut books, Share::Ordinary, 900_000));
    assert!(!pay(&mut books, Share::Ordinary, 1));
    assert!(pay(&mut books, Share::Alarm, 100_000));
    assert!(!pay(&mut books, Share::Alarm, 1));
    books.turn(at(24 * HOUR, 8));
    assert_eq!(books.left(Share::Ordinary), 900_000, "a new day");
    assert_eq!(books.today(), (Bytes(0), Bytes(0)));
}

#[test]
fn nothing_is_paid_before_the_grant_is_written_and_a_restart_counts_all_of_it() {
    let mut books = books();
    books.turn(at(0, 7));
    assert_eq!(books.afford(Share::Ordinary, 1_000, 0), Afford::Soon);
    let note = books.granted();
    assert_eq!(books.afford(Share::Ordinary, 1_000, 0), Afford::Soon, "not written yet");
    books.grant(&note);
    assert_eq!(books.afford(Share::Ordinary, 1_000, 0), Afford::Yes);
    let mut again = resumed(&note);
    again.turn(at(0, 7));
    let used = DAILY - again.left(Share::Alarm);
    assert!((1_000..=1_000 + DAILY / GRANTS).contains(&used), "{used}");
}

#[test]
fn power_cuts_under_ordinary_traffic_leave_alarms_their_tenth() {
    let mut note = Note::default().granted;
    for _ in 0..200 {
        let mut books = resumed(&note);
        books.turn(at(0, 7));
        pay_batch(&mut books, Share::Ordinary, 1_000);
        // What was asked for ahead is written too before the power goes.
        note = books.granted();
    }
    let mut books = resumed(&note);
    books.turn(at(0, 7));
    assert_eq!(books.left(Share::Ordinary), 0);
    assert_eq!(books.left(Share::Alarm), DAILY / 10);
    assert!(pay(&mut books, Share::Alarm, DAILY / 10));
}

#[test]
fn what_is_under_way_at_midnight_counts_on_both_days() {
    let mut books = books();
    books.turn(at(0, 7));
    assert!(pay(&mut books, Share::Ordinary, 100));
    books.begin(3_000);
    books.turn(at(HOUR, 8));
    assert_eq!(books.left(Share::Alarm), DAILY - 3_000);
    books.saw(2_000, 0);
    books.end(3_000);
    books.turn(at(HOUR, 7));
    assert_eq!(DAILY - books.left(Share::Alarm), 3_100, "it may have passed before midnight");
    // And after a power cut over midnight a day begins with what may have been under way.
    let mut later = resumed(&books.granted());
    later.turn(at(0, 9));
    let used = DAILY - later.left(Share::Alarm);
    assert!((3_000..=20_000).contains(&used), "{used}");
}

#[test]
fn a_clock_stepped_over_midnight_and_back_buys_nothing() {
    let mut books = books();
    books.turn(at(1, 7));
    assert!(pay(&mut books, Share::Alarm, 800_000));
    books.turn(at(2, 8));
    assert!(pay(&mut books, Share::Alarm, 100_000));
    books.turn(at(3, 7));
    assert_eq!(books.left(Share::Alarm), 200_000);
    books.turn(at(4, 8));
    assert_eq!(books.left(Share::Alarm), 900_000);
}

#[test]
fn a_clock_that_finds_new_days_all_the_time_gets_two_budgets_a_day() {
    let mut books = books();
    let mut spent = 0;
    for second in 0..20 * HOUR {
        books.turn(at(second, i64::try_from(second).unwrap() + 7));
        while pay(&mut books, Share::Alarm, 50_000) {
            spent += 50_000;
        }
    }
    assert_eq!(spent, 2 * DAILY);
    books.turn(at(48 * HOUR, 1_000_000));
    assert_eq!(books.left(Share::Alarm), DAILY, "a real day later");
}

#[test]
fn bytes_of_an_unknown_date_count_for_the_day_that_is_found() {
    let mut books = books();
    books.turn(at(0, 7));
    assert!(pay(&mut books, Share::Alarm, 300_000));
    let note = books.granted();
    // A board without a clock starts in 1970, on the same day or the next.
    for (found, used) in [(7, 300_000), (8, 0)] {
        let mut again = resumed(&note);
        again.turn(unset(0));
        let already = DAILY - again.left(Share::Alarm);
        assert!(already >= 300_000, "it may be the same day");
        assert!(pay(&mut again, Share::Alarm, 200_000));
        let restarted = resumed(&again.granted());
        for mut books in [again, restarted] {
            books.turn(at(60, found));
            let now = DAILY - books.left(Share::Alarm);
            assert!((used + 200_000..=used + 200_000 + 70_000).contains(&now), "{found}: {now}");
        }
    }
}

#[test]
fn a_gateway_that_never_learns_the_date_still_has_days() {
    let mut books = books();
    let mut spent = 0;
    for hour in 0..24 * 30 {
        books.turn(unset(hour * HOUR));
        while pay(&mut books, Share::Alarm, 50_000) {
            spent += 50_000;
        }
    }
    assert_eq!(spent, 30 * DAILY);
}

#[test]
fn without_a_budget_bytes_are_only_counted() {
    let mut books = Ledger::new(&ForwardConfig::default(), &Note::default().granted);
    books.turn(at(0, 7));
    assert_eq!(books.afford(Share::Ordinary, u64::MAX, u64::MAX), Afford::Yes);
    books.saw(10, 20);
    assert_eq!((books.today(), books.asks()), ((Bytes(10), Bytes(20)), false));
}
