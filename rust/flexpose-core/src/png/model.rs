//! Codes for drawings that are known before the drawing is.
//!
//! The counts are those of 512 people from COCO, drawn as `coco17` with the standard pen at 64, 128 and 256 px; each
//! size has the same weight. Of the colours only that they fade to black is taken, so no palette is preferred. Codes
//! fitted to each picture make files that are 2 to 3 % smaller, in half again to twice the time.

use super::coding::Coding;
use super::tokens::{distance_symbol, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LAST_LENGTH, LITERALS, SYMBOLS};

/// In 10,000 symbols.
const ZEROS: u32 = 767;
/// Of 16 literals each: faded colours are mostly dark.
const LITERAL_SHARES: [u32; 16] = [84, 62, 39, 35, 31, 31, 31, 31, 25, 25, 22, 19, 16, 16, 16, 19];
const ENDS: u32 = 4;
const LENGTHS: [u32; LAST_LENGTH - FIRST_LENGTH + 1] = [
    8, 1, 23, 170, 1, 21, 15, 1, 32, 20, 10, 25, 23, 33, 25, 18, 47, 35, 32, 34, 58, 47, 47, 42, 106, 58, 22,
    32, 459,
];

/// Codes for drawings on black whose rows take `stride` bytes of the stream.
pub fn for_drawings(stride: usize) -> Coding {
    let mut symbols = [0; SYMBOLS];
    for (literals, share) in symbols[..LITERALS].chunks_exact_mut(16).zip(LITERAL_SHARES) {
        literals.fill(share);
    }
    symbols[0] = ZEROS;
    symbols[END_OF_BLOCK] = ENDS;
    symbols[FIRST_LENGTH..=LAST_LENGTH].copy_from_slice(&LENGTHS);

    // In 1,000: black, the pixel to the left, pixels around the one above, and those of some rows ago.
    let mut distances = [1; DISTANCES];
    distances[0] = 770;
    distances[2] = 36;
    let above = |offset: usize| distance_symbol((stride + offset).saturating_sub(3).clamp(1, 1 << 15) as u32);
    for offset in [0, 3, 6] {
        distances[above(offset)] += 38;
    }
    for far in &mut distances[above(6) + 1..] {
        *far += 8;
    }
    Coding::fitted(&symbols, &distances)
}
