//! A zlib stream (RFC 1950, 1951) of bytes that are mostly 0.
//!
//! What is not 0 arrives as groups, one to three bytes with their place in the stream; the zeros are what lies
//! between. So black rows cost nothing. A group is the channels of a pixel, and a table knows where each pair of
//! neighbours was seen last. From there two stretches are equal for as long as the difference between their groups,
//! place and value in one number, is the same: flat lines turn into matches with the pixel to the left, and what
//! repeats from an earlier row is found there.
//!
//! Groups are collected until there are enough of them for codes of their own.
#![allow(clippy::inline_always)] // the state of the writer stays in registers: 10 % of all time

use super::bits::BitWriter;
use super::coding::Coding;
use super::model::for_drawings;
use super::send::{Sender, Words};
use super::tokens::{Sink, Tokens, LONGEST, SHORTEST};

/// Groups after which a block is closed: more than a skeleton of 1,000 px has; they take 256 KiB.
const BLOCK_GROUPS: usize = 1 << 15;
/// How far back a match may lie.
const WINDOW: u64 = 1 << 15;
const TABLE_BITS: u32 = 10;
/// Largest prime below 2^16, of the checksum.
const ADLER: u64 = 65521;
/// Most bytes of a stored block, and what it says before them.
const STORED: usize = 65535;
const STORED_HEAD: usize = 5;
/// Bits of a block below which it may be smaller without a description of its codes.
const SMALL: usize = 4096;
/// Groups of a drawing, for which the ready codes are as good as fitted ones, and much faster.
const DRAWN_GROUPS: usize = 4096;
/// Bytes of a drawing: in little pictures the description of the codes weighs more, in large ones time does not.
const DRAWN_LEN: std::ops::Range<usize> = 1 << 10..1 << 20;
/// Room behind the groups, for a block of pixels to be written at once.
const SLACK: usize = BLOCK;
/// Pixels that are looked at together.
pub const BLOCK: usize = 8;

/// Place in the stream << 32 | number of bytes << 24 | bytes, the first lowest; they are not all 0.
type Group = u64;
/// A byte that is 0, for what a stretch may end with.
const ZERO: Group = 1 << 24;

/// Compresses a stream of known length.
#[derive(Debug, Clone)]
pub struct Deflater {
    total: usize,
    /// Bytes of a pixel.
    width: usize,
    /// The open block: its groups, how many there are, and where it begins.
    groups: Vec<Group>,
    number: usize,
    start: u32,
    /// Whether the byte before the open block is 0.
    after_zero: bool,
    tokens: Tokens,
    /// Ready codes for drawings.
    drawn: Words,
    /// For a hash of a group and the way to the next, where it was last, and the hash.
    table: Box<[u64; 1 << TABLE_BITS]>,
    /// Sum of the bytes, and of the bytes times how many there are from them to the end.
    sums: [u64; 2],
    out: BitWriter,
}

impl Deflater {
    /// Streams of `rows` times `stride` bytes, at most 2^31, with pixels of `width` bytes, 1 or 3.
    pub fn new(rows: usize, stride: usize, width: usize) -> Self {
        let mut deflater = Self {
            total: rows * stride,
            width,
            groups: Vec::new(),
            number: 0,
            start: 0,
            after_zero: false,
            tokens: Tokens::new(),
            drawn: Words::new(&for_drawings(stride)),
            table: Box::new([0; 1 << TABLE_BITS]),
            sums: [0; 2],
            out: BitWriter::default(),
        };
        deflater.begin();
        deflater
    }

    /// Begins the next stream.
    pub fn begin(&mut self) {
        self.number = 0;
        self.start = 0;
        self.after_zero = false;
        self.sums = [0; 2];
        self.out.clear();
        self.out.extend(&[0x78, 0x01]); // deflate with a window of 32 KiB, fast
    }

    /// Takes the byte at `place` of the stream.
    pub fn push_byte(&mut self, place: usize, byte: u8) {
        self.reserve(1);
        self.groups[self.number] = (place as u64) << 32 | 1 << 24 | u64::from(byte);
        self.number += usize::from(byte > 0);
    }

    /// Takes `number` pixels at `place` of the stream.
    pub fn push(&mut self, place: usize, pixels: &[u8], number: usize) {
        self.reserve(number);
        let free = &mut self.groups[self.number..];
        self.number += match self.width {
            3 => gather_colors(place, pixels, free),
            _ => gather_grays(place, pixels, free),
        };
    }

    /// Number of groups in the open block.
    pub fn groups(&self) -> usize {
        self.number
    }

    /// Forgets all groups but the first `number` of the open block.
    pub fn forget(&mut self, number: usize) {
        self.number = number;
    }

    /// Says that all before `place` was pushed, so that a block can be closed there; the last one is not empty.
    pub fn settle(&mut self, place: usize) {
        if self.number >= BLOCK_GROUPS && place < self.total {
            self.close_block(place, false);
        }
    }

    /// Ends the stream, all of which was pushed, and returns it.
    pub fn finish(&mut self) -> &[u8] {
        self.close_block(self.total, true);
        self.out.align();
        let [bytes, weighted] = self.sums;
        let low = (1 + bytes) % ADLER;
        let high = (self.total as u64 + weighted) % ADLER;
        self.out.extend(&((high << 16 | low) as u32).to_be_bytes());
        self.out.bytes()
    }

    /// Makes room for some groups, and for the block of them that is written in one go.
    fn reserve(&mut self, number: usize) {
        let needed = self.number + number + SLACK;
        if self.groups.len() < needed {
            self.groups.resize(needed.next_power_of_two(), 0);
        }
    }

    /// Writes the open block, which reaches to `end`.
    fn close_block(&mut self, end: usize, last: bool) {
        self.reserve(0);
        self.groups[self.number..self.number + SLACK].fill(0);
        self.sum();
        let len = end - self.start as usize;
        let groups = &self.groups[..self.number + SLACK];
        let between = [self.start, end as u32];
        if self.width == 3
            && self.number <= DRAWN_GROUPS
            && self.number * 12 <= len
            && DRAWN_LEN.contains(&len)
        {
            // Before each group a zero, its repeats and two more; then three literals.
            let bits = (self.number + 1) * 128 + (len / LONGEST as usize) * 24 + 4096;
            let sender = Sender::new(&self.drawn, last, bits, &mut self.out);
            let (after_zero, sender) = tokenize(groups, between, self.after_zero, &mut self.table, sender);
            self.after_zero = after_zero;
            sender.close();
        } else {
            self.tokens.clear();
            (self.after_zero, _) = tokenize(
                groups,
                between,
                self.after_zero,
                &mut self.table,
                &mut self.tokens,
            );
            self.write_smallest(end, last);
        }
        self.number = 0;
        self.start = end as u32;
    }

    /// Writes the tokens, which reach to `end`, in the smallest of the three forms that there are.
    fn write_smallest(&mut self, end: usize, last: bool) {
        let tokens = &self.tokens;
        let mut coding = Coding::fitted(&tokens.symbols, &tokens.distances);
        let mut size = coding.size(tokens);
        if size < SMALL {
            let fixed = Coding::fixed();
            if fixed.size(tokens) < size {
                size = fixed.size(tokens);
                coding = fixed;
            }
        }
        let len = end - self.start as usize;
        if size <= 8 * (len + len.div_ceil(STORED) * STORED_HEAD) {
            let words = Words::new(&coding);
            let mut sender = Sender::new(&words, last, size, &mut self.out);
            tokens.replay(&mut sender);
            sender.close();
        } else {
            self.store(end, last);
        }
    }

    /// Adds the groups of the open block to the checksum; zeros change nothing.
    fn sum(&mut self) {
        for groups in self.groups[..self.number].chunks(BLOCK_GROUPS) {
            let [mut bytes, mut placed, mut inner] = [0; 3];
            for &group in groups {
                let [first, second, third] = [0, 8, 16].map(|shift| (group >> shift & 255) as u32);
                let sum = u64::from(first + second + third);
                bytes += sum;
                placed += sum * u64::from(place_of(group));
                inner += u64::from(second + 2 * third);
            }
            let weighted = bytes * self.total as u64 - placed - inner;
            self.sums = [self.sums[0] + bytes, self.sums[1] + weighted].map(|sum| sum % ADLER);
        }
    }

    /// Writes the open block, which reaches to `end`, as it is.
    fn store(&mut self, end: usize, last: bool) {
        let start = self.start as usize;
        let mut bytes = vec![0; end - start];
        for &group in &self.groups[..self.number] {
            let at = place_of(group) as usize - start;
            let number = (group >> 24 & 3) as usize;
            bytes[at..at + number].copy_from_slice(&group.to_le_bytes()[..number]);
        }
        let mut pieces = bytes.chunks(STORED).peekable();
        while let Some(piece) = pieces.next() {
            let mut room = self.out.room_for(3);
            room.put(u64::from(last && pieces.peek().is_none()), 3);
            room.close();
            self.out.align();
            let length = piece.len() as u16;
            self.out.extend(&length.to_le_bytes());
            self.out.extend(&(!length).to_le_bytes());
            self.out.extend(piece);
        }
    }
}

/// Turns groups, with slack behind them, into literals and matches, from one place of the stream to another. `zero`
/// says whether the byte before is 0; what is returned says it of the last one.
#[inline(always)]
fn tokenize<S: Sink>(
    groups: &[Group],
    [start, end]: [u32; 2],
    mut zero: bool,
    table: &mut [u64; 1 << TABLE_BITS],
    mut sink: S,
) -> (bool, S) {
    table.fill(0);
    let drawn = &groups[..groups.len().saturating_sub(SLACK)];
    // What is looked for is this group and the way to the next. The group alone would be found more often, but that
    // saves little and costs much: it cannot be foretold.
    let key = |i: usize, group: Group| {
        let step = groups[i + 1]
            .wrapping_sub(group)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (group as u32).wrapping_mul(0x85EB_CA6B) ^ (step >> 32) as u32
    };
    let slot = |key: u32| (key >> (32 - TABLE_BITS)) as usize;
    let mut done = start; // up to where the sink knows
    let mut last = if zero { ZERO } else { ZERO + 1 }; // the group that ends there
    let mut i = 0;
    while let Some(&group) = drawn.get(i) {
        let place = place_of(group);
        if place > done {
            sink.zeros(place - done, last_byte(last) == 0);
        }
        let wanted = key(i, group);
        let entry = &mut table[slot(wanted)];
        let (seen, known) = ((*entry >> 32) as usize, *entry as u32);
        *entry = (i as u64) << 32 | u64::from(wanted);
        last = group;
        // Places of equal groups differ by what the groups differ by.
        let apart = group.wrapping_sub(groups[seen]);
        if known == wanted && apart as u32 == 0 && (1..=WINDOW).contains(&(apart >> 32)) {
            let mut reach = end_of(group);
            let mut matched = 1;
            while let (Some(&next), Some(before)) = (drawn.get(i + matched), drawn.get(seen + matched)) {
                if next.wrapping_sub(*before) != apart || end_of(next) - place > LONGEST {
                    break;
                }
                let key = key(i + matched, next);
                table[slot(key)] = ((i + matched) as u64) << 32 | u64::from(key);
                reach = end_of(next);
                last = next;
                matched += 1;
            }
            // Zeros behind both stretches belong to the match as well.
            let there = place_of(groups[seen + matched].wrapping_add(apart));
            let here = drawn.get(i + matched).map_or(end, |&next| place_of(next));
            let matching = here.min(there).min(place + LONGEST);
            if matching > reach {
                (reach, last) = (matching, ZERO);
            }
            if reach - place < SHORTEST {
                // One or two groups of a byte, side by side.
                for &short in &drawn[i..i + matched] {
                    sink.literals(short as u32);
                    last = short;
                }
                reach = end_of(last);
            } else {
                sink.repeat(reach - place, (apart >> 32) as u32);
            }
            done = reach;
            i += matched;
            continue;
        }
        sink.literals(group as u32);
        done = end_of(group);
        i += 1;
    }
    zero = last_byte(last) == 0;
    if end > done {
        sink.zeros(end - done, zero);
        zero = true;
    }
    (zero, sink)
}

#[inline]
fn place_of(group: Group) -> u32 {
    (group >> 32) as u32
}

/// Place behind the bytes.
#[inline]
fn end_of(group: Group) -> u32 {
    place_of(group) + (group >> 24 & 3) as u32
}

#[inline]
fn last_byte(group: Group) -> u64 {
    group >> (8 * ((group >> 24 & 3) - 1)) & 255
}

/// Writes the pixels of three bytes that are not black to the front of `groups`; how many there are.
///
/// Eight pixels are three registers. Black ones are skipped; of others, each is written and then written over if it
/// was black, which costs less than asking.
fn gather_colors(place: usize, pixels: &[u8], groups: &mut [Group]) -> usize {
    let mut number = 0;
    let mut head = (place as u64) << 32 | 3 << 24;
    let mut blocks = pixels.chunks_exact(24);
    for block in &mut blocks {
        let [a, b, c] = [0, 8, 16].map(|at| word(&block[at..]));
        if a | b | c != 0 {
            let colors = [
                a,
                a >> 24,
                a >> 48 | b << 16,
                b >> 8,
                b >> 32,
                b >> 56 | c << 8,
                c >> 16,
                c >> 40,
            ];
            let free = groups[number..].first_chunk_mut::<8>();
            number += free.map_or(0, |free| {
                keep(free, colors.map(|color| color & 0x00ff_ffff), head, 3)
            });
        }
        head += 24 << 32;
    }
    for pixel in blocks.remainder().chunks_exact(3) {
        let color = u64::from(pixel[0]) | u64::from(pixel[1]) << 8 | u64::from(pixel[2]) << 16;
        groups[number] = head | color;
        number += usize::from(color != 0);
        head += 3 << 32;
    }
    number
}

/// The same for pixels of one byte.
fn gather_grays(place: usize, pixels: &[u8], groups: &mut [Group]) -> usize {
    let mut number = 0;
    let mut head = (place as u64) << 32 | 1 << 24;
    let mut blocks = pixels.chunks_exact(8);
    for block in &mut blocks {
        let grays = word(block);
        if grays != 0 {
            let free = groups[number..].first_chunk_mut::<8>();
            let grays = std::array::from_fn(|i| grays >> (8 * i) & 255);
            number += free.map_or(0, |free| keep(free, grays, head, 1));
        }
        head += 8 << 32;
    }
    for &gray in blocks.remainder() {
        groups[number] = head | u64::from(gray);
        number += usize::from(gray != 0);
        head += 1 << 32;
    }
    number
}

/// Writes those of eight values that are not 0; how many there are.
#[inline]
fn keep(groups: &mut [Group; 8], values: [u64; 8], mut head: u64, width: u64) -> usize {
    let mut number = 0;
    for value in values {
        groups[number & 7] = head | value;
        number += usize::from(value != 0);
        head += width << 32;
    }
    number
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
