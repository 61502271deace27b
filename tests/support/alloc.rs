//! Global allocator that counts the allocated bytes of each thread and of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Bytes allocated by all threads.
static PROCESS: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static CURRENT: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    PROCESS.fetch_add(bytes, Ordering::Relaxed);
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

/// Returns the bytes allocated by all threads. Memory can be freed by another thread than the one that allocated it.
pub fn process() -> isize {
    PROCESS.load(Ordering::Relaxed)
}

pub fn reset_peak() -> isize {
    PEAK.set(current());
    current()
}

/// Returns the maximum of [`current`] since the last [`reset_peak`].
pub fn peak() -> isize {
    PEAK.get()
}
