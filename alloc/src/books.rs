//! The books: bytes held by account, shared by all threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::account::{ACCOUNTS, Account};

/// One account, on a cache line of its own: threads that work for different accounts do not slow one another.
#[repr(align(64))]
struct Book {
    live: AtomicUsize,
    peak: AtomicUsize,
}

static BOOKS: [Book; ACCOUNTS as usize] =
    [const { Book { live: AtomicUsize::new(0), peak: AtomicUsize::new(0) } }; ACCOUNTS as usize];

pub(crate) fn take(account: Account, bytes: usize) {
    let Some(book) = BOOKS.get(account.index()) else { return };
    let live = book.live.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    // Mostly no new peak: a look is cheaper than an exchange.
    if live > book.peak.load(Ordering::Relaxed) {
        book.peak.fetch_max(live, Ordering::Relaxed);
    }
}

pub(crate) fn give_back(account: Account, bytes: usize) {
    if let Some(book) = BOOKS.get(account.index()) {
        book.live.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes an account holds now; 0 where the allocator is not installed.
pub fn live(account: Account) -> usize {
    BOOKS.get(account.index()).map_or(0, |book| book.live.load(Ordering::Relaxed))
}

/// The most bytes an account has held at once.
pub fn peak(account: Account) -> usize {
    BOOKS.get(account.index()).map_or(0, |book| book.peak.load(Ordering::Relaxed))
}

/// Bytes held by all accounts. Read one by one: exact while no thread allocates.
pub fn live_total() -> usize {
    BOOKS.iter().map(|book| book.live.load(Ordering::Relaxed)).sum()
}

/// Whether [`Counting`](crate::Counting) is the program's allocator. Every program has allocated before `main`.
pub fn is_installed() -> bool {
    peak(Account::OTHER) > 0
}
