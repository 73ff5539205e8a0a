//! For tests: what a piece of code allocates at most, counted by the allocator itself.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Allocated by this thread since it began to measure, less what it gave back.
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it came; the counting beside it
// allocates nothing and touches only plain numbers of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while the bytes are copied.
        add(size);
        remove(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn add(size: usize) {
    let now = NOW.get().saturating_add(size);
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

fn remove(size: usize) {
    // What was allocated before the measuring began, or by another thread, counts for nothing.
    NOW.set(NOW.get().saturating_sub(size));
}

/// The most bytes that `code` had allocated at once, in this thread.
pub(crate) fn peak_of<T>(code: impl FnOnce() -> T) -> usize {
    NOW.set(0);
    PEAK.set(0);
    drop(code());
    PEAK.get()
}

#[test]
fn the_peak_is_counted_and_not_the_sum() {
    let peak = peak_of(|| {
        for _ in 0..100 {
            drop(Vec::<u8>::with_capacity(1000));
        }
        Vec::<u8>::with_capacity(5000)
    });
    assert!((5000..6000).contains(&peak), "{peak}");
}
