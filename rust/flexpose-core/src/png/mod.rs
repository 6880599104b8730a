//! PNG files of pictures that are mostly black, from bands of rows.
//!
//! The encoder is told which columns of a row may hold anything, looks at nothing else, and keeps only the pixels
//! that are not black. It never has the picture whole. Any other picture is encoded as well, and right.

mod bits;
mod coding;
mod deflate;
mod filter;
mod huffman;
mod model;
mod send;
mod tokens;

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::error::{check_length, Error, Interval, Result};
use crate::threads::for_each_chunk;

use deflate::{Deflater, BLOCK};
use filter::{Chooser, Filter};

/// Largest side that the format has room for.
const MAX_SIDE: f64 = 2_147_483_647.0;
/// Most bytes of a picture: places in it, and the length of the file, must have 31 bits.
const MAX_LEN: f64 = 1_073_741_824.0;
/// Pictures that a thread encodes with one encoder.
const PICTURES: usize = 32;

/// Size of pictures with 8 bits a channel, checked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    height: usize,
    width: usize,
    channels: usize,
}

impl Shape {
    /// `[height, width, channels]` with 1 (grey) or 3 (red, green, blue) channels.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::Channels`] for what the format cannot hold, and for more than 1 GiB.
    pub fn new(height: usize, width: usize, channels: usize) -> Result<Self> {
        Interval::closed(1.0, MAX_SIDE).check("image height", height as f64)?;
        Interval::closed(1.0, MAX_SIDE).check("image width", width as f64)?;
        if channels != 1 && channels != 3 {
            return Err(Error::Channels { got: channels });
        }
        let bytes = height as f64 * (width as f64 * channels as f64 + 1.0);
        Interval::closed(1.0, MAX_LEN).check("image bytes", bytes)?;
        Ok(Self {
            height,
            width,
            channels,
        })
    }

    /// Bytes of one picture.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.height * self.row_len()
    }

    /// Bytes of a row.
    fn row_len(&self) -> usize {
        self.width * self.channels
    }
}

/// Encodes each picture of `images` as a PNG file; the bytes do not depend on the number of `workers`.
///
/// # Errors
/// [`Error::Length`] if `images` does not hold whole pictures, [`Error::Threads`] if the system starts no thread.
///
/// # Example
/// ```
/// use flexpose_core::png::{encode, Shape};
///
/// let files = encode(&[0, 255, 128, 7], Shape::new(1, 2, 1)?, None)?;
/// assert_eq!(files.len(), 2);
/// assert!(files.iter().all(|file| file.starts_with(b"\x89PNG\r\n\x1a\n")));
/// # Ok::<(), flexpose_core::Error>(())
/// ```
pub fn encode(images: &[u8], shape: Shape, workers: Option<NonZeroUsize>) -> Result<Vec<Vec<u8>>> {
    let number = images.len() / shape.image_len();
    check_length("images", images.len(), number * shape.image_len())?;
    let everywhere = vec![0..shape.width; shape.height];
    let mut files: Vec<Result<Vec<u8>>> = Vec::new();
    files.resize_with(number, || Ok(Vec::new()));
    for_each_chunk(&mut files, PICTURES, workers, |index, files| {
        let mut encoder = RowEncoder::new(shape);
        let images = images[index * PICTURES * shape.image_len()..].chunks_exact(shape.image_len());
        for (file, image) in files.iter_mut().zip(images) {
            let mut bytes = Vec::new();
            let written = encoder.push(image, &everywhere);
            *file = written.and_then(|()| encoder.finish(&mut bytes)).map(|()| bytes);
        }
    })?;
    files.into_iter().collect()
}

/// PNG files that grow by bands of rows; one encoder serves any number of pictures, one after the other.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    shape: Shape,
    /// The file up to the picture's data.
    head: Vec<u8>,
    stream: Deflater,
    chooser: Chooser,
    /// Rows so far, and the last of them.
    rows: usize,
    above: Vec<u8>,
}

impl RowEncoder {
    /// Starts pictures of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let mut header = Vec::with_capacity(13);
        header.extend((shape.width as u32).to_be_bytes());
        header.extend((shape.height as u32).to_be_bytes());
        let color = if shape.channels == 3 { 2 } else { 0 };
        header.extend([8, color, 0, 0, 0]); // bits a channel, colour type, deflate, filters, not interlaced
        let mut head = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut head, *b"IHDR", &header);
        Self {
            shape,
            head,
            stream: Deflater::new(shape.height, shape.row_len() + 1, shape.channels),
            chooser: Chooser::default(),
            rows: 0,
            above: vec![0; shape.row_len()],
        }
    }

    /// Takes the next rows, `[rows, W, C]` in `pixels`; `spans` has for each row the columns that may hold anything
    /// but 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `pixels` does not hold as many rows as there are spans, or more than the picture has
    /// left.
    pub fn push(&mut self, pixels: &[u8], spans: &[Range<usize>]) -> Result<()> {
        let row_len = self.shape.row_len();
        check_length("pixels", pixels.len(), spans.len() * row_len)?;
        let left = self.shape.height - self.rows;
        check_length("pixels", pixels.len(), pixels.len().min(left * row_len))?;
        for (index, (row, span)) in pixels.chunks_exact(row_len).zip(spans).enumerate() {
            // The byte of the filter comes first.
            let place = (self.rows + index) * (row_len + 1) + 1;
            // Whole blocks are read fastest; the pixels beside a span are black, and cost nothing.
            let end = span.end.min(self.shape.width);
            let columns = end
                .saturating_sub(span.start)
                .next_multiple_of(BLOCK)
                .min(self.shape.width);
            let first = span.start.min(self.shape.width - columns);
            let start = first * self.shape.channels;
            let part = &row[start..start + columns * self.shape.channels];
            if part.is_empty() {
                continue;
            }
            let before = self.stream.groups();
            self.stream.push(place + start, part, columns);
            if (self.stream.groups() - before) * 2 > self.shape.width {
                let above = match index {
                    0 => &self.above,
                    _ => &pixels[(index - 1) * row_len..index * row_len],
                };
                let (filter, filtered) = self.chooser.choose(row, above, self.shape.channels);
                if filter != Filter::None {
                    self.stream.forget(before);
                    self.stream.push_byte(place - 1, filter as u8);
                    self.stream.push(place, filtered, self.shape.width);
                }
            }
            self.stream.settle(place + row_len);
        }
        self.rows += spans.len();
        if let Some(last) = pixels.chunks_exact(row_len).next_back() {
            if self.rows < self.shape.height {
                self.above.copy_from_slice(last);
            }
        }
        Ok(())
    }

    /// Appends the finished file to `out` and begins the next picture.
    ///
    /// # Errors
    /// [`Error::Length`] if the rows do not make one picture.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        check_length("pixels", self.rows * self.shape.row_len(), self.shape.image_len())?;
        let data = self.stream.finish();
        out.reserve(self.head.len() + data.len() + 2 * CHUNK_OVERHEAD);
        out.extend_from_slice(&self.head);
        chunk(out, *b"IDAT", data);
        chunk(out, *b"IEND", &[]);
        self.stream.begin();
        self.above.fill(0);
        self.rows = 0;
        Ok(())
    }
}

/// Length, type and checksum.
const CHUNK_OVERHEAD: usize = 12;

fn chunk(out: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    let start = out.len();
    out.extend(name);
    out.extend_from_slice(data);
    let checksum = crc32fast::hash(&out[start..]);
    out.extend(checksum.to_be_bytes());
}
