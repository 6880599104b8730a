//! Literals and matches as bits.
#![allow(clippy::inline_always)] // the state of the writer stays in registers: 10 % of all time

use super::bits::{BitWriter, Room};
use super::coding::Coding;
use super::huffman::{codes, Code};
use super::tokens::{
    distance_extra, distance_symbol, length_extra, length_symbol, Sink, DISTANCES, END_OF_BLOCK, LONGEST,
    SHORTEST, SYMBOLS,
};

/// Bits, the first lowest, and how many.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    bits: u32,
    len: u32,
}

impl Word {
    /// A code, and the lowest `number` bits of `extra` behind it.
    fn new(code: Code, extra: u32, number: u32) -> Self {
        let extra = extra & ((1 << number) - 1);
        Self {
            bits: u32::from(code.bits) | extra << code.len,
            len: u32::from(code.len) + number,
        }
    }

    /// This and `next` behind it.
    fn then(self, next: Self) -> Self {
        Self {
            bits: self.bits | next.bits << self.len,
            len: self.len + next.len,
        }
    }
}

/// What a block with certain codes consists of, ready to be put together.
#[derive(Debug, Clone)]
pub struct Words {
    /// The begin of the block behind its first bit, 32 bits each, and how many bits that is.
    head: (Vec<u32>, u32),
    /// Literals and the end of the block.
    literals: [Code; END_OF_BLOCK + 1],
    /// By length - 3, with what follows.
    lengths: [Word; 256],
    /// The same, and the distance to the byte before.
    runs: [Word; 256],
    /// By distance symbol, without what follows.
    distances: [Word; DISTANCES],
}

impl Words {
    pub fn new(coding: &Coding) -> Self {
        let symbols = codes(coding.symbols());
        let distances = codes(coding.distances()).map(|code| Word::new(code, 0, 0));
        let lengths = std::array::from_fn(|index| {
            let symbol = length_symbol(index as u32 + SHORTEST);
            Word::new(symbols[symbol], index as u32, length_extra(symbol))
        });
        Self {
            head: head_of(coding),
            literals: std::array::from_fn(|symbol| symbols[symbol]),
            lengths,
            runs: lengths.map(|length| length.then(distances[0])),
            distances,
        }
    }
}

/// Sends a block to a [`BitWriter`].
#[derive(Debug)]
pub struct Sender<'a> {
    words: &'a Words,
    room: Room<'a>,
}

impl<'a> Sender<'a> {
    /// Begins a block, the last one or another, that will not take more than `bits`.
    #[inline(always)]
    pub fn new(words: &'a Words, last: bool, bits: usize, out: &'a mut BitWriter) -> Self {
        let mut room = out.room_for(bits);
        room.put(u64::from(last), 1);
        let (head, mut left) = (&words.head.0, words.head.1);
        for &bits in head {
            room.put(u64::from(bits), left.min(32));
            room.flush();
            left = left.saturating_sub(32);
        }
        Self { words, room }
    }

    /// Ends the block.
    pub fn close(mut self) {
        self.put_word(Word::new(self.words.literals[END_OF_BLOCK], 0, 0));
        self.room.close();
    }

    #[inline(always)]
    fn put(&mut self, bits: u64, len: u32) {
        self.room.put(bits, len);
        self.room.flush();
    }

    #[inline(always)]
    fn put_word(&mut self, word: Word) {
        self.put(u64::from(word.bits), word.len);
    }
}

impl Sink for Sender<'_> {
    #[inline(always)]
    fn literals(&mut self, group: u32) {
        let word = |byte: u32| self.words.literals[(byte & 255) as usize];
        let (mut bits, mut len) = (u64::from(word(group).bits), u32::from(word(group).len));
        if group >> 24 > 1 {
            let second = word(group >> 8);
            bits |= u64::from(second.bits) << len;
            len += u32::from(second.len);
            if group >> 24 > 2 {
                let third = word(group >> 16);
                bits |= u64::from(third.bits) << len;
                len += u32::from(third.len);
            }
        }
        self.put(bits, len);
    }

    #[inline(always)]
    fn repeat(&mut self, length: u32, distance: u32) {
        let length = self.words.lengths[(length - SHORTEST) as usize & 255];
        let symbol = distance_symbol(distance);
        let word = self.words.distances[symbol];
        let extra = distance_extra(symbol);
        let rest = (distance - 1) & ((1 << extra) - 1);
        let bits = u64::from(word.bits) | u64::from(rest) << word.len;
        self.put(
            u64::from(length.bits) | bits << length.len,
            length.len + word.len + extra,
        );
    }

    #[inline(always)]
    fn repeat_zero(&mut self, matches: u32, rest: u32) {
        for _ in 0..matches {
            self.put_word(self.words.runs[(LONGEST - SHORTEST) as usize]);
        }
        if rest > 0 {
            self.put_word(self.words.runs[(rest - SHORTEST) as usize & 255]);
        }
    }
}

/// The begin of a block behind its first bit.
fn head_of(coding: &Coding) -> (Vec<u32>, u32) {
    let mut out = BitWriter::default();
    let mut room = out.room_for(SYMBOLS * 16);
    let len = coding.describe(&mut room);
    room.put(0, 31); // to whole words
    room.close();
    let words = out
        .bytes()
        .chunks_exact(4)
        .map(|word| word.iter().rev().fold(0, |sum, &b| sum << 8 | u32::from(b)));
    (words.take(len.div_ceil(32) as usize).collect(), len)
}
