//! Creates futures directly on the heap.

use std::pin::Pin;

/// Creates a future inside its box. `Box::pin` takes a future and copies it, and fred's have 7 KB,
/// most of them for rare cases.
pub fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let space = Box::new_uninit();
    Box::into_pin(Box::write(space, make()))
}
