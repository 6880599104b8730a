//! Any bytes to the COCO reader: no panic, the outcome of the slow twin on serde, the same in pieces and leniently.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../flexpose-core/tests/twin/mod.rs"]
mod twin;

fuzz_target!(|bytes: &[u8]| twin::check(bytes));
