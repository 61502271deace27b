//! Counts allocations, when told to: a run that is timed pays one relaxed load for each.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static COUNTS: AtomicBool = AtomicBool::new(false);
static COUNTED: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    if COUNTS.load(Relaxed) {
        COUNTED.fetch_add(1, Relaxed);
    }
}

// SAFETY: the system's allocator does the work, and counting allocates nothing. A reallocation counts as an
// allocation: most move.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: what holds for this call holds for that one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above; it came from `System`.
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; it came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

pub fn start_to_count() {
    COUNTS.store(true, Relaxed);
}

/// Since it was told to count.
pub fn counted() -> u64 {
    COUNTED.load(Relaxed)
}
