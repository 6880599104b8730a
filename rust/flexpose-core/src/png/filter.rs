//! Which filter a row gets.
//!
//! Drawings on black are smallest as they are: black rows run into each other, and a colour that comes back is a
//! match. Rows that are full of different colours, as soft lines and photographs have them, are smaller as
//! differences to their neighbours.

/// The filters that are tried, as the format numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    None = 0,
    Sub = 1,
    Up = 2,
    Paeth = 4,
}

/// Chooses filters; holds the row that it was asked about last.
#[derive(Debug, Clone, Default)]
pub struct Chooser {
    filtered: Vec<u8>,
    best: Vec<u8>,
}

impl Chooser {
    /// The filter for `row`, pixels of `width` bytes, below `above`, and the row so filtered.
    pub fn choose<'a>(&'a mut self, row: &'a [u8], above: &[u8], width: usize) -> (Filter, &'a [u8]) {
        let len = row.len();
        let changes = row
            .chunks_exact(width)
            .zip(row[width..].chunks_exact(width))
            .filter(|(a, b)| a != b)
            .count();
        if changes * width * 4 < len {
            return (Filter::None, row);
        }
        self.best.clear();
        let (mut filter, mut least) = (Filter::None, distance_from_zero(row));
        for tried in [Filter::Sub, Filter::Up, Filter::Paeth] {
            apply(tried, row, above, width, &mut self.filtered);
            let sum = distance_from_zero(&self.filtered);
            if sum < least {
                (filter, least) = (tried, sum);
                std::mem::swap(&mut self.best, &mut self.filtered);
            }
        }
        (filter, if filter == Filter::None { row } else { &self.best })
    }
}

/// Sum of the bytes as signed numbers without their sign: the usual guess at how small a row gets.
fn distance_from_zero(bytes: &[u8]) -> u64 {
    bytes
        .chunks(1 << 16)
        .map(|part| {
            u64::from(
                part.iter()
                    .map(|&b| u32::from(b.min(b.wrapping_neg())))
                    .sum::<u32>(),
            )
        })
        .sum()
}

/// Filters `row` into `out`.
fn apply(filter: Filter, row: &[u8], above: &[u8], width: usize, out: &mut Vec<u8>) {
    out.clear();
    let (first, rest) = row.split_at(width);
    let corner = &above[..width];
    match filter {
        Filter::None => out.extend_from_slice(row),
        Filter::Sub => {
            out.extend_from_slice(first);
            out.extend(rest.iter().zip(row).map(|(x, left)| x.wrapping_sub(*left)));
        }
        Filter::Up => out.extend(row.iter().zip(above).map(|(x, up)| x.wrapping_sub(*up))),
        Filter::Paeth => {
            // Without anything to the left it is the filter Up.
            out.extend(first.iter().zip(corner).map(|(x, up)| x.wrapping_sub(*up)));
            let around = row.iter().zip(&above[width..]).zip(above);
            out.extend(
                rest.iter()
                    .zip(around)
                    .map(|(x, ((&left, &up), &corner))| x.wrapping_sub(paeth(left, up, corner))),
            );
        }
    }
}

/// The neighbour that is nearest to left + up - corner.
#[inline]
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let [to_left, to_up, to_corner] = [(b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs()];
    if to_left <= to_up && to_left <= to_corner {
        left
    } else if to_up <= to_corner {
        up
    } else {
        corner
    }
}
