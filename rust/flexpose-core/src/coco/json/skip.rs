//! What nobody asked for: passed over, with the grammar of what is read.

use std::io::Read;

use super::{plain_length, Json, Parsed, MAX_STRING, NO_VALUE};
use crate::coco::number::quick;

impl<R: Read> Json<R> {
    /// Pass over the string whose quote is the next byte.
    #[inline]
    fn skip_string(&mut self) -> Parsed<()> {
        self.at += 1;
        let mut length = 0;
        loop {
            let plain = plain_length(&self.window[self.at..]);
            self.at += plain;
            length += plain;
            if length > MAX_STRING {
                return Err(self.past_limit("bytes of a string", MAX_STRING));
            }
            match self.window.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => length += self.skip_escape()?,
                Some(_) => return Err(self.control_character(0)),
                None => {
                    if !self.more()? {
                        return Err(self.cut_off("a string"));
                    }
                }
            }
        }
    }

    /// Pass over a backslash and what belongs to it; gives the number of bytes.
    fn skip_escape(&mut self) -> Parsed<usize> {
        let size = match self.ahead(2)?.get(1) {
            None => return Err(self.cut_off("a string")),
            Some(b'u') => 6,
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(_) => return Err(self.bad("invalid escape")),
        };
        let escape = self.ahead(size)?;
        let digits = escape[2..]
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if escape.len() < size && digits + 2 == escape.len() {
            return Err(self.cut_off("a string"));
        }
        if digits + 2 < size {
            return Err(self.bad("invalid escape"));
        }
        self.at += size;
        Ok(size)
    }

    #[inline]
    fn word(&mut self, word: &str) -> Parsed<()> {
        let bytes = self.ahead(word.len())?;
        if bytes == word.as_bytes() {
            self.at += word.len();
            return Ok(());
        }
        if word.as_bytes().starts_with(bytes) {
            return Err(self.cut_off("a value"));
        }
        Err(self.bad(NO_VALUE))
    }

    /// Pass over a value, whatever it is.
    pub fn skip_value(&mut self) -> Parsed<()> {
        let floor = self.depth;
        let mut objects = 0u128; // one bit for each open bracket: whether it is an object's
        let mut wrong = None;
        loop {
            let first = self.value()?;
            let mut entered = false;
            match first {
                b'"' => self.skip_string()?,
                b'{' => {
                    self.open()?;
                    objects = objects << 1 | 1;
                    entered = self.skip_key(true)?;
                }
                b'[' => {
                    self.open()?;
                    objects <<= 1;
                    entered = self.element(true)?;
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ if self.skip_quick_numbers(self.depth > floor && objects & 1 == 0) => {}
                _ => match self.number() {
                    Err(fault) if fault.is_value() => wrong = wrong.or(Some(fault)),
                    Err(fault) => return Err(fault),
                    Ok(_) => {}
                },
            }
            if entered {
                continue;
            }
            if matches!(first, b'{' | b'[') {
                objects >>= 1;
            }
            loop {
                if self.depth == floor {
                    return wrong.map_or(Ok(()), Err);
                }
                if if objects & 1 == 1 {
                    self.skip_key(false)?
                } else {
                    self.element(false)?
                } {
                    break;
                }
                objects >>= 1;
            }
        }
    }

    /// Pass over a short number and, in an array, over those that follow it; false if none is there, or if it
    /// is not certain.
    #[inline]
    fn skip_quick_numbers(&mut self, in_array: bool) -> bool {
        let Some((_, length)) = quick(&self.window[self.at..]) else {
            return false;
        };
        self.at += length;
        while let (true, Some(b',')) = (in_array, self.window.get(self.at)) {
            let next = self.at + 1 + usize::from(self.window.get(self.at + 1) == Some(&b' '));
            let Some((_, length)) = quick(&self.window[next..]) else {
                break;
            };
            self.at = next + length;
        }
        true
    }

    #[inline]
    fn skip_key(&mut self, first: bool) -> Parsed<bool> {
        let there = self.seek_key(first)?;
        if there {
            self.skip_string()?;
            self.colon()?;
        }
        Ok(there)
    }

    /// Pass on what came of an element; a lenient parser reads the array to its end if that is a wrong value.
    ///
    /// `depth` is that inside the array, which may have been left already.
    #[inline]
    pub fn or_leave<T>(&mut self, depth: usize, element: Parsed<T>) -> Parsed<T> {
        match element {
            Err(fault) if self.lenient && fault.is_value() => {
                while self.depth >= depth && self.element(false)? {
                    match self.skip_value() {
                        Err(fault) if !fault.is_value() => return Err(fault),
                        _ => {}
                    }
                }
                Err(fault)
            }
            other => other,
        }
    }
}
