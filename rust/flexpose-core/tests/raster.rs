//! Invariants of the rasteriser; the comparison with an independent definition is in `tests/test_raster.py`.

use std::num::NonZeroUsize;

use flexpose_core::raster::{draw_into, Layout, Pen, PoseBatch, Skeleton};
use flexpose_core::Error;
use proptest::prelude::*;

const WHITE: [u8; 3] = [255; 3];

/// A chain of `num_keypoints` joints in white.
fn chain(num_keypoints: usize) -> Skeleton {
    let bones: Vec<_> = (0i64..).map(|k| [k, k + 1]).take(num_keypoints - 1).collect();
    Skeleton::new(&bones, &vec![WHITE; bones.len()], &vec![WHITE; num_keypoints]).unwrap()
}

struct Picture {
    size: usize,
    width: f64,
    radius: f64,
    layout: Layout,
    workers: usize,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            size: 16,
            width: 2.0,
            radius: 0.0,
            layout: Layout::Nhwc,
            workers: 1,
        }
    }
}

impl Picture {
    fn draw(&self, keypoints: &[f32], visibility: Option<&[u8]>, num_keypoints: usize) -> Vec<u8> {
        let poses = PoseBatch::new(keypoints, visibility, num_keypoints).unwrap();
        let pen = Pen::new(self.size, self.width, self.radius, self.layout).unwrap();
        let skeleton = chain(num_keypoints);
        let mut out = vec![77; poses.len() * pen.image_len(&skeleton)];
        let workers = NonZeroUsize::new(self.workers);
        draw_into(&poses, &skeleton, &pen, workers, &mut out).unwrap();
        out
    }
}

/// Sum of the red channel, in pixels.
fn area(image: &[u8]) -> f64 {
    image
        .chunks_exact(3)
        .map(|pixel| f64::from(pixel[0]))
        .sum::<f64>()
        / 255.0
}

fn coordinate() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -8.0f32..24.0,
        1 => -1e5f32..1e5,
        1 => any::<f32>().prop_filter("finite", |v| v.is_finite()),
        1 => prop::sample::select(vec![0.0, -0.0, 0.5, 16.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e30, 1e-45]),
    ]
}

fn poses(num_keypoints: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(coordinate(), 2 * num_keypoints..=2 * num_keypoints)
        .prop_flat_map(|first| (1usize..6).prop_map(move |n| first.repeat(n)))
}

proptest! {
    #[test]
    fn any_finite_pose_is_drawn(keypoints in poses(4), size in 1usize..40, width in 0.01f64..20.0, radius in 0.0f64..9.0) {
        let nhwc = Picture { size, width, radius, ..Picture::default() };
        let nchw = Picture { layout: Layout::Nchw, workers: 3, ..nhwc };
        let side_by_side = nhwc.draw(&keypoints, None, 4);
        let planes = nchw.draw(&keypoints, None, 4);
        let len = size * size * 3;
        for (image, planes) in side_by_side.chunks_exact(len).zip(planes.chunks_exact(len)) {
            for channel in 0..3 {
                prop_assert!((0..size * size).all(|i| image[3 * i + channel] == planes[channel * size * size + i]));
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_byte(first in poses(3), second in poses(3), workers in 2usize..9) {
        let keypoints = [first, second].concat();
        let one = Picture { radius: 1.5, ..Picture::default() };
        let many = Picture { workers, ..one };
        prop_assert_eq!(one.draw(&keypoints, None, 3), many.draw(&keypoints, None, 3));
    }

    #[test]
    fn a_bone_has_no_direction(a in (-8f32..24.0, -8f32..24.0), b in (-8f32..24.0, -8f32..24.0), width in 0.1f64..9.0) {
        let picture = Picture { width, ..Picture::default() };
        let there = picture.draw(&[a.0, a.1, b.0, b.1], None, 2);
        let back = picture.draw(&[b.0, b.1, a.0, a.1], None, 2);
        prop_assert!(there.iter().zip(&back).all(|(x, y)| x.abs_diff(*y) <= 1));
    }

    #[test]
    fn a_bone_without_length_is_a_disc(x in coordinate(), y in coordinate(), radius in 0.1f64..9.0) {
        let bone = Picture { width: 2.0 * radius, ..Picture::default() };
        let disc = Picture { radius, ..Picture::default() };
        prop_assert_eq!(bone.draw(&[x, y, x, y], None, 2), disc.draw(&[x, y], None, 1));
    }

    #[test]
    fn columns_and_rows_are_treated_alike(a in (coordinate(), coordinate()), b in (coordinate(), coordinate())) {
        let picture = Picture { radius: 2.5, ..Picture::default() };
        let image = picture.draw(&[a.0, a.1, b.0, b.1], None, 2);
        let transposed = picture.draw(&[a.1, a.0, b.1, b.0], None, 2);
        for (row, column) in (0..16).flat_map(|row| (0..16).map(move |column| (row, column))) {
            let (p, q) = (image[3 * (16 * row + column)], transposed[3 * (16 * column + row)]);
            prop_assert!(p.abs_diff(q) <= 1, "({row}, {column}): {p} and {q}");
        }
    }
}

#[test]
fn a_long_bone_has_the_area_of_a_stadium() {
    let (size, width) = (128, 12.0);
    let picture = Picture {
        size,
        width,
        ..Picture::default()
    };
    for (dx, dy) in [(80.0, 0.0), (0.0, 80.0), (60.0, 45.0), (-70.0, 13.5)] {
        let (x, y) = (64.25 - dx / 2.0, 63.5 - dy / 2.0);
        let got = area(&picture.draw(&[x, y, x + dx, y + dy], None, 2));
        let length = f64::from(dx.hypot(dy));
        let expected = length * width + std::f64::consts::PI * width * width / 4.0;
        assert!((got / expected - 1.0).abs() < 2e-3, "{got} instead of {expected}");
    }
}

#[test]
fn a_bone_on_a_row_of_pixels_is_exact() {
    // Width 1 between the centres of two neighbours: the centres of all others are 1 px or more away.
    let picture = Picture {
        size: 4,
        width: 1.0,
        ..Picture::default()
    };
    let image = picture.draw(&[1.5, 1.5, 2.5, 1.5], None, 2);
    let red: Vec<_> = image.chunks_exact(3).map(|pixel| pixel[0]).collect();
    assert_eq!(red, [0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_bone_from_beyond_the_moon_crosses_where_it_should() {
    let picture = Picture::default();
    let near = picture.draw(&[-20.0, -20.0, 36.0, 36.0], None, 2);
    let far = picture.draw(&[f32::MIN, f32::MIN, f32::MAX, f32::MAX], None, 2);
    assert_eq!(near, far);
    assert!(area(&near) > 30.0);
    let missed = picture.draw(&[f32::MIN, 1e30, f32::MAX, 1e30], None, 2);
    assert!(missed.iter().all(|&channel| channel == 0));
}

#[test]
fn what_cannot_be_seen_is_not_looked_at() {
    let nan = f32::NAN;
    let keypoints = [4.0, 4.0, 8.0, 8.0, nan, f32::INFINITY];
    let picture = Picture::default();
    let seen = picture.draw(&keypoints, Some(&[2, 1, 0]), 3);
    assert_eq!(seen, picture.draw(&keypoints[..4], None, 2));
    let alone = picture.draw(&keypoints, Some(&[0, 1, 0]), 3);
    assert!(alone.iter().all(|&channel| channel == 0));
}

#[test]
fn errors_carry_the_values() {
    let bad = PoseBatch::new(&[0.0, 0.0, 1.0, f32::NAN], None, 1);
    assert!(matches!(
        bad,
        Err(Error::NotFinite {
            record: 1,
            joint: 0,
            x: 1.0,
            ..
        })
    ));
    assert!(matches!(
        PoseBatch::new(&[0.0; 5], None, 2),
        Err(Error::Length {
            expected: 4,
            got: 5,
            ..
        })
    ));
    assert!(matches!(
        PoseBatch::new(&[0.0; 4], Some(&[1]), 2),
        Err(Error::Length {
            expected: 2,
            got: 1,
            ..
        })
    ));
    assert!(PoseBatch::new(&[], None, 0).is_err());
    assert!(PoseBatch::new(&[], None, 1025).is_err());

    let message = |error: Error| error.to_string();
    let pen = |size, width, radius| message(Pen::new(size, width, radius, Layout::Nhwc).unwrap_err());
    assert_eq!(pen(0, 1.0, 1.0), "size_px must be in [1, 8192], got 0");
    assert_eq!(pen(8193, 1.0, 1.0), "size_px must be in [1, 8192], got 8193");
    assert_eq!(pen(8, 0.0, 1.0), "line_width_px must be in (0, 1024], got 0");
    assert_eq!(
        pen(8, f64::NAN, 1.0),
        "line_width_px must be in (0, 1024], got NaN"
    );
    assert_eq!(pen(8, 1.0, -1.0), "joint_radius_px must be in [0, 1024], got -1");

    let bones = [[0, 1], [1, -1]];
    let wrong = Skeleton::new(&bones, &[WHITE; 2], &[WHITE; 2]).unwrap_err();
    assert_eq!(
        message(wrong),
        "bones[1] must join two of the 2 keypoints, got (1, -1)"
    );
    let wrong = Skeleton::new(&bones, &[WHITE], &[WHITE; 2]).unwrap_err();
    assert_eq!(message(wrong), "bone_colors must hold 2 elements, got 1");

    let poses = PoseBatch::new(&[0.0; 4], None, 2).unwrap();
    let pen = Pen::new(4, 1.0, 1.0, Layout::Nhwc).unwrap();
    let wrong = draw_into(&poses, &chain(2), &pen, None, &mut [0u8; 47]).unwrap_err();
    assert_eq!(message(wrong), "out must hold 48 elements, got 47");
    let wrong = draw_into(&poses, &chain(3), &pen, None, &mut [0u8; 48]).unwrap_err();
    assert_eq!(message(wrong), "joint_colors must hold 2 elements, got 3");
}
