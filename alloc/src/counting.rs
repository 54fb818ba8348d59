//! The system's allocator with one byte more per allocation, which names its account. All `unsafe` there is.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::account::{Account, gave_back, resized, took};

/// The allocator to install with `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// Bytes behind each allocation: the number of its account.
const TRAILER: usize = 1;

/// The layout asked of the system; `None` if that would be longer than any layout may be.
fn longer(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(TRAILER)?;
    Layout::from_size_align(size, layout.align()).ok()
}

// SAFETY: every block comes from `System` in a layout of the same alignment and `TRAILER` bytes more, and goes back to
// it in the same one: `longer` is a function of the layout alone, which the contract says is the same at both ends. What
// the caller may use lies before the trailer and is never touched here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = longer(layout) else { return std::ptr::null_mut() };
        // SAFETY: `whole` has at least `TRAILER` bytes.
        let block = unsafe { System.alloc(whole) };
        if !block.is_null() {
            // SAFETY: fresh, `layout.size() + TRAILER` bytes long.
            unsafe { sign(block, layout.size(), took(layout.size())) };
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = longer(layout) else { return std::ptr::null_mut() };
        // SAFETY: as in `alloc`. The system's own zeroes cost nothing for large blocks: pages come zeroed.
        let block = unsafe { System.alloc_zeroed(whole) };
        if !block.is_null() {
            // SAFETY: as in `alloc`.
            unsafe { sign(block, layout.size(), took(layout.size())) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // A block of a layout that could not be made longer was never given out.
        let Some(whole) = longer(layout) else { return };
        // SAFETY: given out by this allocator in this layout, so the trailer is there and signed.
        let account = unsafe { signed(block, layout.size()) };
        gave_back(account, layout.size());
        // SAFETY: it came from the system in this layout.
        unsafe { System.dealloc(block, whole) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let resized_to = Layout::from_size_align(size, layout.align()).ok().and_then(longer);
        let (Some(whole), Some(to)) = (longer(layout), resized_to) else { return std::ptr::null_mut() };
        // SAFETY: as in `dealloc`. Read before: the system may move the block and cut its end.
        let account = unsafe { signed(block, layout.size()) };
        // SAFETY: it came from the system in the layout `whole`; `to` is not empty and its size a valid one.
        let moved = unsafe { System.realloc(block, whole, to.size()) };
        if !moved.is_null() {
            resized(account, layout.size(), size);
            // SAFETY: `size + TRAILER` bytes long.
            unsafe { sign(moved, size, account) };
        }
        moved
    }
}

/// Writes the account behind the first `size` bytes.
///
/// # Safety
/// The block is valid for writes of `size + TRAILER` bytes.
unsafe fn sign(block: *mut u8, size: usize, account: Account) {
    // SAFETY: within the block, as the caller vouches.
    let trailer = unsafe { block.add(size) };
    // SAFETY: likewise; a byte has no alignment.
    unsafe { trailer.write(account.number()) };
}

/// Reads the account behind the first `size` bytes.
///
/// # Safety
/// The block is valid for reads of `size + TRAILER` bytes and was signed at this size.
unsafe fn signed(block: *mut u8, size: usize) -> Account {
    // SAFETY: within the block, as the caller vouches.
    let trailer = unsafe { block.add(size) };
    // SAFETY: likewise, and initialised by `sign`.
    Account::new(unsafe { trailer.read() })
}
