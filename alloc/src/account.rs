//! Accounts, and which one a thread works for at the moment.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::books;

/// Accounts there are.
pub const ACCOUNTS: u8 = 64;

/// What memory is taken for. The program gives the numbers their meaning; 0 is everything that has no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(u8);

impl Account {
    /// What was allocated outside any account.
    pub const OTHER: Self = Self(0);

    /// Account `number`; the last one stands for those beyond.
    pub const fn new(number: u8) -> Self {
        Self(if number < ACCOUNTS { number } else { ACCOUNTS - 1 })
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a piece of work did to the heap, as seen by its thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Bytes held afterwards beyond those held before.
    pub kept: u64,
    /// The most bytes held at once beyond those held before.
    pub peak: u64,
}

/// What this thread works for, and what it has taken and given back. Plain cells without destructors: they can be used
/// at any time of a thread's life without allocating.
struct Desk {
    account: Cell<Account>,
    live: Cell<isize>,
    peak: Cell<isize>,
}

impl Desk {
    fn add(&self, change: isize) {
        let live = self.live.get().wrapping_add(change);
        self.live.set(live);
        if live > self.peak.get() {
            self.peak.set(live);
        }
    }
}

thread_local! {
    static DESK: Desk =
        const { Desk { account: Cell::new(Account::OTHER), live: Cell::new(0), peak: Cell::new(0) } };
}

/// Until it is dropped, what this thread allocates is booked to an account.
#[must_use = "the account is left when this is dropped"]
pub struct Entered {
    before: Account,
    /// Belongs to the thread that entered.
    _thread: PhantomData<*const ()>,
}

/// Books what this thread allocates to an account until the guard is dropped. Can be nested. Not to be held across an
/// `await`: the thread would go on with another task.
pub fn enter(account: Account) -> Entered {
    let before = DESK.try_with(|desk| desk.account.replace(account)).unwrap_or(Account::OTHER);
    Entered { before, _thread: PhantomData }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Fails only while the thread ends: nobody books to it any more.
        DESK.try_with(|desk| desk.account.set(self.before)).unwrap_or_default();
    }
}

/// Runs a piece of work and says what it did to the heap: its own thread's allocations and frees, whatever their
/// account. All zero where [`Counting`](crate::Counting) is not the program's allocator. Can be nested.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    let frame = Frame::open();
    let result = work();
    let measured = frame.measured();
    (result, measured)
}

/// One call of [`measure`]: gives the peak back to the one around it, also when the work panics.
struct Frame {
    live: isize,
    peak: isize,
}

impl Frame {
    fn open() -> Self {
        let opened = DESK.try_with(|desk| {
            let live = desk.live.get();
            Self { live, peak: desk.peak.replace(live) }
        });
        opened.unwrap_or(Self { live: 0, peak: 0 })
    }

    fn measured(&self) -> Measured {
        let (live, peak) = DESK.try_with(|desk| (desk.live.get(), desk.peak.get())).unwrap_or_default();
        let beyond = |bytes: isize| u64::try_from(bytes.wrapping_sub(self.live)).unwrap_or(0);
        Measured { kept: beyond(live), peak: beyond(peak) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        DESK.try_with(|desk| desk.peak.set(desk.peak.get().max(self.peak))).unwrap_or_default();
    }
}

/// Books an allocation of this thread and returns its account.
pub(crate) fn took(bytes: usize) -> Account {
    let account = DESK.try_with(|desk| {
        desk.add(bytes.cast_signed());
        desk.account.get()
    });
    let account = account.unwrap_or(Account::OTHER);
    books::take(account, bytes);
    account
}

/// Books a free on this thread of what was taken for an account.
pub(crate) fn gave_back(account: Account, bytes: usize) {
    DESK.try_with(|desk| desk.add(bytes.cast_signed().wrapping_neg())).unwrap_or_default();
    books::give_back(account, bytes);
}

/// Books a change of size: the allocation stays with its account.
pub(crate) fn resized(account: Account, from: usize, to: usize) {
    let change = to.cast_signed().wrapping_sub(from.cast_signed());
    DESK.try_with(|desk| desk.add(change)).unwrap_or_default();
    if to > from {
        books::take(account, to - from);
    } else {
        books::give_back(account, from - to);
    }
}
