//! Styles that other programs define: bands, threads, and points that lie anywhere.

use std::num::NonZeroUsize;

use flexpose_core::raster::{PoseBatch, Skeleton, BAND_BYTES};
use flexpose_core::styles::{draw_into, Keypointgan, Openpose, Preset, Style, StylePainter};
use flexpose_core::Error;
use proptest::prelude::*;

const BONES: [[i64; 2]; 3] = [[0, 1], [1, 2], [3, 3]];

fn skeleton() -> Skeleton {
    Skeleton::new(&BONES, &[[0; 3]; 3], &[[0; 3]; 18]).unwrap()
}

/// Draws every pose by bands; what lies outside of the spans must be black.
fn paint<S: Style>(style: &S, poses: &PoseBatch<'_>) -> Vec<u8> {
    let (size, channels) = (style.size_px(), style.channels());
    let mut painter = StylePainter::new(style.clone());
    let mut images = Vec::new();
    for record in 0..poses.len() {
        let mut next = 0;
        painter
            .paint(poses, record, |band| {
                assert_eq!(band.first_row, next);
                assert!(band.pixels.len() <= BAND_BYTES);
                next += band.spans.len();
                for (row, span) in band.pixels.chunks_exact(size * channels).zip(band.spans) {
                    let outside = row[..span.start * channels]
                        .iter()
                        .chain(&row[span.end * channels..]);
                    assert!(outside.copied().all(|value| value == 0));
                }
                images.extend_from_slice(band.pixels);
                Ok::<(), Error>(())
            })
            .unwrap();
        assert_eq!(next, size);
    }
    images
}

fn draw<S: Style + Sync>(style: &S, poses: &PoseBatch<'_>, workers: usize) -> Vec<u8> {
    let image_len = style.size_px() * style.size_px() * style.channels();
    let mut images = vec![7; poses.len() * image_len];
    draw_into(poses, style, NonZeroUsize::new(workers), &mut images).unwrap();
    images
}

/// Two poses of 18 joints, most near the picture, some as far away as can be.
fn keypoints() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        6 => -20.0_f32..80.0,
        1 => -1e5_f32..1e5,
        1 => prop_oneof![Just(f32::MAX), Just(f32::MIN), Just(0.0), Just(1e12)]
    ];
    prop::collection::vec(value, 72)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bands_and_threads_make_the_same_pictures(
        keypoints in keypoints(),
        seen in prop::collection::vec(0_u8..3, 36),
        size in 2_usize..70,
        thick: bool,
        sigma in 0.02_f64..2.0,
    ) {
        let poses = PoseBatch::new(&keypoints, Some(&seen), 18).unwrap();
        let preset = if thick { Preset::SdxlThick } else { Preset::Sd15 };
        let openpose = Openpose::new(size, preset).unwrap();
        let images = draw(&openpose, &poses, 1);
        prop_assert!(images == draw(&openpose, &poses, 2) && images == paint(&openpose, &poses));
        let skeleton = skeleton();
        let lines = Keypointgan::new(&skeleton, size, sigma).unwrap();
        let images = draw(&lines, &poses, 1);
        prop_assert!(images == draw(&lines, &poses, 2) && images == paint(&lines, &poses));
    }
}

#[test]
fn large_pictures_come_in_several_bands() {
    let keypoints: Vec<f32> = (0..36).map(|i| ((i * 397) % 900) as f32).collect();
    let poses = PoseBatch::new(&keypoints, None, 18).unwrap();
    let openpose = Openpose::new(900, Preset::Sd15).unwrap();
    const { assert!(900 * 900 * 3 > 4 * BAND_BYTES) };
    assert!(draw(&openpose, &poses, 1) == paint(&openpose, &poses));
    let skeleton = skeleton();
    let lines = Keypointgan::new(&skeleton, 900, 0.2).unwrap();
    assert!(draw(&lines, &poses, 1) == paint(&lines, &poses));
}

#[test]
fn what_does_not_fit_is_refused() {
    let poses = PoseBatch::new(&[1.0; 26], None, 13).unwrap();
    let openpose = Openpose::new(8, Preset::Sd15).unwrap();
    let refused = draw_into(&poses, &openpose, None, &mut [0; 192]);
    assert!(matches!(
        refused,
        Err(Error::Length {
            expected: 18,
            got: 13,
            ..
        })
    ));
    let poses = PoseBatch::new(&[1.0; 36], None, 18).unwrap();
    let refused = draw_into(&poses, &openpose, None, &mut [0; 191]);
    assert!(matches!(
        refused,
        Err(Error::Length {
            expected: 192,
            got: 191,
            ..
        })
    ));
    let skeleton = skeleton();
    for (size, sigma) in [(1, 0.2), (8193, 0.2), (8, 0.019), (8, 10.1), (8, f64::NAN)] {
        let refused = Keypointgan::new(&skeleton, size, sigma);
        assert!(matches!(refused, Err(Error::OutOfRange { .. })));
    }
    assert!(matches!(
        Openpose::new(0, Preset::Sd15),
        Err(Error::OutOfRange { .. })
    ));
}

#[test]
fn widths_of_the_presets() {
    let sides = [1, 64, 256, 499, 500, 512, 999, 1000, 1024, 2000, 4999, 5000, 8192];
    let sd15 = [1, 1, 2, 4, 4, 4, 8, 8, 8, 16, 39, 39, 64];
    let thick = [4, 4, 4, 4, 8, 8, 8, 12, 12, 16, 24, 28, 28];
    for ((side, sd15), thick) in sides.into_iter().zip(sd15).zip(thick) {
        assert_eq!(
            [Preset::Sd15, Preset::SdxlThick].map(|p| p.radius_px(side)),
            [sd15, thick]
        );
    }
}
