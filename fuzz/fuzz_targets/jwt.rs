#![no_main]

#[path = "../../tests/fuzz/targets/jwt.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::check(data));
