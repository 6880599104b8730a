//! A strict JSON parser that holds one window of the stream.
//!
//! It reads what the caller asks for and skips the rest at the speed of a scan, with the same grammar. Texts
//! that are skipped need not be UTF-8; everything else is checked. Limits keep a hostile file from filling
//! the memory: nesting, bytes of a string, bytes of a number.

mod fault;
mod skip;

use std::fmt::Display;
use std::io::Read;
use std::str::Utf8Error;

use super::error::shorten;
use super::number::{quick, quick_triple, scan, Number, Scan};
use super::text::unescape;
pub(super) use fault::{Fault, Parsed, Reason};

/// Bytes that are asked of the stream at a time.
const CHUNK: u64 = 1 << 16;
/// Most levels of arrays and objects; at most the bits of the stack in [`Json::skip_value`].
const MAX_DEPTH: usize = 128;
/// Longest string in bytes: room for a picture as base64, which some tools put beside the poses.
const MAX_STRING: usize = 16 << 20;
/// Longest number in bytes.
const MAX_NUMBER: usize = 4096;

/// What came instead of a value, if it is a word that JSON does not have.
const NO_VALUE: &str = "expected value (NaN, Infinity, comments and single quotes are not JSON)";

/// See the module.
pub(super) struct Json<R> {
    source: R,
    /// The window: bytes of the stream around `at`.
    window: Vec<u8>,
    /// Next byte, an index into the window.
    at: usize,
    /// The stream has no more than the window.
    ended: bool,
    /// Bytes of the stream before the window.
    gone: usize,
    /// Line breaks that were passed, which only white space can hold, and the byte of the stream after the last.
    line_breaks: usize,
    line_start: usize,
    /// Open arrays and objects.
    depth: usize,
    /// The last string with an escape, without it.
    unescaped: Vec<u8>,
    /// Values that should not be here are read to their end, and NaN and Infinity are among them.
    pub lenient: bool,
}

impl<R: Read> Json<R> {
    /// Begin with bytes that were taken from the stream before.
    pub fn new(head: Vec<u8>, source: R, lenient: bool) -> Self {
        Self {
            source,
            window: head,
            at: 0,
            ended: false,
            gone: 0,
            line_breaks: 0,
            line_start: 0,
            depth: 0,
            unescaped: Vec::new(),
            lenient,
        }
    }

    /// Get more bytes behind the window and drop those before `at`; false at the end of the stream.
    #[cold]
    fn more(&mut self) -> Parsed<bool> {
        if self.ended {
            return Ok(false);
        }
        self.gone += self.at;
        self.window.drain(..self.at);
        self.at = 0;
        let chunk = self.source.by_ref().take(CHUNK).read_to_end(&mut self.window);
        self.ended = chunk.map_err(Reason::Io)? == 0;
        Ok(!self.ended)
    }

    /// ` (line 1, column 5)` of a byte of the window, which lies in the line that was reached.
    fn position(&self, index: usize) -> String {
        let column = (self.gone + index + 1).saturating_sub(self.line_start);
        format!(" (line {}, column {column})", self.line_breaks + 1)
    }

    /// Not JSON: the next byte cannot stand here.
    #[cold]
    fn bad(&self, why: &str) -> Fault {
        Fault::from(Reason::Text(format!(
            "not valid JSON: {why}{}",
            self.position(self.at)
        )))
    }

    #[cold]
    fn cut_off(&self, inside: &str) -> Fault {
        let position = self.position(self.window.len());
        Fault::from(Reason::Text(format!(
            "the file is cut off: it ends inside {inside}{position}"
        )))
    }

    #[cold]
    fn past_limit(&self, what: &str, limit: usize) -> Fault {
        let position = self.position(self.at);
        Fault::from(Reason::Text(format!("{what} must be at most {limit}{position}")))
    }

    /// A value that should not be here, which begins `back` bytes before the next byte.
    #[cold]
    pub fn wrong(&self, back: usize, why: impl Display) -> Fault {
        Fault::from(Reason::Value(format!("{why}{}", self.position(self.at - back))))
    }

    /// A number that should not be here.
    #[cold]
    pub fn wrong_number(&self, number: &Number, expected: impl Display) -> Fault {
        let got = shorten(self.text_of(number));
        self.wrong(number.length, format_args!("expected {expected}, got {got}"))
    }

    /// A value of another type than the one that is expected; it is read, to be named.
    #[cold]
    pub fn wrong_type(&mut self, expected: impl Display) -> Fault {
        self.read_wrong_type(expected).unwrap_or_else(|fault| fault)
    }

    fn read_wrong_type(&mut self, expected: impl Display) -> Parsed<Fault> {
        let first = self.value()?;
        let position = self.position(self.at);
        let got = match first {
            b'"' => self.string(|text| shorten(&format!("{text:?}")))?,
            b'[' => "an array".to_owned(),
            b'{' => "an object".to_owned(),
            b't' => "true".to_owned(),
            b'f' => "false".to_owned(),
            b'n' => "null".to_owned(),
            _ => {
                let number = self.number()?;
                shorten(self.text_of(&number))
            }
        };
        if matches!(first, b't' | b'f' | b'n') || (self.lenient && matches!(first, b'[' | b'{')) {
            self.skip_value()?;
        }
        Ok(Fault::from(Reason::Value(format!(
            "expected {expected}, got {got}{position}"
        ))))
    }

    /// The byte after white space, which stays the next one; `None` at the end.
    #[inline]
    pub fn peek(&mut self) -> Parsed<Option<u8>> {
        loop {
            while let Some(&byte) = self.window.get(self.at) {
                if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                    return Ok(Some(byte));
                }
                self.at += 1;
                if byte == b'\n' {
                    self.line_breaks += 1;
                    self.line_start = self.gone + self.at;
                }
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// First byte of the value that must come now.
    #[inline]
    pub fn value(&mut self) -> Parsed<u8> {
        self.peek()?.ok_or_else(|| self.cut_off("a value"))
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Parsed<()> {
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.bad("trailing characters")),
        }
    }

    /// Enter the array or object whose bracket is the next byte; gives the depth inside it.
    #[inline]
    pub fn open(&mut self) -> Parsed<usize> {
        if self.depth == MAX_DEPTH {
            return Err(self.past_limit("levels of arrays and objects", MAX_DEPTH));
        }
        self.depth += 1;
        self.at += 1;
        Ok(self.depth)
    }

    /// Whether another element follows in the array; if not, it has been left.
    #[inline]
    pub fn element(&mut self, first: bool) -> Parsed<bool> {
        let byte = self.peek()?;
        if byte == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if first {
            return byte.map(|_| true).ok_or_else(|| self.cut_off("an array"));
        }
        match byte {
            Some(b',') => self.at += 1,
            Some(_) => return Err(self.bad("expected `,` or `]`")),
            None => return Err(self.cut_off("an array")),
        }
        match self.peek()? {
            Some(b']') => Err(self.bad("trailing comma")),
            Some(_) => Ok(true),
            None => Err(self.cut_off("an array")),
        }
    }

    /// Go to the next key of the object, its quote being the next byte; false if the object has been left.
    #[inline]
    fn seek_key(&mut self, first: bool) -> Parsed<bool> {
        let mut byte = self.peek()?;
        if byte == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !first {
            match byte {
                Some(b',') => self.at += 1,
                Some(_) => return Err(self.bad("expected `,` or `}`")),
                None => return Err(self.cut_off("an object")),
            }
            byte = self.peek()?;
        }
        match byte {
            Some(b'"') => Ok(true),
            Some(b'}') => Err(self.bad("trailing comma")),
            Some(_) => Err(self.bad("key must be a string")),
            None => Err(self.cut_off("an object")),
        }
    }

    #[inline]
    fn colon(&mut self) -> Parsed<()> {
        match self.peek()? {
            Some(b':') => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.bad("expected `:`")),
            None => Err(self.cut_off("an object")),
        }
    }

    /// What `read` makes of the next key of the object; `None` if the object has been left.
    #[inline]
    pub fn key<T>(
        &mut self,
        first: bool,
        read: impl FnOnce(&[u8]) -> Result<T, Utf8Error>,
    ) -> Parsed<Option<T>> {
        if !self.seek_key(first)? {
            return Ok(None);
        }
        let key = self.text(read)?;
        self.colon()?;
        Ok(Some(key))
    }

    /// What `read` makes of the string whose quote is the next byte.
    pub fn string<T>(&mut self, read: impl FnOnce(&str) -> T) -> Parsed<T> {
        self.text(|text| Ok(read(std::str::from_utf8(text)?)))
    }

    /// What `read` makes of the bytes of a string that should be UTF-8.
    #[inline]
    fn text<T>(&mut self, read: impl FnOnce(&[u8]) -> Result<T, Utf8Error>) -> Parsed<T> {
        self.at += 1;
        let (mut length, mut escaped) = (0, false);
        loop {
            length += plain_length(&self.window[self.at + length..]);
            if length > MAX_STRING {
                return Err(self.past_limit("bytes of a string", MAX_STRING));
            }
            match self.window.get(self.at + length) {
                Some(b'"') => break,
                // The character after it is looked at below; here it only must not end the string.
                Some(b'\\') if self.at + length + 1 < self.window.len() => {
                    length += 2;
                    escaped = true;
                }
                Some(byte) if *byte != b'\\' => return Err(self.control_character(length)),
                _ => {
                    if !self.more()? {
                        return Err(self.cut_off("a string"));
                    }
                }
            }
        }
        let mut bytes = &self.window[self.at..self.at + length];
        if escaped {
            self.unescaped.clear();
            if let Err((index, why)) = unescape(bytes, &mut self.unescaped) {
                self.at += index;
                return Err(self.bad(why));
            }
            bytes = &self.unescaped;
        }
        let Ok(result) = read(bytes) else {
            return Err(self.bad("invalid unicode code point: the text is not UTF-8"));
        };
        self.at += length + 1;
        Ok(result)
    }

    #[cold]
    fn control_character(&mut self, length: usize) -> Fault {
        self.at += length;
        self.bad("control character (\\u0000-\\u001F) found while parsing a string")
    }

    /// The next bytes, `size` of them unless the stream ends before.
    fn ahead(&mut self, size: usize) -> Parsed<&[u8]> {
        while self.window.len() < self.at + size && self.more()? {}
        let end = self.window.len().min(self.at + size);
        Ok(&self.window[self.at..end])
    }

    /// The number that must come now, if the value is one.
    #[inline]
    pub fn number(&mut self) -> Parsed<Number> {
        loop {
            let rest = &self.window[self.at..];
            match scan(rest, self.ended) {
                Scan::Number(number) if number.length <= MAX_NUMBER => {
                    self.at += number.length;
                    return Ok(number);
                }
                Scan::Invalid(index) => return Err(self.no_number(index)),
                Scan::Unfinished if self.ended => return Err(self.cut_off("a number")),
                // At the end of the stream the bytes may be a number after all: scan them again.
                Scan::Unfinished if rest.len() <= MAX_NUMBER => drop(self.more()?),
                _ => return Err(self.past_limit("bytes of a number", MAX_NUMBER)),
            }
        }
    }

    /// The short number that comes now, if it is one and all of it is in the window.
    #[inline]
    pub fn quick_number(&mut self) -> Option<f32> {
        let (value, length) = quick(&self.window[self.at..])?;
        self.at += length;
        Some(value)
    }

    /// The same of three numbers, the last of them a visibility.
    #[inline]
    pub fn quick_triple(&mut self) -> Option<([f32; 2], u8)> {
        let (point, visibility, length) = quick_triple(&self.window[self.at..])?;
        self.at += length;
        Some((point, visibility))
    }

    /// The text of the number that was read last.
    #[inline]
    pub fn text_of(&self, number: &Number) -> &str {
        std::str::from_utf8(&self.window[self.at - number.length..self.at]).unwrap_or_default()
    }

    /// The number breaks off at an index from the next byte.
    #[cold]
    fn no_number(&mut self, index: usize) -> Fault {
        if self.lenient {
            for word in ["NaN", "-NaN", "Infinity", "-Infinity"] {
                match self.ahead(word.len()) {
                    Err(fault) => return fault,
                    Ok(bytes) if bytes == word.as_bytes() => {
                        self.at += word.len();
                        return self.wrong(word.len(), format_args!("expected a finite number, got {word}"));
                    }
                    Ok(_) => {}
                }
            }
        }
        if index == 0 {
            return self.bad(NO_VALUE);
        }
        self.at += index;
        self.bad("invalid number")
    }
}

/// Bytes before the first one that a string cannot hold as it is.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < b' ';
    bytes.iter().position(special).unwrap_or(bytes.len())
}
