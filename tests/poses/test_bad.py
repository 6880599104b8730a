"""Bad records: what is left out, what is noted, and when there are too many."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexpose.errors import DataError, UsageError
from flexpose.poses import BadRecord, BadRecords, read_poses, write_poses
from flexpose.poses.formats.coco import CocoReport, read_coco_report
from flexpose.skeleton import load_skeleton

RAW = "@raw@"


def annotation(i, **fields):
    return {"id": i, "image_id": 1, "category_id": 1, "keypoints": [i, i + 0.5, 2, *[7, 8, 1] * 12], **fields}


def save(path, annotations, literal=""):
    document = {
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(load_skeleton("body13").names)}],
        "images": [{"id": 1, "width": 64, "height": 48}],
    }
    path.write_text(json.dumps(document).replace(f'"{RAW}"', literal), encoding="utf-8")
    return path


def noted(bad):
    return [(one.record, one.field) for one in bad.records]


WRONG = {
    "12 triples": ({"keypoints": [1, 1, 2] * 12}, "", "keypoints", "13 x 3"),
    "38 numbers": ({"keypoints": [1, 1, 2] * 12 + [1, 1]}, "", "keypoints", "3 numbers a keypoint"),
    "a visibility of 3": ({"keypoints": [1, 1, 3, *[1, 1, 2] * 12]}, "", "keypoints", "0, 1 or 2"),
    "text": ({"keypoints": [1, "1", 2, *[1, 1, 2] * 12]}, "", "keypoints", "a finite number"),
    "deep": ({"keypoints": [[[1, {"a": [[]]}], 2], 1, 2, *[1, 1, 2] * 12]}, "", "keypoints", "an array"),
    "far": ({"keypoints": [1, 1e8, 2, *[1, 1, 2] * 12]}, "", "keypoints", "within"),
    "no array": ({"keypoints": {"x": [1, [2]]}}, "", "keypoints", "got an object"),
    "NaN": ({"keypoints": [RAW, 1, 2, *[1, 1, 2] * 12]}, "NaN", "keypoints", "got NaN"),
    "Infinity": ({"keypoints": [1, RAW, 2, *[1, 1, 2] * 12]}, "Infinity", "keypoints", "got Infinity"),
    "-Infinity": ({"keypoints": [1, 1, RAW, *[1, 1, 2] * 12]}, "-Infinity", "keypoints", "got -Infinity"),
    "1e400": ({"keypoints": [1, RAW, 2, *[1, 1, 2] * 12]}, "1e400", "keypoints", "out of range"),
    "NaN where nobody looks": ({"extra": {"a": [1, RAW, "x"]}}, "NaN", "extra", "got NaN"),
    "no image": ({"image_id": 9}, "", "image_id", "9 is none"),
    "no category": ({"category_id": 9}, "", "category_id", "9 is none"),
    "id of another": ({"id": 1}, "", "id", "unique"),
    "id of text": ({"id": "2"}, "", "id", "an integer"),
    "short box": ({"bbox": [1, 2]}, "", "bbox", "4 finite numbers"),
    "long box": ({"bbox": [1, 2, 3, 4, 5, [6]]}, "", "bbox", "got more"),
    "crowd": ({"iscrowd": 2}, "", "iscrowd", "0 or 1"),
    "count": ({"num_keypoints": 14}, "", "num_keypoints", "at most 13"),
    "key twice": ({"keypoints": RAW}, '[1,1,2],"keypoints":[[1]]', "keypoints", "repeated"),
    "long label": ({"action": "x" * 2000}, "", "action", "1024 bytes"),
    "two faults": ({"bbox": 1, "id": None}, "", "id", "an integer"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("place", [1, 2])
def test_a_bad_annotation_is_left_out(tmp_path, name, place):
    fields, literal, field, reason = WRONG[name]
    good = [annotation(i) for i in (1, 3, 4)]
    whole = [*good[:place], annotation(2, **fields), *good[place:]]
    path = save(tmp_path / "p.json", whole, literal)
    with pytest.raises(DataError) as caught:
        read_poses(path)
    assert caught.value.record == place
    bad = BadRecords(0.25)
    poses = read_poses(path, bad=bad)
    assert poses == read_poses(save(tmp_path / "good.json", good))
    assert noted(bad) == [(place, field)]
    assert reason in bad.records[0].reason
    assert bad.records[0].path == str(path)
    assert (bad.count, bad.total) == (1, 4)
    bad.check()


def test_an_annotation_that_is_no_object_or_has_no_id(tmp_path):
    without = annotation(2)
    del without["id"]
    path = save(tmp_path / "p.json", [annotation(1), [3], None, without, "x", annotation(5)])
    bad = BadRecords(1)
    assert read_poses(path, bad=bad).ids.tolist() == [1, 5]
    assert noted(bad) == [(1, "annotations"), (2, "annotations"), (3, "id"), (4, "annotations")]


def test_labels_stay_with_their_poses(tmp_path):
    rows = [annotation(i, action=f"a{i}") for i in range(1, 8)]
    rows[0]["image_id"] = rows[3]["category_id"] = 7
    rows[5]["keypoints"] = []
    rows[6]["iscrowd"] = 1
    path = save(tmp_path / "p.json", rows)
    bad = BadRecords(1)
    poses, report = read_coco_report(path, bad=bad)
    assert poses.labels == ("a2", "a3", "a5")
    assert poses.keypoints[:, 0].tolist() == [[i, i + 0.5] for i in (2, 3, 5)]
    assert noted(bad) == [(0, "image_id"), (3, "category_id"), (5, "keypoints")]
    assert bad.total == 6  # the crowd is neither a pose nor bad
    expected = {"images": 1, "annotations": 7, "poses": 3, "crowd": 1, "unlabelled": 0, "bad": 3}
    assert report == CocoReport(path=str(path), **expected, count_mismatch=0, unknown_size=0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"width": 64', '"width": NaN'),
        ('"annotations"', '"annotation"'),
        ('"annotations": [', '"annotations": [1 2'),
        ('"id": 2', '"id": nul'),
        ('"id": 2', '"id": ' + "[" * 500),
        ("}]}", "}]"),
        ('"name"', '"keypoints": [], "name"'),
    ],
)
def test_what_concerns_the_whole_file_stays_an_error(tmp_path, old, new):
    path = save(tmp_path / "p.json", [annotation(1), annotation(2)])
    text = path.read_text(encoding="utf-8")
    path.write_text(new.join(text.rsplit(old, 1)), encoding="utf-8")
    with pytest.raises(DataError):
        read_poses(path, bad=BadRecords(1))


def test_a_million_faults_are_counted_and_some_described(tmp_path):
    path = save(tmp_path / "p.json", [annotation(1), *[0] * 30_000])
    bad = BadRecords(1)
    assert len(read_poses(path, bad=bad)) == 1
    assert (len(bad.records), bad.count, bad.total) == (10_000, 30_000, 30_001)


def test_bad_rows_of_npz(tmp_path, poses):
    path = tmp_path / "p.npz"
    write_poses(poses, path)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name].copy() for name in file}
    arrays["keypoints"][1, 2, 0] = np.nan
    arrays["keypoints"][1, 5] = np.inf  # not labelled
    arrays["visibility"] = arrays["visibility"].astype(np.int16)
    arrays["visibility"][3, 4] = 300
    arrays["image_size"][4] = 0
    np.savez(path, **arrays)
    bad = BadRecords(0.5)
    assert read_poses(path, bad=bad) == poses[[0, 2, 5]]
    assert noted(bad) == [(1, "keypoints"), (3, "visibility"), (4, "image_size")]
    assert "at joint 2" in bad.records[0].reason
    assert (bad.count, bad.total) == (3, 6)
    for record, field in noted(bad):
        strict = {
            **arrays,
            **{name: arrays[name][[0, record]] for name in ("keypoints", "visibility", "ids")},
        }
        strict |= {"image_size": arrays["image_size"][[0, record]], "labels": arrays["labels"][[0, record]]}
        np.savez(tmp_path / "one.npz", **strict)
        with pytest.raises(DataError) as caught:
            read_poses(tmp_path / "one.npz")
        assert (caught.value.record, caught.value.field) == (1, field)


def test_bad_actions_of_npz(tmp_path):
    body = load_skeleton("body13")
    arrays = {
        "keypoints": np.ones((4, 13, 2)),
        "joint_names": np.array(body.names),
        "action": np.array([0, -1, 1, 2]),
        "action_names": np.array(["run", "sit"]),
        "image_size": np.array([4, 4]),
    }
    np.savez(tmp_path / "p.npz", **arrays)
    bad = BadRecords(0.5)
    assert read_poses(tmp_path / "p.npz", bad=bad).labels == ("run", "sit")
    assert noted(bad) == [(1, "action"), (3, "action")]
    arrays["keypoints"] = np.ones((4, 12, 2))
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(DataError, match="12 names"):
        read_poses(tmp_path / "p.npz", bad=bad)


def test_good_files_note_nothing(tmp_path, poses):
    bad = BadRecords(0)
    for name in ("p.json", "p.npz"):
        write_poses(poses, tmp_path / name)
        assert read_poses(tmp_path / name, bad=bad) == poses
    assert (bad.records, bad.count, bad.total) == ([], 0, 2 * len(poses))
    bad.check()


@given(share=st.integers(0, 1000), total=st.integers(0, 400), more=st.sampled_from([-1, 0, 1]))
def test_the_boundary_is_exact(share, total, more):
    limit = Fraction(share, 1000) * total
    count = min(max(int(limit) + more, 0), total)
    bad = BadRecords(share / 1000)
    bad.add([], poses=total - count, count=count)
    if count > limit:
        with pytest.raises(DataError, match=f"{count} of {total} records are bad"):
            bad.check()
    else:
        bad.check()


def test_the_share_is_that_of_all_files_and_the_message_tells_the_first():
    bad = BadRecords(0.29)
    found = [BadRecord("a.json", i, "keypoints", "wrong") for i in range(29)]
    bad.add(found, poses=71)
    bad.check()
    bad.add([], poses=0)
    bad.check()
    bad.add([BadRecord("b.npz", 7, None, "no")], poses=0)
    with pytest.raises(DataError) as caught:
        bad.check()
    expected = (
        "30 of 101 records are bad, at most a share of 0.29 may be: a.json: record 0: keypoints: wrong; "
    )
    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith("; and 27 more")
    assert caught.value.path is None
    none = BadRecords(0)
    none.add([BadRecord("b.npz", 7, None, "no")], poses=5)
    with pytest.raises(DataError, match=r"^b\.npz: 1 of 6 records are bad.*: record 7: no$") as caught:
        none.check()
    assert caught.value.path == "b.npz"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True])
def test_no_such_share(share):
    with pytest.raises(UsageError, match="max_fraction must be 0 to 1"):
        BadRecords(share)
