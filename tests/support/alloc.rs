//! How much memory a thread holds. Whoever has this module has its allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread holds, so that tests do not count one another's.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    MOST_HELD.set(MOST_HELD.get().max(held));
}

// SAFETY: the system's allocator does the work. Counting allocates nothing: the cells need no destructor, and
// so no registration either. `realloc` is the trait's own: a new allocation, a copy, and then the release.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: what holds for this call holds for that one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above; it came from `System.alloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The bytes that this thread holds: what it has allocated without what it has freed.
pub fn now() -> isize {
    HELD.get()
}

/// Begins to look for the most, and says what is held at that moment.
pub fn begin() -> isize {
    MOST_HELD.set(now());
    now()
}

/// The most since the latest [`begin`].
pub fn most() -> isize {
    MOST_HELD.get()
}
