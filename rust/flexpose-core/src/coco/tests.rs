use std::io::{self, Read};

use proptest::prelude::*;

use super::*;

const HEAD: &str = r#"{"images":[{"id":7,"width":10,"height":20}],"categories":[{"id":1,"name":"p","keypoints":["a","b"]}],"annotations":["#;

fn read_text(text: &str) -> Result<CocoPoses, CocoError> {
    read(text.as_bytes(), &Options::default())
}

fn read_annotations(annotations: &str) -> Result<CocoPoses, CocoError> {
    read_text(&format!("{HEAD}{annotations}]}}"))
}

fn field(label_field: &str) -> Options<'_> {
    Options {
        label_field: Some(label_field),
        ..Options::default()
    }
}

/// One annotation with the keypoints given and whatever follows them.
fn pose(id: i64, rest: &str) -> String {
    format!(r#"{{"id":{id},"image_id":7,"category_id":1,{rest}}}"#)
}

fn place(error: &CocoError) -> (Option<usize>, Option<String>) {
    match error {
        CocoError::Malformed { place, .. } => (place.record, place.field_name()),
        CocoError::Open(error) | CocoError::Io(error) => panic!("{error}"),
    }
}

/// Gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let take = self.1.min(buffer.len()).min(self.0.len());
        buffer[..take].copy_from_slice(&self.0[..take]);
        self.0 = &self.0[take..];
        Ok(take)
    }
}

#[test]
fn reads_a_pose() {
    let poses = read_annotations(&pose(
        3,
        r#""keypoints":[1.5,-2,2.0,9,9,0],"num_keypoints":1,"action":"run","segmentation":{"counts":[[1,2]]}"#,
    ))
    .unwrap();
    assert_eq!(poses.keypoints, [1.5, -2.0, 0.0, 0.0]);
    assert_eq!(poses.visibility, [2, 0]);
    assert_eq!(poses.image_size, [10, 20]);
    assert_eq!(poses.ids, [3]);
    assert_eq!(poses.names.unwrap(), ["a", "b"]);
    assert_eq!(poses.category.unwrap(), "p");
    let labels = poses.labels.unwrap();
    assert_eq!(labels.table[labels.codes[0] as usize], "run");
}

#[test]
fn sections_may_come_in_any_order() {
    let annotation = pose(1, r#""keypoints":[1,2,2,3,4,1]"#);
    let text = format!(
        r#"{{"annotations":[{annotation}],"x":[{{"images":[]}}],"categories":[{{"keypoints":["a","b"],"id":1}}],"images":[{{"id":7}}]}}"#
    );
    let poses = read_text(&text).unwrap();
    assert_eq!(poses.keypoints, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!((poses.image_size, poses.counts.unknown_size), (vec![0, 0], 1));
}

#[test]
fn counts_what_is_left_out() {
    let records = [
        pose(1, r#""iscrowd":1,"keypoints":[1,1,2,1,1,2]"#),
        pose(2, r#""keypoints":[0,0,0,5,5,0]"#),
        pose(3, r#""segmentation":[[1,2,3]],"iscrowd":false"#),
        pose(4, r#""keypoints":[1,1,2,1,1,2],"num_keypoints":1"#),
    ];
    let poses = read_annotations(&records.join(",")).unwrap();
    let counts = ReadCounts {
        annotations: 4,
        images: 1,
        crowd: 1,
        unlabelled: 2,
        count_mismatch: 1,
        unknown_size: 0,
    };
    assert_eq!((poses.ids, poses.counts), (vec![4], counts));
}

#[test]
fn labels_come_from_the_first_field_in_use() {
    let label = |rest: &str| {
        let first = pose(1, &format!(r#""keypoints":[1,1,2,1,1,2]{rest}"#));
        let second = pose(2, r#""keypoints":[1,1,2,1,1,2]"#);
        let labels = read_annotations(&format!("{first},{second}")).unwrap().labels?;
        Some(
            labels
                .codes
                .iter()
                .map(|&code| labels.table[code as usize].clone())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(label(r#","class":"c","action":"a""#).unwrap(), ["a", ""]);
    assert_eq!(
        label(r#","class":-4,"action":null,"label":[1,{"x":2}]"#).unwrap(),
        ["-4", ""]
    );
    assert_eq!(label(r#","class":1.5"#), None);
}

#[test]
fn a_label_field_that_was_asked_for_must_hold_labels() {
    let text = |value: &str| {
        format!(
            "{HEAD}{}]}}",
            pose(1, &format!(r#""keypoints":[1,1,2,1,1,2],"sport":{value}"#))
        )
    };
    let labels = read(text("\"golf\"").as_bytes(), &field("sport"))
        .unwrap()
        .labels
        .unwrap();
    assert_eq!(labels.table[0], "golf");
    let error = read(text("[1]").as_bytes(), &field("sport")).unwrap_err();
    assert_eq!(place(&error), (Some(0), Some("sport".into())));
    let error = read(text("1").as_bytes(), &field("event")).unwrap_err();
    assert_eq!(place(&error), (None, Some("event".into())));
}

#[test]
fn several_categories_label_the_poses_if_they_share_the_joints() {
    let text = |other: &str| {
        format!(
            r#"{{"images":[{{"id":7}}],"categories":[{{"id":1,"name":"cat","keypoints":["a"]}},{{"id":2,"name":"dog","keypoints":["{other}"]}}],"annotations":[{{"id":1,"image_id":7,"category_id":2,"keypoints":[1,1,1]}},{{"id":2,"image_id":7,"category_id":1,"keypoints":[1,1,1]}}]}}"#
        )
    };
    let labels = read_text(&text("a")).unwrap().labels.unwrap();
    assert_eq!(
        (labels.table, labels.codes),
        (vec!["cat".to_owned(), "dog".to_owned()], vec![1, 0])
    );
    let error = read_text(&text("b")).unwrap_err();
    assert_eq!(place(&error), (None, Some("categories".into())));
    assert!(
        error.to_string().contains("cat") && error.to_string().contains("dog"),
        "{error}"
    );
}

#[test]
fn joints_without_names_are_counted() {
    let text = r#"{"images":[{"id":7}],"categories":[{"id":1}],"annotations":[{"id":1,"image_id":7,"category_id":1,"keypoints":[1,1,1,2,2,2]}REST]}"#;
    let poses = read_text(&text.replace("REST", "")).unwrap();
    assert_eq!((poses.names, poses.num_keypoints), (None, 2));
    let other = r#",{"id":2,"image_id":7,"category_id":1,"keypoints":[1,1,1]}"#;
    let error = read_text(&text.replace("REST", other)).unwrap_err();
    assert_eq!(place(&error), (Some(1), Some("keypoints".into())));
}

#[test]
fn errors_say_where() {
    let cases = [
        (
            pose(1, r#""keypoints":[1,1,2,"1",1,2]"#),
            "keypoints",
            "a finite number",
        ),
        (
            pose(1, r#""keypoints":[1,1,2,1,1,2.5]"#),
            "keypoints",
            "a visibility of 0, 1 or 2",
        ),
        (
            pose(1, r#""keypoints":[1,1,2,1e400,1,2]"#),
            "keypoints",
            "out of range",
        ),
        (pose(1, r#""keypoints":[1,1,2,NaN,1,2]"#), "keypoints", "NaN"),
        (pose(1, r#""keypoints":[1,1,2,1,1e8,2]"#), "keypoints", "within"),
        (
            pose(1, r#""keypoints":[1,1,2,1,1]"#),
            "keypoints",
            "3 numbers a keypoint",
        ),
        (pose(1, r#""keypoints":[1,1,2]"#), "keypoints", "6 numbers"),
        (
            pose(1, r#""keypoints":[1,1,2,1,1,2],"keypoints":[]"#),
            "keypoints",
            "repeated",
        ),
        (
            pose(1, r#""keypoints":[1,1,2,1,1,2],"bbox":[1,2,3]"#),
            "bbox",
            "4 finite numbers",
        ),
        (
            pose(1, r#""keypoints":[1,1,2,1,1,2],"iscrowd":2"#),
            "iscrowd",
            "0 or 1",
        ),
        (
            pose(1, r#""keypoints":[1,1,2,1,1,2],"num_keypoints":3"#),
            "num_keypoints",
            "at most 2",
        ),
        (
            pose(1, r#""keypoints":[1,1,2,1,1,2],"num_keypoints":-1"#),
            "num_keypoints",
            "0 or more",
        ),
        (pose(0, r#""iscrowd":0"#), "id", "unique"),
        (r#"{"id":1,"category_id":1}"#.into(), "image_id", "missing"),
        (
            r#"{"id":1,"category_id":1,"image_id":8}"#.into(),
            "image_id",
            "8 is none",
        ),
        (
            r#"{"id":1,"category_id":9,"image_id":7}"#.into(),
            "category_id",
            "9 is none",
        ),
        (
            r#"{"id":1.0,"category_id":9,"image_id":7}"#.into(),
            "id",
            "an integer",
        ),
    ];
    for (record, field, message) in cases {
        let error =
            read_annotations(&format!("{},{record}", pose(0, r#""keypoints":[1,1,2,1,1,2]"#))).unwrap_err();
        assert_eq!(place(&error), (Some(1), Some(field.into())), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn limits_stop_the_parser_at_the_place() {
    let deep = pose(0, &format!(r#""x":{}"#, "[".repeat(1000)));
    let long = pose(0, &format!(r#""x":{}"#, "1".repeat(100_000)));
    for (record, message) in [(deep, "levels"), (long, "number")] {
        let text = format!("{HEAD}{record}");
        for step in [1, 7, 4096, 1 << 20] {
            let error = read(Trickle(text.as_bytes(), step), &Options::default()).unwrap_err();
            assert_eq!(place(&error), (Some(0), Some("x".into())));
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}

#[test]
fn brackets_in_strings_do_not_nest() {
    let record = pose(
        1,
        &format!(r#""x":"\\\"{}","keypoints":[1,1,1,0,0,0]"#, "[{".repeat(500)),
    );
    assert_eq!(read_annotations(&record).unwrap().ids, [1]);
}

#[test]
fn what_is_not_json_is_named() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "empty"),
        (b"\xEF\xBB\xBF{}", "BOM"),
        (b"\xFF\xFE{\0}\0", "UTF-16"),
        (b"\0{\0}", "UTF-16"),
        (b"{\0\0\0", "UTF-32"),
        (b"\x1F\x8B\x08\0", "gzip"),
        (b"[1]", "got an array"),
        (b"   ", "cut off"),
    ];
    for (bytes, message) in cases {
        let error = read(bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_wrong_path_is_told_from_a_wrong_file() {
    for path in ["no such file", "src", "a\0b"] {
        let error = read_path(Path::new(path), &Options::default()).unwrap_err();
        assert!(matches!(error, CocoError::Open(_)), "{error}");
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let names = ["a".to_owned()];
    let good = WriteInput {
        keypoints: &[1.0, 2.0, 3.0, 4.0],
        visibility: &[2, 1],
        image_size: &[5, 5, 6, 6],
        ids: &[1, 2],
        labels: None,
        names: &names,
        bones: &[],
        category: "p",
        version: "0",
        description: "",
    };
    write(&good, io::sink()).unwrap();
    let bad = [
        (WriteInput { ids: &[1, 1], ..good }, "ids"),
        (
            WriteInput {
                keypoints: &[1.0, 2.0, f32::NAN, 4.0],
                ..good
            },
            "keypoints",
        ),
        (
            WriteInput {
                keypoints: &[1.0, 2.0, 3.0, 1e8],
                ..good
            },
            "keypoints",
        ),
        (
            WriteInput {
                visibility: &[2, 3],
                ..good
            },
            "visibility",
        ),
        (
            WriteInput {
                image_size: &[5, 5, 0, 6],
                ..good
            },
            "image_size",
        ),
    ];
    for (input, field) in bad {
        let error = write(&input, io::sink()).unwrap_err();
        assert_eq!(place(&error), (Some(1), Some(field.into())));
    }
    let short = WriteInput {
        keypoints: &[1.0],
        ..good
    };
    assert!(write(&short, io::sink())
        .unwrap_err()
        .to_string()
        .contains("4 values"));
}

prop_compose! {
    /// (x, y, v) with any coordinate of the format's range, down to subnormals and -0.
    fn point()(
        x in any::<f32>().prop_map(fold),
        y in any::<f32>().prop_map(fold),
        v in 0u8..=2,
    ) -> (f32, f32, u8) {
        if v == 0 { (0.0, 0.0, 0) } else { (x, y, v) }
    }
}

/// Any bit pattern, brought into the range.
fn fold(value: f32) -> f32 {
    if value.is_finite() {
        value % MAX_COORDINATE
    } else {
        -0.0
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn what_is_written_comes_back_bit_for_bit(
        rows in prop::collection::btree_map(any::<i64>(), (prop::collection::vec(point(), 3), 1..=1_000_000i32, ".{0,20}"), 0..6),
        labelled in any::<bool>(),
        step in 1usize..50,
    ) {
        let ids: Vec<i64> = rows.keys().copied().collect();
        let points: Vec<_> = rows.values().flat_map(|row| {
            // The reader leaves out poses without a labelled keypoint.
            let mut points = row.0.clone();
            points[0].2 = points[0].2.max(1);
            points
        }).collect();
        let keypoints: Vec<f32> = points.iter().flat_map(|&(x, y, _)| [x, y]).collect();
        let visibility: Vec<u8> = points.iter().map(|point| point.2).collect();
        let image_size: Vec<i32> = rows.values().flat_map(|row| [row.1, 7]).collect();
        let labels: Vec<String> = rows.values().map(|row| row.2.clone()).collect();
        let names = ["a", "b\"\\", "\u{e9}\n"].map(str::to_owned);
        let input = WriteInput {
            keypoints: &keypoints,
            visibility: &visibility,
            image_size: &image_size,
            ids: &ids,
            labels: labelled.then_some(labels.as_slice()),
            names: &names,
            bones: &[(0, 1), (1, 2)],
            category: "thing",
            version: "0",
            description: "\u{0}",
        };
        let mut bytes = Vec::new();
        write(&input, &mut bytes).unwrap();
        let poses = read(Trickle(&bytes, step), &Options::default()).unwrap();
        prop_assert_eq!(bits(&poses.keypoints), bits(&keypoints));
        prop_assert_eq!(poses.visibility, visibility);
        prop_assert_eq!(poses.image_size, image_size);
        prop_assert_eq!(poses.names.unwrap(), names);
        prop_assert_eq!(poses.bones, [[1, 2], [2, 3]]);
        let read_labels = poses.labels.map(|labels| {
            labels.codes.iter().map(|&code| labels.table[code as usize].clone()).collect::<Vec<_>>()
        });
        prop_assert_eq!(read_labels, (labelled && !ids.is_empty()).then_some(labels));
        prop_assert_eq!(poses.ids, ids);
    }

    #[test]
    fn damaged_files_never_panic_and_chunks_do_not_matter(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
        step in 1usize..9,
    ) {
        let mut bytes = format!("{HEAD}{}]}}", pose(3, r#""keypoints":[1.5,-2,2,9,9,0],"action":"run""#)).into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let whole = read(bytes.as_slice(), &Options::default());
        let parts = read(Trickle(&bytes, step), &Options::default());
        match (whole, parts) {
            (Ok(whole), Ok(parts)) => prop_assert_eq!(whole, parts),
            (Err(whole), Err(parts)) => prop_assert_eq!(whole.to_string(), parts.to_string()),
            _ => prop_assert!(false, "chunks changed the outcome"),
        }
    }
}
