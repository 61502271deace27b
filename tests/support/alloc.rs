//! Global allocator that counts the allocated bytes of each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    let current = CURRENT.get() + bytes;
    CURRENT.set(current);
    PEAK.set(PEAK.get().max(current));
}

// SAFETY: all calls are forwarded to `System`. Counting does not allocate, because the thread-local cells have no
// destructor to register. The default `realloc` allocates the new block before it frees the old one, so the peak
// includes both blocks.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `at` was allocated by `System.alloc` with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

pub fn current() -> isize {
    CURRENT.get()
}

pub fn reset_peak() -> isize {
    PEAK.set(current());
    current()
}

/// Returns the maximum of [`current`] since the last [`reset_peak`].
pub fn peak() -> isize {
    PEAK.get()
}
