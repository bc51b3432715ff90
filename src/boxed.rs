//! Futures made where they stay.

use std::pin::Pin;

/// Makes a future in its box. `Box::pin` is given one and copies it, and fred's are 7 KB, most of it
/// for what seldom happens.
pub fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let space = Box::new_uninit();
    Box::into_pin(Box::write(space, make()))
}
