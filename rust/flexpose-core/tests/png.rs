//! Pictures survive the file; other decoders judge it in `tests/test_png.py`.

use flexpose_core::png::{encode, RowEncoder, Shape};
use flexpose_core::Error;
use proptest::prelude::*;
use std::num::NonZeroUsize;

mod round_trip;

use round_trip::{check, check_picture, decode};

proptest! {
    #[test]
    fn any_program_survives(program in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&program);
    }

    #[test]
    fn small_pictures_survive(
        (shape, pixels) in (1usize..20, 1usize..20, prop::sample::select(vec![1usize, 3])).prop_flat_map(|(h, w, c)| {
            let channel = prop_oneof![3 => Just(0), 1 => any::<u8>()];
            (Just([h, w, c]), prop::collection::vec(channel, h * w * c))
        }),
        rows in 0usize..5,
        slack in 0usize..4,
    ) {
        check_picture(shape, &pixels, slack, || rows);
    }

    #[test]
    fn lines_on_black_survive(
        lines in prop::collection::vec((0usize..90, 0usize..90, 1usize..9, -3.0f64..3.0, any::<[u8; 3]>()), 1..20),
        rows in 1usize..90,
    ) {
        let mut pixels = vec![0; 90 * 90 * 3];
        for (x, y, thick, slope, color) in lines {
            for row in y..90 {
                let start = (x as f64 + slope * (row - y) as f64).clamp(0.0, 90.0) as usize;
                for column in start..(start + thick).min(90) {
                    let pixel = &mut pixels[(row * 90 + column) * 3..][..3];
                    let faded = |value: u8| if column == start { value / (1 + row as u8 % 7) } else { value };
                    pixel.copy_from_slice(&color.map(faded));
                }
            }
        }
        check_picture([90, 90, 3], &pixels, 0, || rows);
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| step()).collect()
}

#[test]
fn extreme_shapes_survive() {
    for [height, width, channels] in [
        [1, 1, 1],
        [1, 1, 3],
        [1, 8192, 3],
        [8192, 1, 3],
        [1, 100_000, 1],
        [100_000, 1, 1],
        [3, 50_000, 3],
    ] {
        let len = height * width * channels;
        check_picture([height, width, channels], &noise(len), 0, || 700);
        check_picture([height, width, channels], &vec![0; len], 0, || 1000);
        check_picture([height, width, channels], &vec![9; len], 3, || 1);
    }
}

#[test]
fn blocks_follow_each_other() {
    // Dense above, then rows of black, then sparse: blocks of all kinds, with runs across their borders.
    let (height, width) = (900, 400);
    let mut pixels = noise(height * width);
    pixels[200 * width..700 * width].fill(0);
    for row in 700..height {
        pixels[row * width + row % 37..(row + 1) * width].fill(0);
    }
    check_picture([height, width, 1], &pixels, 1, || 64);
    let gradient: Vec<u8> = (0..height * width)
        .map(|i| ((i / width / 4 + i % width / 3) % 256) as u8)
        .collect();
    check_picture([height, width, 1], &gradient, 1, || 64);
}

#[test]
fn black_pictures_are_tiny() {
    let file = encode(
        &vec![0; 8192 * 8192 * 3],
        Shape::new(8192, 8192, 3).unwrap(),
        None,
    )
    .unwrap();
    assert!(file[0].len() < 200_000 + 100, "{}", file[0].len()); // 2 bits for 258 bytes, and that is the format's limit
}

#[test]
fn matches_as_long_as_can_be_survive() {
    // Equal rows below the first are a filter byte and zeros; around 258 bytes, a match of two of them is full.
    for width in 120..270 {
        let row: Vec<u8> = (0..width).map(|x| (x * 255 / width) as u8).collect();
        check_picture([20, width, 1], &row.repeat(20), 0, || 7);
        let rows: Vec<u8> = row.iter().flat_map(|&value| [value, 0, value / 2]).collect();
        check_picture([20, width, 3], &rows.repeat(20), 0, || 7);
        let dots: Vec<u8> = (0..20 * width).map(|i| u8::from(i % width == 3)).collect();
        check_picture([20, width, 1], &dots, 0, || 20);
    }
}

#[test]
fn smooth_pictures_are_filtered() {
    let gradient: Vec<u8> = (0..256 * 256 * 3)
        .map(|i| (i / 768 + i % 768 / 3 + i % 3 * 9) as u8)
        .collect();
    let file = encode(&gradient, Shape::new(256, 256, 3).unwrap(), None).unwrap();
    assert!(file[0].len() < gradient.len() / 50, "{}", file[0].len());
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let shape = Shape::new(9, 30, 3).unwrap();
    let mut images = noise(100 * shape.image_len());
    for (i, value) in images.iter_mut().enumerate() {
        *value *= u8::from(i / 90 % 5 == 0);
    }
    let alone = encode(&images, shape, NonZeroUsize::new(1)).unwrap();
    assert_eq!(alone.len(), 100);
    for (file, image) in alone.iter().zip(images.chunks_exact(shape.image_len())) {
        assert_eq!(decode(file), (30, 9, image.to_vec()));
    }
    for workers in [2, 3, 7, 32] {
        assert_eq!(encode(&images, shape, NonZeroUsize::new(workers)).unwrap(), alone);
    }
    assert!(encode(&[], shape, None).unwrap().is_empty());
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let shape = Shape::new(2, 3, 1).unwrap();
    let mut encoder = RowEncoder::new(shape);
    let spans = [0..3, 0..usize::MAX];
    let message = |outcome: Result<(), Error>| outcome.unwrap_err().to_string();
    assert_eq!(
        message(encoder.push(&[0; 4], &spans[..1])),
        "pixels must hold 3 elements, got 4"
    );
    assert_eq!(
        message(encoder.push(&[0; 9], &[0..3, 0..3, 0..3])),
        "pixels must hold 6 elements, got 9"
    );
    encoder.push(&[1, 2, 3], &spans[..1]).unwrap();
    let mut out = vec![42];
    assert_eq!(
        message(encoder.finish(&mut out)),
        "pixels must hold 6 elements, got 3"
    );
    encoder.push(&[4, 5, 6], &spans[1..]).unwrap();
    encoder.finish(&mut out).unwrap();
    assert_eq!(out[0], 42); // appended
    assert_eq!(decode(&out[1..]), (3, 2, vec![1, 2, 3, 4, 5, 6]));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let message = |height, width, channels| Shape::new(height, width, channels).unwrap_err().to_string();
    assert_eq!(message(0, 1, 3), "image height must be in [1, 2147483647], got 0");
    assert_eq!(
        message(1, 1 << 31, 3),
        "image width must be in [1, 2147483647], got 2147483648"
    );
    assert_eq!(message(1, 1, 4), "image must have 1 or 3 channels, got 4");
    assert_eq!(
        message(1 << 15, 1 << 15, 1),
        "image bytes must be in [1, 1073741824], got 1073774592"
    );
    let shape = Shape::new(2, 2, 3).unwrap();
    assert_eq!(
        encode(&[0; 13], shape, None).unwrap_err().to_string(),
        "images must hold 12 elements, got 13"
    );
}
