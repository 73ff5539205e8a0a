#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| session::__fuzz::usage_line(data));
