//! Readers and writers of shards: round trips, and any bytes at all.

mod shard_bytes;

use std::io::Cursor;

use flexpose_core::shards::safetensors::{self, About};
use flexpose_core::shards::tar::{self, Limits};
use flexpose_core::shards::{OwnedPoses, Plan, ShardError};
use proptest::prelude::*;

fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in members {
        tar::append(&mut bytes, name, |out| {
            out.extend_from_slice(data);
            Ok::<_, ()>(())
        })
        .unwrap();
    }
    bytes.extend_from_slice(&tar::END);
    bytes
}

fn members() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let part = prop_oneof![8 => "[0-9A-Za-z_-][0-9A-Za-z_.-]{0,20}", 1 => Just("a/b".to_owned())];
    prop::collection::vec((part, prop::collection::vec(any::<u8>(), 0..1500)), 0..6)
}

fn file(poses: &OwnedPoses, about: &About) -> Vec<u8> {
    let mut bytes = Vec::new();
    safetensors::write(&poses.view(0), about, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<_, ()>(())
    })
    .unwrap();
    bytes
}

fn poses() -> impl Strategy<Value = (OwnedPoses, About)> {
    let about = (".{0,40}", prop::option::of(prop::collection::vec(".{0,8}", 0..4)));
    (0_usize..40, 1_usize..20, about).prop_flat_map(|(n, k, (skeleton, labels))| {
        let num_labels = labels.as_ref().map_or(0, Vec::len);
        let about = About { skeleton, labels };
        let finite = prop::num::f32::ANY.prop_map(|x| if x.is_finite() { x } else { 0.0 });
        (
            prop::collection::vec(finite, n * k * 2),
            prop::collection::vec(0_u8..3, n * k),
            prop::collection::vec(0_i64..1000, n),
            prop::collection::vec(-1_i32..i32::try_from(num_labels).unwrap(), n),
            prop::collection::vec(any::<i64>(), n),
            prop::collection::vec(-1e9_f64..1e9, n * 3),
        )
            .prop_map(move |(keypoints, visibility, steps, label, id, frame)| {
                let mut row = -1;
                let index = steps.iter().map(|step| {
                    row += 1 + step;
                    row
                });
                let poses = OwnedPoses {
                    num_keypoints: k,
                    keypoints,
                    visibility,
                    index: index.collect(),
                    id,
                    frame,
                    label,
                };
                (poses, about.clone())
            })
    })
}

/// Bytes with a few changes: most of these get far into a reader.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (bytes, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, end, cut)| {
            if !bytes.is_empty() {
                for (place, value) in changes {
                    let place = place.index(bytes.len());
                    bytes[place] = value;
                }
                if cut {
                    bytes.truncate(end.index(bytes.len()));
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_archive_comes_back(members in members()) {
        let bytes = archive(&members);
        let read = tar::list(Cursor::new(&bytes), Limits::default()).unwrap();
        prop_assert_eq!(read.len(), members.len());
        for (entry, (name, data)) in read.iter().zip(&members) {
            prop_assert_eq!(&entry.name, name);
            let start = usize::try_from(entry.offset).unwrap();
            prop_assert_eq!(&bytes[start..start + data.len()], &data[..]);
            prop_assert_eq!(entry.size, data.len() as u64);
        }
        shard_bytes::check_tar(&bytes);
    }

    #[test]
    fn poses_come_back((poses, about) in poses()) {
        let bytes = file(&poses, &about);
        let (read, told) = safetensors::read(&bytes[..], bytes.len() as u64, 1 << 30).unwrap();
        prop_assert_eq!(read, poses);
        prop_assert_eq!(told, about);
    }

    #[test]
    fn a_damaged_archive_is_read_rightly_or_refused(bytes in damaged(members().prop_map(|m| archive(&m)))) {
        shard_bytes::check_tar(&bytes);
    }

    #[test]
    fn a_damaged_keypoint_shard_is_read_rightly_or_refused(
        bytes in damaged(poses().prop_map(|(poses, about)| file(&poses, &about)))
    ) {
        shard_bytes::check_safetensors(&bytes);
    }

    #[test]
    fn any_bytes_are_read_rightly_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        shard_bytes::check(&bytes);
    }
}

const PLAN: &str = r#"{"bad":0,"config":{"style":"flexpose","size_px":8,"line_width_px":2.0,"joint_radius_px":2.0},
    "content":"","count":5,"image":null,"inputs":[],"kind":"keypoints","labels":null,"shards":[[0,3],[3,5]],
    "skeleton":"","skeleton_name":""}"#;

#[test]
fn a_plan_says_itself_again() {
    shard_bytes::check_plan(PLAN.as_bytes());
    let plan = Plan::new(PLAN).unwrap();
    assert!(plan
        .text()
        .starts_with(r#"{"bad":0,"config":{"joint_radius_px":2.0,"line_width_px":2.0,"#));
    assert_eq!(plan.shard_len(1), 2);
    assert_eq!(plan.config_hash.len(), 64);
}

#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    for (before, after, told) in [
        ("[3,5]", "[4,5]", "shards[1]: must go on at 3"),
        ("[3,5]", "[3,3]", "shards[1]: must go on at 3 and not be empty"),
        ("\"count\":5", "\"count\":6", "count: must be the 5 poses"),
        (
            "\"kind\":\"keypoints\"",
            "\"kind\":\"npy\"",
            "image: must be a square for pictures",
        ),
        ("\"count\":5", "\"count\":-5", "invalid value"),
        ("\"bad\":0", "\"good\":0", "unknown field"),
    ] {
        let error = Plan::new(&PLAN.replace(before, after)).unwrap_err();
        assert!(matches!(error, ShardError::Usage(_)));
        assert!(error.to_string().contains(told), "{error}");
    }
}
