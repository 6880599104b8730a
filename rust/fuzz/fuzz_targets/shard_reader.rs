//! Any bytes to the readers of tar and keypoint shards, of plans, and to the check of PNG files.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../flexpose-core/tests/shard_bytes/mod.rs"]
mod shard_bytes;

fuzz_target!(|bytes: &[u8]| shard_bytes::check(bytes));
