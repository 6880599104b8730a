//! What a block of deflate consists of: literals and matches, and how often each symbol occurs.
#![allow(clippy::inline_always)] // the state of the writer stays in registers: 10 % of all time

/// Literals 0 to 255, the end of the block, and the lengths; the last two never occur, but the fixed code counts
/// them in.
pub const SYMBOLS: usize = 288;
pub const DISTANCES: usize = 30;
pub const LITERALS: usize = 256;
pub const END_OF_BLOCK: usize = 256;
pub const FIRST_LENGTH: usize = 257;
pub const LAST_LENGTH: usize = 285;
/// Shortest and longest match.
pub const SHORTEST: u32 = 3;
pub const LONGEST: u32 = 258;

/// Length symbol, above 257, of a match by its length - 3.
static LENGTH_SYMBOL: [u8; 256] = length_symbols();
/// Distance symbol by the distance - 1, beyond 256 by its 128th part.
static DISTANCE_SYMBOL: [u8; 512] = distance_symbols();

/// Takes a block as literals and matches, from its begin to its end.
pub trait Sink {
    /// One to three bytes: `number << 24 | bytes`, the first lowest.
    fn literals(&mut self, group: u32);

    /// `length` bytes, 3 to 258, as they are `distance` bytes before.
    fn repeat(&mut self, length: u32, distance: u32);

    /// Bytes like the one before, which is 0: as many as `matches` of the longest take, and `rest` more, at most 257.
    fn repeat_zero(&mut self, matches: u32, rest: u32);

    /// `number` zeros, at least one, behind a zero or behind anything else.
    #[inline(always)]
    fn zeros(&mut self, mut number: u32, after_zero: bool) {
        if !after_zero {
            self.literals(1 << 24);
            number -= 1;
        }
        let rest = number % LONGEST;
        if number >= SHORTEST {
            self.repeat_zero(number / LONGEST, if rest < SHORTEST { 0 } else { rest });
        }
        if (1..SHORTEST).contains(&rest) {
            self.literals(rest << 24);
        }
    }
}

/// The tokens of a block, counted.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub list: Vec<Token>,
    pub symbols: [u32; SYMBOLS],
    pub distances: [u32; DISTANCES],
    /// Bits that follow the symbols of lengths and distances.
    pub extra_bits: usize,
}

/// What a [`Sink`] was told.
#[derive(Debug, Clone, Copy)]
pub enum Token {
    Literals { group: u32 },
    Repeat { length: u16, distance: u16 },
    RepeatZero { matches: u32 },
}

impl Tokens {
    pub fn new() -> Self {
        Self {
            list: Vec::new(),
            symbols: [0; SYMBOLS],
            distances: [0; DISTANCES],
            extra_bits: 0,
        }
    }

    /// Begins the next block, which will end.
    pub fn clear(&mut self) {
        self.list.clear();
        self.symbols = [0; SYMBOLS];
        self.symbols[END_OF_BLOCK] = 1;
        self.distances = [0; DISTANCES];
        self.extra_bits = 0;
    }

    /// Tells it all to another.
    pub fn replay(&self, sink: &mut impl Sink) {
        for token in &self.list {
            match *token {
                Token::Literals { group } => sink.literals(group),
                Token::Repeat { length, distance } => sink.repeat(length.into(), distance.into()),
                Token::RepeatZero { matches } => sink.repeat_zero(matches, 0),
            }
        }
    }
}

impl Sink for &mut Tokens {
    #[inline]
    fn literals(&mut self, group: u32) {
        self.list.push(Token::Literals { group });
        let number = group >> 24;
        self.symbols[(group & 255) as usize] += 1;
        self.symbols[(group >> 8 & 255) as usize] += u32::from(number > 1);
        self.symbols[(group >> 16 & 255) as usize] += u32::from(number > 2);
    }

    #[inline]
    fn repeat(&mut self, length: u32, distance: u32) {
        self.list.push(Token::Repeat {
            length: length as u16,
            distance: distance as u16, // 32768 fits as well
        });
        let (length, distance) = (length_symbol(length), distance_symbol(distance));
        self.symbols[length] += 1;
        self.distances[distance] += 1;
        self.extra_bits += (length_extra(length) + distance_extra(distance)) as usize;
    }

    fn repeat_zero(&mut self, matches: u32, rest: u32) {
        if matches > 0 {
            self.list.push(Token::RepeatZero { matches });
            self.symbols[LAST_LENGTH] += matches;
            self.distances[0] += matches;
        }
        if rest > 0 {
            self.repeat(rest, 1);
        }
    }
}

/// Symbol of the length of a match.
#[inline]
pub fn length_symbol(length: u32) -> usize {
    FIRST_LENGTH + usize::from(LENGTH_SYMBOL[(length - SHORTEST) as usize & 255])
}

/// Number of bits that follow the symbol of a length.
#[inline]
pub fn length_extra(symbol: usize) -> u32 {
    const EXTRA: [u8; 32] = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0, 0, 0, 0,
    ];
    u32::from(EXTRA[(symbol - FIRST_LENGTH) & 31])
}

/// Symbol of a distance.
#[inline]
pub fn distance_symbol(distance: u32) -> usize {
    let x = distance as usize - 1;
    usize::from(DISTANCE_SYMBOL[if x < 256 { x } else { 256 + (x >> 7 & 255) }])
}

/// Number of bits that follow the symbol of a distance.
#[inline]
pub fn distance_extra(symbol: usize) -> u32 {
    (symbol as u32 >> 1).saturating_sub(1)
}

/// A power of two has four lengths symbols, each for a quarter of it; 258 has one for itself.
const fn length_symbols() -> [u8; 256] {
    let mut symbols = [0; 256];
    let mut x = 0u32;
    while x < 256 {
        let quarter = if x < 4 { 0 } else { x.ilog2() - 2 };
        symbols[x as usize] = (4 * quarter + (x >> quarter)) as u8;
        x += 1;
    }
    symbols[255] = 28;
    symbols
}

/// A power of two has two distance symbols, each for a half of it.
const fn distance_symbols() -> [u8; 512] {
    let mut symbols = [0; 512];
    let mut i = 0u32;
    while i < 512 {
        let x = if i < 256 { i } else { (i - 256) << 7 };
        let half = if x < 2 { 0 } else { x.ilog2() - 1 };
        symbols[i as usize] = (2 * half + (x >> half)) as u8;
        i += 1;
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951, 3.2.5: first length and first distance of each symbol.
    const LENGTHS: [u32; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163,
        195, 227, 258,
    ];
    const DISTANCES: [u32; 30] = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
        3073, 4097, 6145, 8193, 12289, 16385, 24577,
    ];

    #[test]
    fn symbols_are_those_of_the_standard() {
        for length in SHORTEST..=LONGEST {
            let symbol = LENGTHS.iter().rposition(|&first| first <= length).unwrap();
            assert_eq!(length_symbol(length), FIRST_LENGTH + symbol);
        }
        for distance in 1..=1 << 15 {
            let symbol = DISTANCES.iter().rposition(|&first| first <= distance).unwrap();
            assert_eq!(distance_symbol(distance), symbol);
        }
    }

    #[test]
    fn what_follows_a_symbol_reaches_to_the_next() {
        for (symbol, pair) in LENGTHS[..28].windows(2).enumerate() {
            let last = pair[1] - pair[0];
            assert_eq!(1 << length_extra(FIRST_LENGTH + symbol), last);
            // The low bits of length - 3 are what is sent, so the first length of a symbol must have none.
            assert_eq!((pair[0] - SHORTEST) & (last - 1), 0);
        }
        assert_eq!(length_extra(LAST_LENGTH), 0);
        for (symbol, pair) in DISTANCES.windows(2).enumerate() {
            assert_eq!(1 << distance_extra(symbol), pair[1] - pair[0]);
            assert_eq!((pair[0] - 1) & (pair[1] - pair[0] - 1), 0);
        }
    }
}
