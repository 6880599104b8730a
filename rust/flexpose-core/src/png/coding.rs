//! The codes of a block: how they are chosen and described (RFC 1951, 3.2.6 and 3.2.7).

use super::bits::Room;
use super::huffman::{code_lengths, codes, MAX_BITS};
use super::tokens::{Tokens, DISTANCES, FIRST_LENGTH, SYMBOLS};

/// Symbols that describe the lengths of the codes, and the order in which their own lengths are sent.
const DESCRIPTIONS: usize = 19;
const DESCRIPTION_ORDER: [usize; DESCRIPTIONS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Longest code that the format has room for there.
const DESCRIPTION_BITS: u8 = 7;
/// The length before once more, 3 to 6 times; no code, 3 to 10 times; no code, 11 to 138 times.
const REPEAT: u8 = 16;
const GAP: u8 = 17;
const LONG_GAP: u8 = 18;

/// The lengths of the codes of a block.
#[derive(Debug, Clone)]
pub struct Coding {
    symbols: [u8; SYMBOLS],
    distances: [u8; DISTANCES],
    /// None for the codes that every decoder knows.
    description: Option<Description>,
}

impl Coding {
    /// Codes for symbols that occur so often.
    pub fn fitted(symbols: &[u32; SYMBOLS], distances: &[u32; DISTANCES]) -> Self {
        let symbols = code_lengths(symbols, MAX_BITS);
        let distances = code_lengths(distances, MAX_BITS);
        Self {
            symbols,
            distances,
            description: Some(Description::new(&symbols, &distances)),
        }
    }

    /// The codes that need no description: for little blocks.
    pub fn fixed() -> Self {
        Self {
            symbols: std::array::from_fn(|symbol| match symbol {
                144..=255 => 9,
                256..=279 => 7,
                _ => 8,
            }),
            distances: [5; DISTANCES],
            description: None,
        }
    }

    /// Lengths of the codes of literals, end of block and match lengths.
    pub fn symbols(&self) -> &[u8; SYMBOLS] {
        &self.symbols
    }

    /// Lengths of the codes of distances.
    pub fn distances(&self) -> &[u8; DISTANCES] {
        &self.distances
    }

    /// Bits of a block of these tokens.
    pub fn size(&self, tokens: &Tokens) -> usize {
        let description = self.description.as_ref().map_or(0, Description::size);
        let symbols = weight(&tokens.symbols, &self.symbols) + weight(&tokens.distances, &self.distances);
        3 + description + symbols + tokens.extra_bits
    }

    /// Writes the form of the block and the codes; how many bits that is.
    pub fn describe(&self, room: &mut Room<'_>) -> u32 {
        room.put(if self.description.is_some() { 2 } else { 1 }, 2);
        room.flush();
        let Some(description) = &self.description else {
            return 2;
        };
        description.write(room);
        2 + description.size() as u32
    }
}

/// The lengths of the codes, run-length coded, with codes of their own.
#[derive(Debug, Clone)]
struct Description {
    /// Symbol, and the number that follows it.
    list: [(u8, u8); SYMBOLS + DISTANCES],
    number: usize,
    counts: [u32; DESCRIPTIONS],
    lengths: [u8; DESCRIPTIONS],
    /// How many lengths there are of literals and lengths, of distances, and of the description's own codes.
    sent: [usize; 3],
}

impl Description {
    fn new(symbols: &[u8; SYMBOLS], distances: &[u8; DISTANCES]) -> Self {
        let sent = [used(symbols).max(FIRST_LENGTH), used(distances).max(1)];
        let mut all = [0; SYMBOLS + DISTANCES];
        all[..sent[0]].copy_from_slice(&symbols[..sent[0]]);
        all[sent[0]..sent[0] + sent[1]].copy_from_slice(&distances[..sent[1]]);
        let mut list = [(0, 0); SYMBOLS + DISTANCES];
        let mut number = 0;
        let mut counts = [0; DESCRIPTIONS];
        let mut add = |symbol: u8, extra: usize| {
            list[number] = (symbol, extra as u8);
            counts[usize::from(symbol)] += 1;
            number += 1;
        };
        let mut rest = &all[..sent[0] + sent[1]];
        while let Some(&length) = rest.first() {
            let mut run = rest.iter().take_while(|&&other| other == length).count();
            rest = &rest[run..];
            if length > 0 {
                add(length, 0);
                run -= 1;
            }
            while run > 0 {
                let taken = match (length, run) {
                    (_, 1..=2) => 1,
                    (0, _) => run.min(138),
                    _ => run.min(6),
                };
                match (length, taken) {
                    (_, 1) => add(length, 0),
                    (0, 3..=10) => add(GAP, taken - 3),
                    (0, _) => add(LONG_GAP, taken - 11),
                    _ => add(REPEAT, taken - 3),
                }
                run -= taken;
            }
        }
        let lengths = code_lengths(&counts, DESCRIPTION_BITS);
        let own = DESCRIPTION_ORDER.iter().rposition(|&symbol| lengths[symbol] > 0);
        Self {
            list,
            number,
            counts,
            lengths,
            sent: [sent[0], sent[1], own.map_or(4, |last| (last + 1).max(4))],
        }
    }

    /// Its bits.
    fn size(&self) -> usize {
        let extra =
            [REPEAT, GAP, LONG_GAP].map(|symbol| self.counts[usize::from(symbol)] * extra_bits(symbol));
        14 + 3 * self.sent[2] + weight(&self.counts, &self.lengths) + extra.iter().sum::<u32>() as usize
    }

    fn write(&self, room: &mut Room<'_>) {
        let [symbols, distances, own] = self.sent;
        room.put((symbols - FIRST_LENGTH) as u64, 5);
        room.put(distances as u64 - 1, 5);
        room.put(own as u64 - 4, 4);
        room.flush();
        for &symbol in &DESCRIPTION_ORDER[..own] {
            room.put(u64::from(self.lengths[symbol]), 3);
            room.flush();
        }
        let codes = codes(&self.lengths);
        for &(symbol, extra) in &self.list[..self.number] {
            let code = codes[usize::from(symbol)];
            room.put(u64::from(code.bits), u32::from(code.len));
            room.put(u64::from(extra), extra_bits(symbol));
            room.flush();
        }
    }
}

/// Bits of the number that follows a symbol of a description.
fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        REPEAT => 2,
        GAP => 3,
        LONG_GAP => 7,
        _ => 0,
    }
}

/// Bits of all symbols.
fn weight<const N: usize>(counts: &[u32; N], lengths: &[u8; N]) -> usize {
    let sizes = counts
        .iter()
        .zip(lengths)
        .map(|(&count, &length)| count as usize * usize::from(length));
    sizes.sum()
}

/// How many lengths there are without the zeros at the end.
fn used<const N: usize>(lengths: &[u8; N]) -> usize {
    lengths
        .iter()
        .rposition(|&length| length > 0)
        .map_or(0, |last| last + 1)
}
