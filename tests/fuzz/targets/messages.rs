//! Whatever a caller sends once its association stands.
#![no_main]

#[path = "../serve.rs"]
#[allow(dead_code)]
mod serve;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut all = serve::opening();
    all.extend_from_slice(bytes);
    serve::serve(&all);
});
