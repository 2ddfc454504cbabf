//! Whatever a caller sends from its first byte.
#![no_main]

#[path = "../serve.rs"]
#[allow(dead_code)]
mod serve;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    serve::serve(bytes);
});
