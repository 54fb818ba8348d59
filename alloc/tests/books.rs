//! The allocator is installed here: do the books say what the program holds?

#![expect(clippy::multiple_unsafe_ops_per_block, reason = "one life of a block is read in one piece")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::mpsc;
use std::thread;

use tidegate_alloc::{Account, Counting, Measured, enter, live, live_total, measure, peak};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A vector of this many bytes, booked to an account.
fn taken(account: Account, bytes: usize) -> Vec<u8> {
    let _entered = enter(account);
    Vec::with_capacity(bytes)
}

#[test]
fn what_another_thread_frees_is_booked_back_to_where_it_was_taken_for() {
    const FROM: Account = Account::new(1);
    const AT_WORK: Account = Account::new(2);
    let block = taken(FROM, 1 << 20);
    assert_eq!(live(FROM), 1 << 20);
    thread::spawn(move || {
        let _entered = enter(AT_WORK);
        drop(block);
    })
    .join()
    .unwrap();
    assert_eq!((live(FROM), live(AT_WORK)), (0, 0));
    assert_eq!((peak(FROM), peak(AT_WORK)), (1 << 20, 0));
}

#[test]
fn what_grows_or_shrinks_elsewhere_stays_with_its_account() {
    const OWNER: Account = Account::new(3);
    const GUEST: Account = Account::new(4);
    let mut block = taken(OWNER, 1_000);
    {
        let _guest = enter(GUEST);
        block.reserve_exact(100_000);
        assert_eq!((live(OWNER), live(GUEST)), (100_000, 0));
        block.extend_from_slice(&[7; 10]);
        block.shrink_to_fit();
    }
    assert_eq!((live(OWNER), live(GUEST)), (10, 0));
    assert_eq!(block, [7; 10]);
}

#[test]
fn accounts_nest_and_are_left_when_work_panics() {
    const OUTER: Account = Account::new(5);
    const INNER: Account = Account::new(6);
    let _outer = enter(OUTER);
    let inner = taken(INNER, 300);
    let caught = std::panic::catch_unwind(|| {
        let _inner = enter(INNER);
        std::panic::resume_unwind(Box::new(0_u8));
    });
    drop(caught);
    let outer = Vec::<u8>::with_capacity(200);
    assert_eq!((live(INNER), live(OUTER)), (inner.capacity(), outer.capacity()));
}

#[test]
fn every_alignment_and_size_comes_and_goes_whole() {
    const ODD: Account = Account::new(7);
    let _entered = enter(ODD);
    for align in (0..=12).map(|power| 1_usize << power) {
        for size in [1_usize, 7, 8, 15, 16, 17, 4_095, 4_096, 131_072, 1 << 20] {
            let layout = Layout::from_size_align(size, align).unwrap();
            let longer = Layout::from_size_align(size * 3, align).unwrap();
            // SAFETY: layouts are not empty; the block is written within its size and freed in its last layout.
            unsafe {
                let block = Counting.alloc_zeroed(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                assert!(std::slice::from_raw_parts(block, size).iter().all(|byte| *byte == 0));
                block.write_bytes(0xA5, size);
                assert_eq!(live(ODD), size);
                let block = Counting.realloc(block, layout, size * 3);
                assert!(block.addr().is_multiple_of(align));
                assert!(std::slice::from_raw_parts(block, size).iter().all(|byte| *byte == 0xA5));
                assert_eq!(live(ODD), size * 3);
                Counting.dealloc(block, longer);
            }
            assert_eq!(live(ODD), 0, "{size} bytes aligned to {align}");
        }
    }
}

#[test]
fn an_allocation_that_cannot_be_is_refused_and_not_booked() {
    const HUGE: Account = Account::new(8);
    let _entered = enter(HUGE);
    let mut bytes = Vec::<u8>::new();
    assert!(bytes.try_reserve_exact(isize::MAX.unsigned_abs()).is_err());
    assert!(bytes.try_reserve_exact(isize::MAX.unsigned_abs() - 1).is_err());
    assert_eq!(live(HUGE), 0);
}

#[test]
fn work_is_measured_by_what_it_keeps_and_by_its_peak() {
    let (kept, measured) = measure(|| {
        drop(vec![0_u8; 10_000]);
        vec![0_u8; 3_000]
    });
    assert_eq!((kept.len(), measured), (3_000, Measured { kept: 3_000, peak: 10_000 }));
    let ((), measured) = measure(|| drop(kept));
    assert_eq!(measured, Measured::default(), "work that gives back keeps nothing");
    let (inner, outer) = measure(|| {
        drop(vec![0_u8; 5_000]);
        let ((), inner) = measure(|| drop(vec![0_u8; 700]));
        inner
    });
    assert_eq!(
        (inner.peak, outer.peak),
        (700, 5_000),
        "an inner measurement takes nothing from the outer one"
    );
}

#[test]
fn a_measurement_sees_its_own_thread_only() {
    let (go, gone) = mpsc::channel::<()>();
    let (done, seen) = mpsc::channel();
    let other = thread::spawn(move || {
        gone.recv().unwrap();
        done.send(vec![0_u8; 1 << 16]).unwrap();
    });
    let (block, measured) = measure(|| {
        go.send(()).unwrap();
        seen.recv().unwrap()
    });
    other.join().unwrap();
    assert_eq!(block.len(), 1 << 16);
    assert!(measured.peak < 1 << 16, "{measured:?}");
}

#[test]
fn many_threads_that_hand_blocks_round_leave_the_books_even() {
    const ROUND: [Account; 4] = [Account::new(9), Account::new(10), Account::new(11), Account::new(12)];
    let (mut hands, waiting): (Vec<_>, Vec<_>) = ROUND.iter().map(|_| mpsc::channel::<Vec<u8>>()).unzip();
    hands.rotate_left(1);
    let threads: Vec<_> = ROUND
        .into_iter()
        .zip(hands.into_iter().zip(waiting))
        .map(|(account, (next, waiting))| {
            thread::spawn(move || {
                for round in 1..5_000_usize {
                    let mut block = taken(account, round % 977 + 1);
                    block.push(1);
                    drop(next.send(block));
                    let mut other = waiting.recv().unwrap();
                    other.reserve_exact(round % 13 * 100);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for account in ROUND {
        assert_eq!(live(account), 0, "{account:?}");
        assert!(peak(account) > 0);
    }
    assert!(live_total() > 0 && tidegate_alloc::is_installed());
}
