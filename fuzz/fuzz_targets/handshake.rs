#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| session::__fuzz::handshake(data));
