//! JSON numbers: the grammar, and the value of short ones.

/// Powers of ten, which `f64` holds exactly, as it does integers of so many digits.
const TENS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
const QUICK_DIGITS: usize = TENS.len() - 1;
/// The bits of `f64` that `f32` has not, and those of a number half way between two of `f32`.
const CUT_BITS: u64 = (1 << 29) - 1;
const HALF_WAY: u64 = 1 << 28;
/// As many digits always fit `u64`.
const MAX_DIGITS: usize = 19;

/// A number that follows the grammar.
pub(super) struct Number {
    /// Neither point nor exponent, and not -0, which only a float can hold.
    pub whole: bool,
    /// A whole number without a sign of at most `MAX_DIGITS`.
    pub small: Option<u64>,
    /// Bytes of its text.
    pub length: usize,
}

/// What [`scan`] found.
pub(super) enum Scan {
    Number(Number),
    /// The bytes end before one can tell.
    Unfinished,
    /// The byte at this offset cannot stand there.
    Invalid(usize),
}

/// Read one number from the beginning of `bytes`; `last` says that nothing follows them.
#[inline]
pub(super) fn scan(bytes: &[u8], last: bool) -> Scan {
    let negative = bytes.first() == Some(&b'-');
    let first = usize::from(negative);
    let (mut at, mut digits) = (first, 0u64);
    take_digits(bytes, &mut at, &mut digits);
    let count = at - first;
    if count == 0 {
        return stop(bytes, at);
    }
    if count > 1 && bytes[first] == b'0' {
        return Scan::Invalid(first + 1);
    }
    let end = at;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let fraction = at;
        take_digits(bytes, &mut at, &mut 0);
        if at == fraction {
            return stop(bytes, at);
        }
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let exponent = at;
        take_digits(bytes, &mut at, &mut 0);
        if at == exponent {
            return stop(bytes, at);
        }
    }
    if at == bytes.len() && !last {
        return Scan::Unfinished;
    }
    let whole = at == end && !(negative && bytes[first] == b'0');
    let small = whole && !negative && count <= MAX_DIGITS;
    Scan::Number(Number {
        whole,
        small: small.then_some(digits),
        length: at,
    })
}

/// A number of at most fifteen digits without exponent, which is most of them, and its bytes; it must end
/// within `bytes`. `None` says nothing: `scan` tells.
#[inline]
pub(super) fn quick(bytes: &[u8]) -> Option<(f32, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let first = usize::from(negative);
    let (mut at, mut digits) = (first, 0u64);
    take_digits(bytes, &mut at, &mut digits);
    let mut count = at - first;
    if count == 0 || (count > 1 && bytes[first] == b'0') {
        return None;
    }
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        fraction = at;
        take_digits(bytes, &mut at, &mut digits);
        fraction = at - fraction;
        count += fraction;
        if fraction == 0 {
            return None;
        }
    }
    if count > QUICK_DIGITS || matches!(bytes.get(at)?, b'e' | b'E') {
        return None;
    }
    let mut size = digits as f64;
    if fraction > 0 {
        size /= TENS[fraction]; // both are exact: this rounds once
    }
    // Rounding again does no harm unless the first time led to a point half way.
    if size.to_bits() & CUT_BITS == HALF_WAY {
        return None;
    }
    let size = size as f32;
    Some((if negative { -size } else { size }, at))
}

/// x, y and a visibility of one digit, all short and in compact form, and their bytes. `None` says nothing.
#[inline]
pub(super) fn quick_triple(bytes: &[u8]) -> Option<([f32; 2], u8, usize)> {
    let after_comma =
        |at: usize| (bytes.get(at)? == &b',').then(|| at + 1 + usize::from(bytes.get(at + 1) == Some(&b' ')));
    let (x, length) = quick(bytes)?;
    let start = after_comma(length)?;
    let (y, length) = quick(&bytes[start..])?;
    let start = after_comma(start + length)?;
    let v = bytes.get(start)?.wrapping_sub(b'0');
    (v <= 2 && matches!(bytes.get(start + 1)?, b',' | b']')).then_some(([x, y], v, start + 1))
}

fn stop(bytes: &[u8], at: usize) -> Scan {
    if at == bytes.len() {
        Scan::Unfinished
    } else {
        Scan::Invalid(at)
    }
}

#[inline]
fn digit(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

#[inline]
fn take_digits(bytes: &[u8], at: &mut usize, digits: &mut u64) {
    while let Some(digit) = digit(bytes, *at) {
        *digits = digits.wrapping_mul(10).wrapping_add(digit);
        *at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Option<Number> {
        match scan(text.as_bytes(), true) {
            Scan::Number(number) if number.length == text.len() => Some(number),
            _ => None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn quick_numbers_are_rounded_once(text in "-?(0|[1-9][0-9]{0,9}|[1-9][0-9]{0,45})(\\.[0-9]{1,12}|\\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?") {
            let number = number(&text).unwrap();
            if let Some((value, length)) = quick(format!("{text},").as_bytes()) {
                prop_assert_eq!((value.to_bits(), length), (text.parse::<f32>().unwrap().to_bits(), text.len()));
            }
            prop_assert_eq!(number.small, text.parse::<u64>().ok().filter(|_| text.len() <= MAX_DIGITS));
        }

        #[test]
        fn halves_are_rounded_once(half in 0u32..1 << 23) {
            // As near to the middle of two floats as the digits allow: one in fifty is the middle to `f64`.
            let middle = 1.0 + f64::from(2 * half + 1) / f64::from(1 << 24);
            let text = format!("{middle:.14}");
            if let Some((value, _)) = quick(format!("{text},").as_bytes()) {
                prop_assert_eq!(value.to_bits(), text.parse::<f32>().unwrap().to_bits());
            }
        }

        #[test]
        fn takes_what_serde_json_takes(text in "[-+0-9.eE]{1,8}") {
            let truth = serde_json::from_str::<serde_json::Value>(&text);
            let found = number(&text);
            // Out of range is a matter of the value, not of the grammar.
            let huge = found.is_some() && text.parse::<f64>().unwrap().is_infinite();
            prop_assert_eq!(found.is_some() && !huge, truth.is_ok());
            let ended = format!("{text}]");
            prop_assert!(found.is_some() || quick(ended.as_bytes()).is_none_or(|(_, length)| length < text.len()));
            if let (Some(number), Ok(value)) = (found, truth) {
                prop_assert_eq!(number.whole, value.is_u64() || value.is_i64());
            }
        }

        #[test]
        fn waits_for_the_rest(text in "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?", share in 0.0..1.0) {
            let cut = (text.len() as f64 * share) as usize;
            prop_assert!(matches!(scan(&text.as_bytes()[..cut], false), Scan::Unfinished));
            let more = format!("{text},");
            prop_assert!(matches!(scan(more.as_bytes(), false), Scan::Number(n) if n.length == text.len()));
        }
    }
}
