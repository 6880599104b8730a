//! Limits on what the JSON parser may have to hold: nesting, strings and bare tokens.
//!
//! The parser buffers a whole key, string or number and one byte for each level it skips, so without
//! this a file of opening brackets would fill the memory before it fails.

use std::fmt;
use std::io::{self, Read};

/// Deepest nesting; the parser's own limit for values that it does not skip.
const MAX_DEPTH: usize = 128;
/// Longest string in bytes: room for a picture as base64, which some tools put beside the poses.
const MAX_STRING: usize = 32 << 20;
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
        for (index, &byte) in chunk.iter().enumerate() {
            match self.state {
                State::Outside => match byte {
                    b'[' | b'{' => {
                        self.run = 0;
                        self.depth += 1;
                        if self.depth > MAX_DEPTH {
                            return Some((index, Limit("arrays and objects may be nested", MAX_DEPTH)));
                        }
                    }
                    b']' | b'}' => {
                        self.run = 0;
                        self.depth = self.depth.saturating_sub(1);
                    }
                    b'"' => {
                        self.run = 0;
                        self.state = State::InString;
                    }
                    b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => self.run = 0,
                    _ => {
                        self.run += 1;
                        if self.run > MAX_TOKEN {
                            return Some((index, Limit("bytes of a number must be", MAX_TOKEN)));
                        }
                    }
                },
                State::InString => {
                    self.run += 1;
                    match byte {
                        b'"' => {
                            self.run = 0;
                            self.state = State::Outside;
                        }
                        b'\\' => self.state = State::Escaped,
                        _ if self.run > MAX_STRING => {
                            return Some((index, Limit("bytes of a string must be", MAX_STRING)));
                        }
                        _ => {}
                    }
                }
                State::Escaped => {
                    self.run += 1;
                    self.state = State::InString;
                }
            }
        }
        None
    }
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
