//! What a file begins with if it is not JSON, and the escapes of JSON strings.

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

/// Append `bytes` of a string to `text` with its escapes resolved; else the index of what is wrong, and why.
///
/// Every backslash must have a byte after it.
pub(super) fn unescape(bytes: &[u8], text: &mut Vec<u8>) -> Result<(), (usize, &'static str)> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'\\' {
            text.push(byte);
            at += 1;
            continue;
        }
        let plain = match bytes[at + 1] {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            other @ (b'"' | b'\\' | b'/') => other,
            b'u' => {
                let (character, length) = unicode(&bytes[at..]).map_err(|why| (at, why))?;
                text.extend(character.encode_utf8(&mut [0; 4]).bytes());
                at += length;
                continue;
            }
            _ => return Err((at, "invalid escape")),
        };
        text.push(plain);
        at += 2;
    }
    Ok(())
}

/// The character of `\uXXXX`, or of a surrogate pair of them, and its bytes.
fn unicode(bytes: &[u8]) -> Result<(char, usize), &'static str> {
    let unit = |from: usize| {
        let digits = bytes.get(from..from + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &digit| {
            Some(unit * 16 + char::from(digit).to_digit(16)?)
        })
    };
    let first = unit(0).ok_or("invalid escape")?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    match (first, unit(6)) {
        (0xD800..=0xDBFF, Some(second @ 0xDC00..=0xDFFF)) => {
            let character = char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
            character.map(|character| (character, 12)).ok_or("invalid escape")
        }
        _ => Err("half a surrogate pair in an escape"),
    }
}
