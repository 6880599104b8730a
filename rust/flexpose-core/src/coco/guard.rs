//! Limits on what the JSON parser may have to hold: nesting, strings and bare tokens.
//!
//! The parser buffers a whole key, string or number and one byte for each level it skips, so without
//! this a file of opening brackets would fill the memory before it fails.

use std::fmt;
use std::io::{self, Read};

/// How much of a file the parser may have to hold at once.
#[derive(Clone, Copy)]
struct Limits {
    /// Levels of arrays and objects.
    depth: usize,
    /// Bytes of a string.
    string: usize,
    /// Bytes of a number or bare word.
    token: usize,
}

const LIMITS: Limits = Limits {
    depth: 128,       // the parser's own limit for values that it does not skip
    string: 16 << 20, // room for a picture as base64, which some tools put beside the poses
    token: 4096,
};

/// Which limit was passed.
#[derive(Debug, PartialEq, Eq)]
struct Limit(&'static str, usize);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at most {}", self.0, self.1)
    }
}

impl std::error::Error for Limit {}

/// Message of an I/O error that is one of the limits.
pub(super) fn limit_message(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<Limit>().map(ToString::to_string)
}

/// Why the first bytes cannot begin JSON in UTF-8, if they cannot.
pub(super) fn not_json(head: &[u8]) -> Option<&'static str> {
    match head {
        [] => Some("the file is empty"),
        [0xEF, 0xBB, 0xBF, ..] => {
            Some("the file begins with a byte order mark (BOM); save it as UTF-8 without one")
        }
        [0, 0, 0, 0] => Some("the file begins with zeros, it is not JSON"),
        [0xFF, 0xFE, 0, 0] | [0, 0, 0xFE, 0xFF] | [_, 0, 0, 0] | [0, 0, 0, _] => {
            Some("the file is UTF-32; JSON must be UTF-8")
        }
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [b'{' | b'[' | b' ' | b'\n', 0, ..] | [0, b'{' | b'[', ..] => {
            Some("the file is UTF-16; JSON must be UTF-8")
        }
        [0x1F, 0x8B, ..] => Some("the file is compressed with gzip; unpack it first (gunzip)"),
        [0x28, 0xB5, 0x2F, 0xFD] => Some("the file is compressed with zstd; unpack it first (unzstd)"),
        [b'P', b'K', 3, 4] => Some("the file is a zip archive (or npz), not JSON"),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    InString,
    /// After a backslash in a string.
    Escaped,
}

/// Passes bytes through and fails at the first one that breaks a limit.
///
/// The bytes before it are still handed on, so that the parser has reached the very place.
pub(super) struct Guard<R> {
    inner: R,
    limits: Limits,
    state: State,
    depth: usize,
    /// Bytes of the string or bare token so far.
    run: usize,
    failed: Option<Limit>,
}

impl<R: Read> Guard<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            limits: LIMITS,
            state: State::Outside,
            depth: 0,
            run: 0,
            failed: None,
        }
    }

    /// Index of the first byte in `chunk` that breaks a limit.
    fn scan(&mut self, chunk: &[u8]) -> Option<(usize, Limit)> {
        let Limits { depth, string, token } = self.limits;
        let too_deep = |at| Some((at, Limit("levels of arrays and objects must be", depth)));
        let long_string = |at| Some((at, Limit("bytes of a string must be", string)));
        let mut at = 0;
        while at < chunk.len() {
            let rest = &chunk[at..];
            match self.state {
                State::Outside => {
                    let gap = length_until(rest, is_structural);
                    if let Some(bad) = self.tokens(&rest[..gap]) {
                        return Some((at + bad, Limit("bytes of a number must be", token)));
                    }
                    at += gap;
                    let Some(&byte) = rest.get(gap) else { break };
                    self.run = 0;
                    match byte {
                        b'"' => self.state = State::InString,
                        b'[' | b'{' if self.depth == depth => return too_deep(at),
                        b'[' | b'{' => self.depth += 1,
                        _ => self.depth = self.depth.saturating_sub(1),
                    }
                }
                State::InString => {
                    let gap = length_until(rest, |byte| matches!(byte, b'"' | b'\\'));
                    let room = string - self.run;
                    if gap > room {
                        return long_string(at + room);
                    }
                    self.run += gap;
                    at += gap;
                    match rest.get(gap) {
                        None => break,
                        Some(b'"') => (self.state, self.run) = (State::Outside, 0),
                        Some(_) if self.run == string => return long_string(at),
                        Some(_) => (self.state, self.run) = (State::Escaped, self.run + 1),
                    }
                }
                State::Escaped if self.run == string => return long_string(at),
                State::Escaped => (self.state, self.run) = (State::InString, self.run + 1),
            }
            at += 1;
        }
        None
    }

    /// Follow bare tokens through bytes outside strings and brackets; index of one byte too many.
    fn tokens(&mut self, gap: &[u8]) -> Option<usize> {
        if self.run + gap.len() <= self.limits.token {
            // No token can be too long here: only the last one matters, it may go on in the next chunk.
            match gap.iter().rposition(|&byte| is_separator(byte)) {
                Some(last) => self.run = gap.len() - 1 - last,
                None => self.run += gap.len(),
            }
            return None;
        }
        gap.iter().position(|&byte| {
            self.run = if is_separator(byte) { 0 } else { self.run + 1 };
            self.run > self.limits.token
        })
    }
}

/// Number of bytes before the first that fits.
fn length_until(bytes: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| fits(byte)).unwrap_or(bytes.len())
}

fn is_structural(byte: u8) -> bool {
    matches!(byte, b'"' | b'[' | b']' | b'{' | b'}')
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b' ' | b'\n' | b'\r' | b'\t')
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(limit) = self.failed.take() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, limit));
        }
        let read = self.inner.read(buffer)?;
        let Some((good, limit)) = self.scan(&buffer[..read]) else {
            return Ok(read);
        };
        if good == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, limit));
        }
        self.failed = Some(limit);
        Ok(good)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Limits = Limits {
        depth: 3,
        string: 5,
        token: 4,
    };

    /// Byte by byte, as the limits are meant.
    fn first_bad(bytes: &[u8]) -> Option<(usize, Limit)> {
        let (mut depth, mut run, mut quoted, mut escaped) = (0usize, 0, false, false);
        for (at, &byte) in bytes.iter().enumerate() {
            if quoted {
                let ends = byte == b'"' && !escaped;
                if !ends && run == SMALL.string {
                    return Some((at, Limit("bytes of a string must be", SMALL.string)));
                }
                (quoted, run) = if ends { (false, 0) } else { (true, run + 1) };
                escaped = byte == b'\\' && !escaped;
                continue;
            }
            match byte {
                b'"' => (quoted, run) = (true, 0),
                b'[' | b'{' if depth == SMALL.depth => {
                    return Some((at, Limit("levels of arrays and objects must be", SMALL.depth)));
                }
                b'[' | b'{' => (depth, run) = (depth + 1, 0),
                b']' | b'}' => (depth, run) = (depth.saturating_sub(1), 0),
                b',' | b':' | b' ' => run = 0,
                _ if run == SMALL.token => {
                    return Some((at, Limit("bytes of a number must be", SMALL.token)));
                }
                _ => run += 1,
            }
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn limits_hold_byte_for_byte_in_any_chunks(text in r#"[\[\]{}"\\, :1a]{0,40}"#, step in 1usize..12) {
            let mut guard = Guard::new(io::empty());
            guard.limits = SMALL;
            let found = text.as_bytes().chunks(step).enumerate().find_map(|(index, chunk)| {
                guard.scan(chunk).map(|(at, limit)| (index * step + at, limit))
            });
            prop_assert_eq!(found, first_bad(text.as_bytes()));
        }
    }

    #[test]
    fn bytes_before_the_bad_one_are_handed_on() {
        let mut guard = Guard::new(&b"[[[[["[..]);
        guard.limits = SMALL;
        let mut seen = Vec::new();
        let error = guard.read_to_end(&mut seen).unwrap_err();
        assert_eq!(seen, b"[[[");
        assert_eq!(
            limit_message(&error).unwrap(),
            "levels of arrays and objects must be at most 3"
        );
    }
}
