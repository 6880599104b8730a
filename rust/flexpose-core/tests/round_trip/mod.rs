//! A picture made of any bytes, encoded in bands and decoded by the crate `png`; shared with the fuzzer.

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::ops::Range;

use flexpose_core::png::{encode, RowEncoder, Shape};

/// Width, height and pixels, after the decoder has checked all checksums.
pub fn decode(file: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut options = png::DecodeOptions::default();
    options.set_ignore_checksums(false);
    let mut reader = png::Decoder::new_with_options(Cursor::new(file), options)
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    reader.finish().unwrap();
    pixels.truncate(info.buffer_size());
    (info.width as usize, info.height as usize, pixels)
}

/// Reads a picture's shape and a program for its pixels and bands from `bytes`, and checks its file.
pub fn check(bytes: &[u8]) {
    let mut program = Program(bytes);
    let height = 1 + usize::from(program.byte()) + usize::from(program.byte() / 32 == 7) * 1000;
    let width = 1 + usize::from(program.byte());
    let channels = if program.byte() % 2 == 0 { 1 } else { 3 };
    let slack = usize::from(program.byte() % 5);
    let pixels = program.pixels(height * width * channels, width * channels);
    check_picture([height, width, channels], &pixels, slack, || {
        usize::from(program.byte())
    });
}

/// Encodes a picture, in bands of as many rows as `band` says, with spans `slack` wider than they need be.
pub fn check_picture(
    [height, width, channels]: [usize; 3],
    pixels: &[u8],
    slack: usize,
    mut band: impl FnMut() -> usize,
) {
    let shape = Shape::new(height, width, channels).unwrap();
    let row_len = width * channels;
    let spans: Vec<Range<usize>> = pixels
        .chunks_exact(row_len)
        .map(|row| span(row, channels, slack))
        .collect();
    let whole = encode(pixels, shape, NonZeroUsize::new(1))
        .unwrap()
        .pop()
        .unwrap();
    let mut encoder = RowEncoder::new(shape);
    let mut file = Vec::new();
    // The second time finds what the first has left behind.
    for _ in 0..2 {
        let mut row = 0;
        while row < height {
            let rows = row..(row + band()).min(height);
            row = rows.end.max(row + usize::from(rows.is_empty())); // an empty band, and then at least one row
            let rows = rows.start..row;
            encoder.push(&[], &[]).unwrap();
            encoder
                .push(&pixels[rows.start * row_len..rows.end * row_len], &spans[rows])
                .unwrap();
        }
        file.clear();
        encoder.finish(&mut file).unwrap();
        assert!(file == whole, "bands and spans changed the file");
    }
    assert_eq!(decode(&file), (width, height, pixels.to_vec()));
    let raw = height * (row_len + 1);
    assert!(
        file.len() <= raw + raw / 2048 + 100,
        "{} bytes for {raw}",
        file.len()
    );
}

/// The columns of `row` that are not black, and some more.
fn span(row: &[u8], channels: usize, slack: usize) -> Range<usize> {
    let mut drawn = row
        .chunks_exact(channels)
        .map(|pixel| pixel.iter().any(|&value| value > 0));
    let Some(first) = drawn.clone().position(|drawn| drawn) else {
        return slack..slack;
    };
    let last = drawn.rposition(|drawn| drawn).unwrap_or(first);
    first.saturating_sub(slack)..last + 1 + slack
}

/// Bytes as instructions; when they are over, zeros.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    /// Literals, runs, copies of what was a row or so ago, noise, and black, until there are `len`.
    fn pixels(&mut self, len: usize, row_len: usize) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(len);
        while pixels.len() < len && !self.0.is_empty() {
            let (kind, number) = (self.byte(), usize::from(self.byte()));
            match kind % 6 {
                0 => pixels.extend((0..number % 16).map(|_| self.byte())),
                1 => pixels.resize(pixels.len() + number, self.byte()),
                2 => {
                    let color = [self.byte(), self.byte(), self.byte()];
                    pixels.extend(color.iter().cycle().take(3 * number));
                }
                3 => {
                    let back = (row_len + usize::from(kind / 6))
                        .saturating_sub(20)
                        .clamp(1, pixels.len().max(1));
                    for _ in 0..number.min(if pixels.is_empty() { 0 } else { number }) {
                        pixels.push(pixels[pixels.len() - back]);
                    }
                }
                4 => {
                    let mut state = u32::from(self.byte()) + 1;
                    pixels.extend((0..number * 16).map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as u8
                    }));
                }
                _ => pixels.resize(pixels.len() + number * usize::from(kind), 0),
            }
        }
        pixels.resize(len, 0);
        pixels
    }
}
