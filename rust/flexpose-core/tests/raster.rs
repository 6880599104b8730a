//! Invariants of the rasteriser; the comparison with an independent definition is in `tests/test_raster.py`.

use std::num::NonZeroUsize;

use flexpose_core::raster::{
    draw_into, draw_into_at, Layout, Painter, Pen, PoseBatch, Sample, Skeleton, Style, BAND_BYTES,
};
use flexpose_core::{Error, Level};
use proptest::prelude::*;

const WHITE: [u8; 3] = [255; 3];

/// A chain of `num_keypoints` joints in white.
fn chain(num_keypoints: usize) -> Skeleton {
    let bones: Vec<_> = (0i64..).map(|k| [k, k + 1]).take(num_keypoints - 1).collect();
    Skeleton::new(&bones, &vec![WHITE; bones.len()], &vec![WHITE; num_keypoints]).unwrap()
}

/// A chain in many colours.
fn colorful(num_keypoints: usize) -> Skeleton {
    let bones: Vec<_> = (0i64..).map(|k| [k, k + 1]).take(num_keypoints - 1).collect();
    let color = |i: usize| [i * 89 + 40, i * 151 + 130, i * 211 + 255].map(|c| (c % 256) as u8);
    let bone_colors: Vec<_> = (0..bones.len()).map(color).collect();
    let joint_colors: Vec<_> = (50..50 + num_keypoints).map(color).collect();
    Skeleton::new(&bones, &bone_colors, &joint_colors).unwrap()
}

#[derive(Clone, Copy)]
struct Picture {
    size: usize,
    width: f64,
    radius: f64,
    layout: Layout,
    style: Style,
    workers: usize,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            size: 16,
            width: 2.0,
            radius: 0.0,
            layout: Layout::Nhwc,
            style: Style::Color,
            workers: 1,
        }
    }
}

impl Picture {
    fn pen(&self) -> Pen {
        let pen = Pen::new(self.size, self.width, self.radius, self.layout).unwrap();
        pen.with_style(self.style)
    }

    fn draw(&self, keypoints: &[f32], visibility: Option<&[u8]>, num_keypoints: usize) -> Vec<u8> {
        let poses = PoseBatch::new(keypoints, visibility, num_keypoints).unwrap();
        let (pen, skeleton) = (self.pen(), chain(num_keypoints));
        let mut out = vec![77; poses.len() * pen.image_len(&skeleton)];
        let workers = NonZeroUsize::new(self.workers);
        draw_into(&poses, &skeleton, &pen, workers, &mut out).unwrap();
        out
    }

    /// In many colours, at a level, as numbers of some type.
    fn draw_as<T: Sample>(&self, level: Level, keypoints: &[f32], num_keypoints: usize, fill: T) -> Vec<T> {
        let poses = PoseBatch::new(keypoints, None, num_keypoints).unwrap();
        let (pen, skeleton) = (self.pen(), colorful(num_keypoints));
        let mut out = vec![fill; poses.len() * pen.image_len(&skeleton)];
        draw_into_at(level, &poses, &skeleton, &pen, None, &mut out).unwrap();
        out
    }
}

/// The definition, pixel by pixel in `f64`: `[S, S, 3]` of one pose drawn with `colorful`.
fn oracle(picture: &Picture, keypoints: &[f32]) -> Vec<u8> {
    let joints: Vec<[f64; 2]> = keypoints
        .chunks_exact(2)
        .map(|p| [p[0].into(), p[1].into()])
        .collect();
    let color = |i: usize| [i * 89 + 40, i * 151 + 130, i * 211 + 255].map(|c| (c % 256) as f64);
    let bones = (1..joints.len()).map(|k| (joints[k - 1], joints[k], picture.width / 2.0, color(k - 1)));
    let discs = (0..joints.len()).map(|k| (joints[k], joints[k], picture.radius, color(50 + k)));
    let discs = discs.filter(|_| picture.radius > 0.0);
    let mut image = vec![0.0; picture.size * picture.size * 3];
    for (a, b, radius, color) in bones.chain(discs) {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let squared = dx * dx + dy * dy;
        for (pixel, channels) in image.chunks_exact_mut(3).enumerate() {
            let x = (pixel % picture.size) as f64 + 0.5 - a[0];
            let y = (pixel / picture.size) as f64 + 0.5 - a[1];
            let along = if squared > 0.0 {
                ((x * dx + y * dy) / squared).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let distance = (x - along * dx).hypot(y - along * dy);
            let coverage = (0.5 + radius - distance).clamp(0.0, 1.0);
            for (c, color) in channels.iter_mut().zip(color) {
                *c = (*c + (color - *c) * coverage + 0.5f64).floor();
            }
        }
    }
    image.into_iter().map(|c| c as u8).collect()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
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

/// Coordinates that f32 holds exactly wherever whole pixels move them.
fn on_a_grid() -> impl Strategy<Value = f32> {
    (-640i16..1600).prop_map(|v| f32::from(v) / 32.0)
}

/// Coordinates for which the oracle is precise; some coincide.
fn moderate() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -12.0f32..36.0,
        2 => prop::sample::select(vec![4.0f32, 4.5, 11.25]),
        1 => -1e5f32..1e5,
    ]
}

fn style() -> impl Strategy<Value = Style> {
    prop::sample::select(vec![Style::Color, Style::Gray, Style::PerBone])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn agrees_with_the_definition(
        keypoints in prop::collection::vec(moderate(), 10),
        size in 1usize..30,
        width in 0.05f64..9.0,
        radius in prop_oneof![Just(0.0), 0.05f64..8.0],
    ) {
        let picture = Picture { size, width, radius, ..Picture::default() };
        let got = picture.draw_as(Level::best(), &keypoints, 5, 77u8);
        let difference = largest_difference(&got, &oracle(&picture, &keypoints));
        prop_assert!(difference <= 2, "{difference}");
    }

    #[test]
    fn every_level_gives_the_same(
        keypoints in poses(4), size in 1usize..40, width in 0.05f64..9.0, radius in 0.0f64..8.0, style in style(),
        planar in any::<bool>(),
    ) {
        let layout = if planar { Layout::Nchw } else { Layout::Nhwc };
        let picture = Picture { size, width, radius, layout, style, ..Picture::default() };
        let levels = Level::available();
        let (bytes, floats, halves) = (
            picture.draw_as(levels[0], &keypoints, 4, 77u8),
            picture.draw_as(levels[0], &keypoints, 4, 0.5f32),
            picture.draw_as(levels[0], &keypoints, 4, 1u16),
        );
        for &level in &levels[1..] {
            prop_assert_eq!(&bytes, &picture.draw_as(level, &keypoints, 4, 99u8));
            prop_assert_eq!(&floats, &picture.draw_as(level, &keypoints, 4, 0.25f32));
            prop_assert_eq!(&halves, &picture.draw_as(level, &keypoints, 4, 2u16));
        }
        for ((byte, float), half) in bytes.iter().zip(&floats).zip(&halves) {
            let expected = f32::from(*byte) / 127.5 - 1.0;
            prop_assert_eq!(float.to_bits(), expected.to_bits());
            let rounded = f32::from_bits(u32::from(*half) << 16);
            prop_assert!((rounded - expected).abs() <= expected.abs() / 256.0, "{} for {}", rounded, expected);
        }
    }

    #[test]
    fn whole_pixels_move_the_picture(
        keypoints in prop::collection::vec(on_a_grid(), 8), dx in -9i16..9, dy in -9i16..9, radius in 0.0f64..5.0,
    ) {
        let picture = Picture { size: 32, radius, ..Picture::default() };
        let moved: Vec<_> = keypoints
            .chunks_exact(2)
            .flat_map(|p| [p[0] + f32::from(dx), p[1] + f32::from(dy)])
            .collect();
        let here = picture.draw_as(Level::best(), &keypoints, 4, 0u8);
        let there = picture.draw_as(Level::best(), &moved, 4, 0u8);
        for (row, column) in (0..32i16).flat_map(|row| (0..32i16).map(move |column| (row, column))) {
            let (to_row, to_column) = (row + dy, column + dx);
            if (0..32).contains(&to_row) && (0..32).contains(&to_column) {
                let from = 3 * (32 * row + column) as usize;
                let to = 3 * (32 * to_row + to_column) as usize;
                prop_assert!(largest_difference(&here[from..from + 3], &there[to..to + 3]) <= 1);
            }
        }
    }

    #[test]
    fn what_is_off_the_picture_is_only_clipped(
        keypoints in prop::collection::vec(moderate(), 8), size in 1usize..24, radius in 0.0f64..5.0,
    ) {
        let small = Picture { size, radius, ..Picture::default() };
        let large = Picture { size: 40, ..small };
        let part = small.draw_as(Level::best(), &keypoints, 4, 0u8);
        let whole = large.draw_as(Level::best(), &keypoints, 4, 0u8);
        for (part, whole) in part.chunks_exact(3 * size).zip(whole.chunks_exact(3 * 40)) {
            prop_assert!(largest_difference(part, &whole[..3 * size]) <= 1);
        }
    }

    #[test]
    fn bands_are_the_picture_and_spans_cover_it(
        keypoints in prop::collection::vec(coordinate(), 8),
        size in prop_oneof![4 => 1usize..60, 1 => Just(430usize)],
        width in 0.05f64..9.0, radius in 0.0f64..8.0, style in style(),
    ) {
        let picture = Picture { size, width, radius, style, ..Picture::default() };
        // The larger ones have more than one band, and what is drawn reaches from one into the next.
        let scale = if size > 60 { 17.0 } else { 1.0 };
        let keypoints: Vec<_> = keypoints.iter().map(|v| (v * scale).clamp(f32::MIN, f32::MAX)).collect();
        let skeleton = colorful(4);
        let poses = PoseBatch::new(&keypoints, None, 4).unwrap();
        let mut painter = Painter::new(&skeleton, &picture.pen());
        let channels = painter.channels();
        let row_len = size * channels;
        for _ in 0..2 {
            let mut whole = Vec::new();
            let mut rows = 0;
            painter
                .paint(&poses, 0, |band| {
                    assert_eq!(band.first_row, rows);
                    assert_eq!(band.pixels.len(), band.spans.len() * row_len);
                    assert!(band.pixels.len() <= BAND_BYTES);
                    for (pixels, span) in band.pixels.chunks_exact(row_len).zip(band.spans) {
                        assert!(span.start <= span.end && span.end <= size);
                        assert!(pixels[..span.start * channels].iter().all(|&c| c == 0));
                        assert!(pixels[span.end * channels..].iter().all(|&c| c == 0));
                    }
                    rows += band.spans.len();
                    whole.extend_from_slice(band.pixels);
                    Ok::<_, Error>(())
                })
                .unwrap();
            prop_assert_eq!(rows, size);
            prop_assert_eq!(whole, picture.draw_as(Level::best(), &keypoints, 4, 0u8));
        }
    }
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
fn black_rows_have_empty_spans_and_others_tight_ones() {
    let picture = Picture {
        size: 64,
        radius: 2.0,
        ..Picture::default()
    };
    let skeleton = chain(2);
    let keypoints = [10.0, 20.0, 10.0, 40.0];
    let poses = PoseBatch::new(&keypoints, None, 2).unwrap();
    let mut spans = Vec::new();
    let mut painter = Painter::new(&skeleton, &picture.pen());
    let drawn = painter.paint(&poses, 0, |band| {
        spans.extend_from_slice(band.spans);
        Ok::<_, Error>(())
    });
    drawn.unwrap();
    assert!(spans[..17].iter().chain(&spans[43..]).all(|span| *span == (0..0)));
    assert!(spans[23..37]
        .iter()
        .all(|span| *span == (9..12) || *span == (8..12)));
}

#[test]
fn gray_is_luma_and_bones_have_channels() {
    let skeleton = Skeleton::new(&[[0, 1], [1, 2]], &[[255, 0, 0], [0, 255, 0]], &[[0, 0, 255]; 3]).unwrap();
    let keypoints = [2.0, 2.5, 14.0, 2.5, 14.0, 14.0];
    let poses = PoseBatch::new(&keypoints, None, 3).unwrap();
    let pen = Pen::new(16, 2.0, 2.0, Layout::Nchw).unwrap();
    let mut gray = [9u8; 256];
    draw_into(&poses, &skeleton, &pen.with_style(Style::Gray), None, &mut gray).unwrap();
    // round(0.299 * 255), round(0.587 * 255) and round(0.114 * 255)
    let at = |row: usize, column: usize| gray[16 * row + column];
    assert_eq!([at(2, 8), at(8, 13), at(2, 2), at(10, 2)], [76, 150, 29, 0]);
    let mut bones = [9u8; 512];
    draw_into(
        &poses,
        &skeleton,
        &pen.with_style(Style::PerBone),
        None,
        &mut bones,
    )
    .unwrap();
    let (first, second) = bones.split_at(256);
    let single = Pen::new(16, 2.0, 0.0, Layout::Nhwc).unwrap();
    for (channel, ends) in [(first, &keypoints[..4]), (second, &keypoints[2..])] {
        let poses = PoseBatch::new(ends, None, 2).unwrap();
        let mut alone = [0u8; 768];
        draw_into(&poses, &chain(2), &single, None, &mut alone).unwrap();
        let white: Vec<_> = alone.chunks_exact(3).map(|pixel| pixel[0]).collect();
        assert_eq!(channel, white);
    }
}

#[test]
fn levels_have_names() {
    let levels = Level::available();
    assert_eq!(levels[0].name(), "portable");
    for level in levels {
        assert_eq!(Level::named(level.name()).unwrap(), level);
    }
    let unknown = Level::named("mmx").unwrap_err().to_string();
    assert_eq!(unknown, "this CPU has no level \"mmx\"");
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
