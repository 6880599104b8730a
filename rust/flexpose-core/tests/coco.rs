//! The COCO reader against a slow twin on serde, on files that are nearly right.

mod twin;

use proptest::prelude::*;
use proptest::sample::{select, Index};

/// Small files that are read, the seeds of the fuzz target as well.
const SEEDS: [&str; 4] = [
    include_str!("../../fuzz/seeds/coco_json/compact.json"),
    include_str!("../../fuzz/seeds/coco_json/joints_without_names.json"),
    include_str!("../../fuzz/seeds/coco_json/wide.json"),
    include_str!("../../fuzz/seeds/coco_json/no_poses.json"),
];

/// Pieces of JSON and of what is nearly JSON.
const PIECES: [&[u8]; 52] = [
    b"0",
    b"1",
    b"2",
    b"-0",
    b"-1",
    b"1.5",
    b"2.0",
    b"1e2",
    b"1e400",
    b"-1e-400",
    b"1E+3",
    b"1e39",
    b"NaN",
    b"-Infinity",
    b"null",
    b"true",
    b"false",
    b"\"",
    b"\\",
    b"\\u00e9",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b" ",
    b"\n",
    b"\t",
    b"\"id\":",
    b"\"keypoints\":[1,2,2],",
    b"[1,2,1]",
    b"\"image_id\":7,",
    b"\"action\":\"x\",",
    b"\"label\":",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1e7",
    b"10000001",
    b"16777217",
    b"0.1000000014901161193847656250001",
    b"01",
    b"1.",
    b".5",
    b"\xff",
    b"\xc3\xa9",
    b"{}",
    b"[]",
    b"{\"images\":",
    b"1.00000005960464477539062500000001",
];

#[derive(Clone, Debug)]
enum Change {
    Byte(u8),
    Insert(&'static [u8]),
    /// Put a piece in the place of the value that comes next.
    Value(&'static [u8]),
    Cut(usize),
    Copy(Index, usize),
    End,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => any::<u8>().prop_map(Change::Byte),
        3 => select(&PIECES[..]).prop_map(Change::Insert),
        6 => select(&PIECES[..]).prop_map(Change::Value),
        2 => (1usize..40).prop_map(Change::Cut),
        2 => (any::<Index>(), 1usize..80).prop_map(|(from, length)| Change::Copy(from, length)),
        1 => Just(Change::End),
    ]
}

fn apply(bytes: &mut Vec<u8>, at: Index, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    let end = |from: usize, length: usize| (from + length).min(bytes.len());
    match change {
        Change::Byte(byte) => bytes[at] = *byte,
        Change::Insert(piece) => drop(bytes.splice(at..at, piece.iter().copied())),
        Change::Value(piece) => {
            let starts = |byte: &u8| matches!(byte, b',' | b':' | b'[');
            let start = bytes[at..].iter().position(starts).map_or(at, |gap| at + gap + 1);
            let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}');
            let length = bytes[start..].iter().position(ends).unwrap_or(0);
            drop(bytes.splice(start..start + length, piece.iter().copied()));
        }
        Change::Cut(length) => drop(bytes.drain(at..end(at, *length))),
        Change::Copy(from, length) => {
            let from = from.index(bytes.len());
            let part = bytes[from..end(from, *length)].to_vec();
            drop(bytes.splice(at..at, part));
        }
        Change::End => bytes.truncate(at),
    }
}

#[test]
fn the_seeds_are_read() {
    for seed in SEEDS {
        flexpose_core::coco::read(seed.as_bytes(), &flexpose_core::coco::Options::default()).unwrap();
        twin::check(seed.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_twin(
        seed in select(&SEEDS[..]),
        changes in prop::collection::vec((any::<Index>(), change()), 1..5),
    ) {
        let mut bytes = seed.as_bytes().to_vec();
        for (at, change) in &changes {
            apply(&mut bytes, *at, change);
        }
        twin::check(&bytes);
    }
}

/// 3,000 files, or as many as `PROPTEST_CASES` says.
fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES");
    wanted.ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000)
}
