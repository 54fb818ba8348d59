//! Counts what the heap is taken for: bytes by account, and what a piece of work kept and took at its peak.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: tidegate_alloc::Counting = tidegate_alloc::Counting;
//!
//! const WINDOWS: tidegate_alloc::Account = tidegate_alloc::Account::new(1);
//!
//! let held = {
//!     let _windows = tidegate_alloc::enter(WINDOWS);
//!     vec![0_u8; 4096]
//! };
//! assert_eq!(tidegate_alloc::live(WINDOWS), 4096);
//! drop(held);
//! assert_eq!((tidegate_alloc::live(WINDOWS), tidegate_alloc::peak(WINDOWS)), (0, 4096));
//! ```
//!
//! # Invariants
//! * An allocation is booked to the account its thread had entered, and booked back to that account when it is freed, on
//!   whichever thread: the sum over all accounts is what the program holds.
//! * Nothing here allocates, blocks or panics.
//!
//! # Never
//! Refuses an allocation: limits are kept where data is taken in, by name and counted, not here.

mod account;
mod books;
mod counting;

pub use account::{ACCOUNTS, Account, Entered, Measured, enter, measure};
pub use books::{is_installed, live, live_total, peak};
pub use counting::Counting;
