//! Headers of `NumPy`'s array files.

/// The header of a file with `count` pictures, `[count, height, width, channels]` of bytes.
#[must_use]
pub fn header(count: usize, height: usize, width: usize, channels: usize) -> Vec<u8> {
    let about = format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {height}, {width}, {channels}), }}"
    );
    // Magic, version 1.0, length of the rest, which ends in a line feed at a multiple of 64.
    let length = (10 + about.len() + 1).next_multiple_of(64) - 10;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(length as u16).to_le_bytes());
    header.extend_from_slice(format!("{about:<width$}\n", width = length - 1).as_bytes());
    header
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_header_is_aligned_and_ends_its_line() {
        for count in [0, 1, 99, 123_456_789] {
            let header = super::header(count, 64, 64, 3);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(header.last(), Some(&b'\n'));
            assert_eq!(
                usize::from(u16::from_le_bytes([header[8], header[9]])) + 10,
                header.len()
            );
        }
    }
}
