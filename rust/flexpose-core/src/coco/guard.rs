//! Limits on what the JSON parser may have to hold: nesting, strings and bare tokens.
//!
//! The parser buffers a whole key, string or number and one byte for each level it skips, so without
//! this a file of opening brackets would fill the memory before it fails.

use std::fmt;
use std::io::{self, Read};

/// Deepest nesting; the parser's own limit for values that it does not skip.
const MAX_DEPTH: usize = 128;
/// Longest string in bytes: room for a picture as base64, which some tools put beside the poses.
const MAX_STRING: usize = 16 << 20;
/// Longest number or bare word in bytes.
const MAX_TOKEN: usize = 4096;

/// Which limit was passed.
#[derive(Debug)]
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
            state: State::Outside,
            depth: 0,
            run: 0,
            failed: None,
        }
    }

    /// Index of the first byte in `chunk` that breaks a limit.
    fn scan(&mut self, chunk: &[u8]) -> Option<(usize, Limit)> {
        let mut at = 0;
        while at < chunk.len() {
            let rest = &chunk[at..];
            match self.state {
                State::Outside => {
                    let gap = rest
                        .iter()
                        .position(|&byte| is_structural(byte))
                        .unwrap_or(rest.len());
                    if let Some(bad) = self.tokens(&rest[..gap]) {
                        return Some((at + bad, Limit("bytes of a number must be", MAX_TOKEN)));
                    }
                    at += gap;
                    let Some(&byte) = rest.get(gap) else { break };
                    self.run = 0;
                    match byte {
                        b'"' => self.state = State::InString,
                        b'[' | b'{' if self.depth == MAX_DEPTH => {
                            return Some((at, Limit("levels of arrays and objects must be", MAX_DEPTH)));
                        }
                        b'[' | b'{' => self.depth += 1,
                        _ => self.depth = self.depth.saturating_sub(1),
                    }
                    at += 1;
                }
                State::InString => {
                    let gap = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                    let length = gap.unwrap_or(rest.len());
                    if self.run + length > MAX_STRING {
                        return Some((
                            at + MAX_STRING - self.run,
                            Limit("bytes of a string must be", MAX_STRING),
                        ));
                    }
                    self.run += length;
                    at += length;
                    let Some(&byte) = rest.get(length) else { break };
                    if byte == b'"' {
                        self.run = 0;
                        self.state = State::Outside;
                    } else {
                        self.run += 1;
                        self.state = State::Escaped;
                    }
                    at += 1;
                }
                State::Escaped => {
                    self.run += 1;
                    self.state = State::InString;
                    at += 1;
                }
            }
        }
        None
    }

    /// Follow bare tokens through bytes outside strings and brackets; index of one byte too many.
    fn tokens(&mut self, gap: &[u8]) -> Option<usize> {
        if self.run + gap.len() <= MAX_TOKEN {
            // No token can be too long here: only the last one matters, it may go on in the next chunk.
            match gap.iter().rposition(|&byte| is_separator(byte)) {
                Some(last) => self.run = gap.len() - 1 - last,
                None => self.run += gap.len(),
            }
            return None;
        }
        gap.iter().position(|&byte| {
            self.run = if is_separator(byte) { 0 } else { self.run + 1 };
            self.run > MAX_TOKEN
        })
    }
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
