//! Memory that waits for the next step instead of going back to the system: getting a page anew costs clearing it.

use crate::buffer::release_scratch;
use libmimalloc_sys::{mi_collect, mi_option_get, mi_option_set, mi_option_t};
use std::ffi::c_long;
use std::sync::{Mutex, PoisonError};

/// mimalloc's `mi_option_purge_delay`: the milliseconds after which freed memory goes back.
const PURGE_DELAY: mi_option_t = 15;
/// Longer than any step takes.
const KEPT_MILLIS: c_long = 600_000;

/// How many hold memory, and the delay that was set before the first did.
static HOLDERS: Mutex<(usize, c_long)> = Mutex::new((0, 0));

/// Held while a model is used again and again: what operations free is kept for the next ones. When the last is dropped, all
/// of it goes back. A program whose allocator is not mimalloc keeps the inside of operations alone.
pub struct KeptMemory(());

impl KeptMemory {
    /// Begins to keep.
    #[expect(clippy::new_without_default, reason = "it changes the process")]
    pub fn new() -> KeptMemory {
        let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.0 == 0 {
            // Safety: the option is one of mimalloc's; it may be changed at any time.
            unsafe {
                holders.1 = mi_option_get(PURGE_DELAY);
                mi_option_set(PURGE_DELAY, KEPT_MILLIS);
            }
        }
        holders.0 += 1;
        KeptMemory(())
    }
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        holders.0 -= 1;
        if holders.0 == 0 {
            release_scratch();
            // Safety: as above.
            unsafe { mi_option_set(PURGE_DELAY, holders.1) };
            // Each thread has memory of its own. Safety: what is in use stays.
            rayon::broadcast(|_| unsafe { mi_collect(true) });
            // Safety: as above.
            unsafe { mi_collect(true) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_what_it_was_when_the_last_holder_is_gone() {
        // Safety: reading an option changes nothing.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        let before = delay();
        assert!((0..KEPT_MILLIS).contains(&before), "{before} ms: is this still the option that it was?");
        let (first, second) = (KeptMemory::new(), KeptMemory::new());
        drop(first);
        assert_eq!(delay(), KEPT_MILLIS);
        drop(second);
        assert_eq!(delay(), before);
    }
}
