//! The memory that operations keep for each other.

use assay_kernels::release_memory;

/// Held while a model is used again and again; what was kept is given back when it is dropped.
pub(crate) struct Memory;

impl Drop for Memory {
    fn drop(&mut self) {
        release_memory();
    }
}
