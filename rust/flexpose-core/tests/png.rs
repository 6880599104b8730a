//! Pictures survive the file; the comparison with other decoders is in `tests/test_png.py`.

use std::io::Cursor;
use std::num::NonZeroUsize;

use flexpose_core::png::{encode, Shape};
use proptest::prelude::*;

fn decode(file: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    pixels.truncate(info.buffer_size());
    (info.width, info.height, pixels)
}

fn pictures() -> impl Strategy<Value = (usize, usize, usize, Vec<u8>)> {
    (
        1usize..20,
        1usize..20,
        prop::sample::select(vec![1usize, 3]),
        0usize..4,
    )
        .prop_flat_map(|(h, w, c, n)| {
            let len = n * h * w * c;
            let channel = prop_oneof![3 => Just(0), 1 => any::<u8>()];
            prop::collection::vec(channel, len..=len).prop_map(move |pixels| (h, w, c, pixels))
        })
}

proptest! {
    #[test]
    fn pictures_survive((height, width, channels, pixels) in pictures(), workers in 1usize..5) {
        let shape = Shape::new(height, width, channels).unwrap();
        let files = encode(&pixels, shape, NonZeroUsize::new(workers)).unwrap();
        prop_assert_eq!(files.len(), pixels.len() / shape.image_len());
        for (file, image) in files.iter().zip(pixels.chunks_exact(shape.image_len())) {
            let (w, h, decoded) = decode(file);
            prop_assert_eq!((h as usize, w as usize, &decoded[..]), (height, width, image));
        }
    }
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
    let shape = Shape::new(2, 2, 3).unwrap();
    assert_eq!(
        encode(&[0; 13], shape, None).unwrap_err().to_string(),
        "images must hold 12 elements, got 13"
    );
}
