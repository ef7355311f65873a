#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clawgate_support::fuzz_targets::dns(data));
