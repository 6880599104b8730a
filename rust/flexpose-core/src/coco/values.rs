//! Values of single keys: their JSON types and ranges, each with its own words for what was expected.

use std::fmt;
use std::io::Read;

use super::error::shorten;
use super::json::{Json, Parsed};
use super::number::Number;
use super::{MAX_BONES, MAX_COORDINATE, MAX_IMAGE_SIDE, MAX_KEYPOINTS, MAX_LABEL_BYTES, MAX_NAME_BYTES};

const INTEGER: &str = "an integer of 64 bits";
const FINITE: &str = "a finite number";
const VISIBILITY: &str = "a visibility of 0, 1 or 2";
const BBOX: &str = "an array of 4 finite numbers";

impl<R: Read> Json<R> {
    #[inline]
    fn number_for(&mut self, expected: impl fmt::Display) -> Parsed<Number> {
        match self.value()? {
            b'"' | b'[' | b'{' | b't' | b'f' | b'n' => Err(self.wrong_type(expected)),
            _ => self.number(),
        }
    }

    /// A whole number that fits 64 bits.
    pub fn integer(&mut self) -> Parsed<i64> {
        let number = self.number_for(INTEGER)?;
        match number.small.map(i64::try_from) {
            Some(Ok(value)) => return Ok(value),
            _ if !number.whole => {}
            _ => {
                if let Ok(value) = self.text_of(&number).parse() {
                    return Ok(value);
                }
            }
        }
        Err(self.wrong_number(&number, INTEGER))
    }

    /// A whole number of the range, which begins with 0 or above.
    fn size(&mut self, low: u64, high: u64, expected: impl fmt::Display) -> Parsed<u64> {
        let number = self.number_for(&expected)?;
        let value = match number.small {
            None if number.whole => self.text_of(&number).parse().ok(),
            small => small,
        };
        value
            .filter(|value| (low..=high).contains(value))
            .ok_or_else(|| self.wrong_number(&number, expected))
    }

    /// A width or height.
    pub fn side(&mut self) -> Parsed<i32> {
        let expected = format_args!("an integer from 1 to {MAX_IMAGE_SIDE}");
        Ok(self.size(1, MAX_IMAGE_SIDE as u64, expected)? as i32)
    }

    /// A number of keypoints.
    pub fn count(&mut self) -> Parsed<u64> {
        self.size(0, u64::MAX, "an integer, 0 or more")
    }

    /// 0 or 1, or the JSON words for them, which some tools write.
    pub fn flag(&mut self) -> Parsed<bool> {
        let word = self.value()?;
        if matches!(word, b't' | b'f') {
            self.skip_value()?;
            return Ok(word == b't');
        }
        Ok(self.size(0, 1, "0 or 1")? == 1)
    }

    /// A finite number, rounded once from its decimal digits.
    #[inline]
    fn finite(&mut self) -> Parsed<f32> {
        self.value()?;
        if let Some(value) = self.quick_number() {
            return Ok(value);
        }
        let number = self.number_for(FINITE)?;
        let value = self.text_of(&number).parse().unwrap_or(f32::INFINITY); // Rust knows all JSON numbers
        if value.is_finite() {
            return Ok(value);
        }
        let got = shorten(self.text_of(&number));
        let why = format_args!("number out of range: expected {FINITE} of 32 bits, got {got}");
        Err(self.wrong(number.length, why))
    }

    /// 0, 1 or 2, also written as 2.0.
    #[inline]
    fn visibility(&mut self) -> Parsed<u8> {
        let number = self.number_for(VISIBILITY)?;
        match number.small {
            Some(value @ 0..=2) => return Ok(value as u8),
            None if !number.whole => match self.text_of(&number).parse() {
                Ok(0.0) => return Ok(0),
                Ok(1.0) => return Ok(1),
                Ok(2.0) => return Ok(2),
                _ => {}
            },
            _ => {}
        }
        Err(self.wrong_number(&number, VISIBILITY))
    }

    /// x, y, v of each keypoint, appended to the two lists; gives the number of triples.
    pub fn keypoints(&mut self, coordinates: &mut Vec<f32>, visibility: &mut Vec<u8>) -> Parsed<usize> {
        if self.value()? != b'[' {
            return Err(self.wrong_type("an array of x, y, visibility of each keypoint"));
        }
        let depth = self.open()?;
        let mut points = 0;
        while self.element(points == 0)? {
            let triple = self.triple(points);
            let (point, v) = self.or_leave(depth, triple)?;
            coordinates.extend(point);
            visibility.push(v);
            points += 1;
        }
        Ok(points)
    }

    #[inline]
    fn triple(&mut self, points: usize) -> Parsed<([f32; 2], u8)> {
        let ([x, y], v) = if let Some(triple) = self.quick_triple() {
            triple
        } else {
            let x = self.finite()?;
            self.next_of_triple(1)?;
            let y = self.finite()?;
            self.next_of_triple(2)?;
            ([x, y], self.visibility()?)
        };
        if points == MAX_KEYPOINTS {
            return Err(self.wrong(0, format_args!("more than {MAX_KEYPOINTS} keypoints")));
        }
        if v == 0 {
            return Ok(([0.0; 2], 0));
        }
        if x.abs() > MAX_COORDINATE || y.abs() > MAX_COORDINATE {
            let why = format_args!(
                "coordinates must lie within {MAX_COORDINATE} pixels, keypoint {points} has ({x:e}, {y:e})"
            );
            return Err(self.wrong(0, why));
        }
        Ok(([x, y], v))
    }

    #[inline]
    fn next_of_triple(&mut self, rest: usize) -> Parsed<()> {
        if self.element(false)? {
            return Ok(());
        }
        let why = format_args!("must hold 3 numbers a keypoint (x, y, visibility), got {rest} too many");
        Err(self.wrong(0, why))
    }

    /// x, y, width, height; checked, not kept.
    pub fn bbox(&mut self) -> Parsed<()> {
        if self.value()? != b'[' {
            return Err(self.wrong_type(BBOX));
        }
        let depth = self.open()?;
        for index in 0..4 {
            if !self.element(index == 0)? {
                return Err(self.wrong(0, format_args!("expected {BBOX}, got {index}")));
            }
            let number = self.finite();
            self.or_leave(depth, number)?;
        }
        if self.element(false)? {
            let fault = Err(self.wrong(0, format_args!("expected {BBOX}, got more")));
            self.skip_value()?;
            return self.or_leave(depth, fault);
        }
        Ok(())
    }

    /// The name of a category or a keypoint.
    pub fn name(&mut self) -> Parsed<String> {
        let expected = format_args!("a name of at most {MAX_NAME_BYTES} bytes");
        if self.value()? != b'"' {
            return Err(self.wrong_type(expected));
        }
        match self.string(|name| (name.len() <= MAX_NAME_BYTES).then(|| name.to_owned()))? {
            Some(name) => Ok(name),
            None => Err(self.wrong(0, format_args!("expected {expected}"))),
        }
    }

    /// Names of a category's keypoints.
    pub fn names(&mut self) -> Parsed<Vec<String>> {
        if self.value()? != b'[' {
            return Err(self.wrong_type("an array of names"));
        }
        self.open()?;
        let mut names: Vec<String> = Vec::new();
        while self.element(names.is_empty())? {
            let name = self.name()?;
            if name.is_empty() || names.contains(&name) {
                let name = shorten(&name);
                let why = format_args!("keypoint names must be unique and not empty, got `{name}`");
                return Err(self.wrong(0, why));
            }
            if names.len() == MAX_KEYPOINTS {
                return Err(self.wrong(0, format_args!("more than {MAX_KEYPOINTS} keypoints")));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Bones of a category, counted from 1 as they are in the file.
    pub fn bones(&mut self) -> Parsed<Vec<[i64; 2]>> {
        let expected = "an array of pairs of keypoints, counted from 1";
        if self.value()? != b'[' {
            return Err(self.wrong_type(expected));
        }
        self.open()?;
        let mut bones = Vec::new();
        while self.element(bones.is_empty())? {
            if bones.len() == MAX_BONES {
                return Err(self.wrong(0, format_args!("more than {MAX_BONES} bones")));
            }
            if self.value()? != b'[' {
                return Err(self.wrong_type(expected));
            }
            self.open()?;
            let mut bone = [0; 2];
            for (index, end) in bone.iter_mut().enumerate() {
                if !self.element(index == 0)? {
                    return Err(self.wrong(0, format_args!("expected {expected}, got {index} in one")));
                }
                *end = self.integer()?;
            }
            if self.element(false)? {
                return Err(self.wrong(0, format_args!("expected {expected}, got more in one")));
            }
            bones.push(bone);
        }
        Ok(bones)
    }

    /// What `read` makes of a class label: text, or an integer as text. `None` for null, and for a value of
    /// another type unless that is an error.
    pub fn label<T>(&mut self, strict: bool, read: impl FnOnce(&str) -> T) -> Parsed<Option<T>> {
        let expected = "a class label: a string or an integer";
        match self.value()? {
            b'"' => {
                let label = self.string(|label| {
                    let length = label.len();
                    (length <= MAX_LABEL_BYTES).then(|| read(label)).ok_or(length)
                })?;
                label.map(Some).map_err(|length| {
                    self.wrong(
                        0,
                        format_args!("labels may have {MAX_LABEL_BYTES} bytes, got {length}"),
                    )
                })
            }
            b'n' => self.skip_value().map(|()| None),
            b'[' | b'{' | b't' | b'f' if strict => Err(self.wrong_type(expected)),
            b'[' | b'{' | b't' | b'f' => self.skip_value().map(|()| None),
            _ => {
                let number = self.number()?;
                let text = self.text_of(&number);
                // A whole number past 64 bits is a float to most parsers.
                if number.whole && (text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok()) {
                    return Ok(Some(read(text)));
                }
                let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
                if strict || !finite {
                    return Err(self.wrong_number(&number, expected));
                }
                Ok(None)
            }
        }
    }
}
