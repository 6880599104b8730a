//! Any picture, in any bands and with any spans, comes back out of its PNG file.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../flexpose-core/tests/round_trip/mod.rs"]
mod round_trip;

fuzz_target!(|bytes: &[u8]| round_trip::check(bytes));
