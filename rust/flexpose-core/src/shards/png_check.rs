//! Whether a PNG file is whole, without decoding it: there is no picture decoder here, so none can be attacked.

use super::error::Malformed;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Checks the chunks and their sums, and that the picture has this size.
///
/// # Errors
/// [`Malformed`] says what is wrong.
pub fn check(file: &[u8], height: usize, width: usize, channels: usize) -> Result<(), Malformed> {
    let wrong = |message: String| Err(Malformed::file(format!("PNG: {message}")));
    let Some(mut rest) = file.strip_prefix(SIGNATURE) else {
        return wrong("the signature is missing".into());
    };
    let (mut first, mut data) = (true, false);
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let (length, kind) = head.split_at(4);
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some((body, tail)) = tail.split_at_checked(length) else {
            return wrong(format!("a chunk claims {length} bytes, there are {}", tail.len()));
        };
        let Some((sum, tail)) = tail.split_first_chunk::<4>() else {
            return wrong("ends inside a chunk".into());
        };
        let mut crc = crc32fast::Hasher::new();
        crc.update(kind);
        crc.update(body);
        if crc.finalize() != u32::from_be_bytes(*sum) {
            return wrong("the sum of a chunk does not fit".into());
        }
        if first != (kind == b"IHDR") {
            return wrong("IHDR must come first, and once".into());
        }
        if first {
            let color: u8 = if channels == 1 { 0 } else { 2 };
            let sides = [width as u32, height as u32].map(u32::to_be_bytes).concat();
            if body != [sides.as_slice(), &[8, color, 0, 0, 0]].concat() {
                return wrong(format!(
                    "must be {width} x {height} with {channels} channels of 8 bits"
                ));
            }
        }
        first = false;
        data |= kind == b"IDAT" && !body.is_empty();
        if kind == b"IEND" {
            if !tail.is_empty() || !data {
                return wrong("must end at IEND, after data".into());
            }
            return Ok(());
        }
        rest = tail;
    }
    wrong("ends before IEND".into())
}
