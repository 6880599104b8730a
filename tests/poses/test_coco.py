"""COCO files against pycocotools and Python's json, and back and forth without a bit lost."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses import PoseSet, map_joints, read_poses
from flexpose.poses.formats.coco import CocoReport, read_coco, read_coco_report, write_coco
from flexpose.skeleton import Skeleton, load_skeleton

COCO17 = load_skeleton("coco17")


def document(annotations, *, names=COCO17.names, images=None, **category):
    """A COCO document; annotations get ids, an image and a category unless they have them."""
    annotations = [{"id": i, "image_id": 1, "category_id": 1, **a} for i, a in enumerate(annotations, 1)]
    categories = [
        {"id": 1, "name": "person", **({} if names is None else {"keypoints": list(names)}), **category}
    ]
    images = [{"id": 1, "width": 64, "height": 48}] if images is None else images
    return {"images": images, "annotations": annotations, "categories": categories}


def triples(k, offset=0, v=2):
    return [value for i in range(k) for value in (i + offset, 2 * i + 0.5, v)]


@pytest.fixture
def saved(tmp_path):
    """Save a document (or raw text) and give its path."""

    def save(content, name="poses.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return save


def random_poses(n, seed=0, skeleton=COCO17):
    """Poses as detectors give them: fractions of pixels, and a third of the joints occluded or missing."""
    rng = np.random.default_rng(seed)
    keypoints = rng.normal(200, 80, (n, skeleton.num_keypoints, 2))
    visibility = rng.choice([0, 1, 2, 2, 2, 2], (n, skeleton.num_keypoints))
    visibility[:, 0] = 2
    labels = rng.choice(["run", "jump", "", "Köpfen 球"], n).tolist()
    size, ids = rng.integers(300, 2000, (n, 2)), rng.permutation(n) * 7 - 3
    return PoseSet(
        keypoints,
        visibility,
        skeleton=skeleton,
        image_size=size,
        ids=ids,
        labels=labels,
    )


def by_json(path):
    """The plain way: Python's json, whole in memory."""
    loaded = json.loads(path.read_bytes())
    size = {image["id"]: (image["width"], image["height"]) for image in loaded["images"]}
    annotations = loaded["annotations"]
    numbers = np.array([a["keypoints"] for a in annotations], np.float64)
    numbers = numbers.reshape(len(annotations), -1, 3)
    visibility = numbers[..., 2].astype(np.uint8)
    keypoints = np.where(visibility[..., None] > 0, numbers[..., :2], 0).astype(np.float32)
    return keypoints, visibility, [size[a["image_id"]] for a in annotations], [a["id"] for a in annotations]


def assert_as_json_reads_it(path):
    poses = read_coco(path)
    keypoints, visibility, size, ids = by_json(path)
    np.testing.assert_array_equal(poses.keypoints, keypoints)
    np.testing.assert_array_equal(poses.visibility, visibility)
    np.testing.assert_array_equal(poses.image_size, size)
    np.testing.assert_array_equal(poses.ids, ids)


def test_agrees_with_json(tmp_path):
    path = tmp_path / "poses.json"
    write_coco(random_poses(200), path)
    assert_as_json_reads_it(path)


@pytest.mark.parametrize("name", ["person_keypoints_train2017_body13.json", "lab_cmu_shots16.json"])
def test_agrees_with_json_on_real_poses(real_data, name):
    assert_as_json_reads_it(real_data / name)


def test_reads_real_guide_poses_with_their_actions(real_data):
    poses = read_coco(real_data / "lab_cmu_shots16.json")
    assert poses.skeleton == load_skeleton("body13")
    annotations = json.loads((real_data / "lab_cmu_shots16.json").read_bytes())["annotations"]
    assert poses.labels == tuple(a["action"] for a in annotations)
    rows = np.load(real_data / "lab_cmu_shots16_rows.npy", allow_pickle=False)
    with np.load(real_data / "lab_cmu.npz", allow_pickle=False) as lab:
        np.testing.assert_allclose(poses.keypoints, lab["keypoints"][rows], atol=0.006)


def test_pycocotools_reads_what_is_written(tmp_path):
    poses = random_poses(20)
    write_coco(poses, tmp_path / "poses.json", description="a test")
    coco = load_with_pycocotools(tmp_path / "poses.json")
    assert coco.dataset["info"]["description"] == "a test"
    category = coco.loadCats(coco.getCatIds())[0]
    assert tuple(category["keypoints"]) == COCO17.names
    assert [(a - 1, b - 1) for a, b in category["skeleton"]] == list(COCO17.bones)
    annotations = coco.loadAnns(poses.ids.tolist())
    numbers = np.array([a["keypoints"] for a in annotations], np.float32).reshape(-1, 17, 3)
    np.testing.assert_array_equal(numbers[..., :2], poses.keypoints)
    np.testing.assert_array_equal(numbers[..., 2], poses.visibility)
    images = coco.loadImgs([a["image_id"] for a in annotations])
    assert [(i["width"], i["height"]) for i in images] == [tuple(size) for size in poses.image_size.tolist()]
    for annotation, kp, seen in zip(annotations, poses.keypoints, poses.visibility > 0, strict=True):
        low, high = kp[seen].min(axis=0), kp[seen].max(axis=0)
        np.testing.assert_allclose(annotation["bbox"], [*low, *(high - low)], rtol=1e-5)
        np.testing.assert_allclose(annotation["area"], np.prod(high - low), rtol=1e-5)
        assert annotation["num_keypoints"] == seen.sum()
        assert annotation["iscrowd"] == 0


def test_poses_score_1_against_themselves(tmp_path):
    from pycocotools.cocoeval import COCOeval

    poses = random_poses(10)
    write_coco(poses, tmp_path / "poses.json")
    truth = load_with_pycocotools(tmp_path / "poses.json")
    results = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 0.9}
        for a in truth.dataset["annotations"]
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    assert evaluation.stats[5] == pytest.approx(1.0)


def load_with_pycocotools(path):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@st.composite
def pose_sets(draw):
    n, skeleton = draw(st.integers(0, 4)), load_skeleton("body13")
    coordinates = st.floats(-1e7, 1e7, width=32, allow_subnormal=True)
    keypoints = draw(hnp.arrays(np.float32, (n, 13, 2), elements=coordinates))
    visibility = draw(hnp.arrays(np.uint8, (n, 13), elements=st.integers(0, 2)))
    visibility[visibility[:, 3] == 0, 3] = 1  # a pose without a labelled joint is not read back
    texts = st.text(st.characters(codec="utf-8"), max_size=20)
    return PoseSet(
        keypoints,
        visibility,
        skeleton=skeleton,
        image_size=draw(hnp.arrays(np.int32, (n, 2), elements=st.integers(1, 1_000_000))),
        ids=draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n, unique=True)),
        labels=draw(st.none() | st.lists(texts, min_size=n, max_size=n)) if n else None,
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(poses=pose_sets())
def test_round_trip_loses_no_bit(tmp_path, poses):
    path = tmp_path / "poses.json"
    write_coco(poses, path)
    again = read_coco(path, poses.skeleton if len(poses) == 0 else None)
    for field in ("keypoints", "visibility", "image_size", "ids"):
        expected, got = getattr(poses, field), getattr(again, field)
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert got.tobytes() == expected.tobytes(), field
    assert again.labels == poses.labels
    assert again.skeleton == poses.skeleton


def test_decimals_are_rounded_once(saved):
    # Through float64 it would become the midpoint of two float32 first, and then the wrong one of them.
    text = json.dumps(document([{"keypoints": triples(17)}])).replace(
        "[0, ", "[1.000000059604644775390626, ", 1
    )
    assert read_coco(saved(text)).keypoints[0, 0, 0] == np.nextafter(np.float32(1), np.float32(2))


def test_odd_but_valid(saved):
    keypoints = triples(17)
    keypoints[:6] = [-3.25, 1e2, 2.0, 12345, -0.0, 1.0]
    annotation = {
        "keypoints": keypoints,
        "segmentation": {"size": [4, 4], "counts": [3, 2, [["deep"]], {"x": "]}"}]},
        "iscrowd": False,
        "score": -1e-9,
        "num_keypoints": 17,
        "extra": {"keypoints": "none"},
    }
    text = json.dumps({**document([annotation]), "licenses": None, "é": '\U0001f600 \\ " [{'}, indent=3)
    poses = read_coco(saved(text.replace("\n", "\r\n")))
    np.testing.assert_array_equal(poses.keypoints[0, :2], np.float32([[-3.25, 100], [12345, -0.0]]))
    assert np.signbit(poses.keypoints[0, 1, 1])
    assert poses.visibility[0, :2].tolist() == [2, 1]


def test_what_is_left_out_is_counted(saved):
    images = [{"id": 1, "width": 64, "height": 48}, {"id": 2}]
    annotations = [
        {"keypoints": triples(17)},
        {"keypoints": triples(17), "iscrowd": 1},
        {"keypoints": [5, 5, 0] * 17, "num_keypoints": 0},
        {"bbox": [1, 2, 3, 4]},
        {"keypoints": triples(17), "num_keypoints": 16, "image_id": 2},
    ]
    path = saved(document(annotations, images=images))
    poses, report = read_coco_report(path)
    assert poses.ids.tolist() == [1, 5]
    assert poses.image_size.tolist() == [[64, 48], [16, 33]]
    expected = {"images": 2, "annotations": 5, "poses": 2, "crowd": 1, "unlabelled": 2}
    assert report == CocoReport(path=str(path), **expected, count_mismatch=1, unknown_size=1)


def test_numbers_of_unlabelled_points_are_ignored(saved):
    keypoints = triples(17)
    keypoints[3:6] = [-1e30, 7, 0]
    poses = read_coco(saved(document([{"keypoints": keypoints}])))
    assert poses.keypoints[0, 1].tolist() == [0, 0]
    assert poses.visibility[0, 1] == 0


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ({"action": "run"}, {"action": "sit"}, ("run", "sit")),
        ({"label": 3, "class": "a"}, {"label": -4}, ("3", "-4")),
        ({"class": "a"}, {}, ("a", "")),
        ({"action": None, "label": ["a"], "class": 1.5}, {}, None),
        ({}, {}, None),
        ({"action": ""}, {}, ("", "")),
    ],
)
def test_labels(saved, first, second, labels):
    path = saved(document([{"keypoints": triples(17), **first}, {"keypoints": triples(17), **second}]))
    assert read_coco(path).labels == labels


def test_label_field(saved):
    path = saved(
        document([{"keypoints": triples(17), "sport": 5, "action": "x"}, {"keypoints": triples(17)}])
    )
    assert read_coco(path, label_field="sport").labels == ("5", "")
    with pytest.raises(DataError) as caught:
        read_coco(path, label_field="event")
    assert caught.value.field == "event"
    with pytest.raises(UsageError, match="label_field"):
        read_coco(path, label_field="image_id")
    path = saved(document([{"keypoints": triples(17)}, {"keypoints": triples(17), "sport": [5]}]))
    with pytest.raises(DataError, match="a string or an integer") as caught:
        read_coco(path, label_field="sport")
    assert (caught.value.record, caught.value.field) == (1, "sport")


def test_categories_of_one_skeleton_become_labels(saved):
    content = document([{"keypoints": triples(17), "category_id": 5}, {"keypoints": triples(17)}])
    content["categories"] += [
        {"id": 5, "name": "child", "keypoints": list(COCO17.names)},
        {"id": 6, "name": "cup"},
    ]
    assert read_coco(saved(content)).labels == ("child", "person")
    content["annotations"][0]["category_id"] = 1
    assert read_coco(saved(content)).labels is None


def test_another_skeleton_of_the_file_does_not_matter_unless_used(saved):
    content = document([{"keypoints": triples(17)}])
    content["categories"].append({"id": 5, "name": "dog", "keypoints": ["nose", "tail"]})
    assert read_coco(saved(content)).skeleton == COCO17
    content["annotations"].append({"id": 9, "image_id": 1, "category_id": 5, "keypoints": triples(2)})
    with pytest.raises(DataError, match=r"`person`.*`dog`"):
        read_coco(saved(content))


def test_a_skeleton_of_the_files_own(saved, tmp_path):
    path = saved(
        document([{"keypoints": triples(3)}], names=["a", "b", "c"], name="trio", skeleton=[[1, 2], [3, 2]])
    )
    poses = read_coco(path)
    assert poses.skeleton == Skeleton("trio", ["a", "b", "c"], [(0, 1), (2, 1)])
    write_coco(poses, tmp_path / "again.json")
    assert read_coco(tmp_path / "again.json").skeleton == poses.skeleton
    given_by_caller = Skeleton("mine", ["a", "b", "c"], [(0, 2)])
    assert read_coco(path, given_by_caller).skeleton == given_by_caller


def test_a_file_without_joint_names_needs_a_skeleton(saved):
    path = saved(document([{"keypoints": triples(17)}], names=None))
    with pytest.raises(DataError, match="skeleton='coco17'") as caught:
        read_coco(path)
    assert caught.value.field == "categories.keypoints"
    for wanted in ("coco17", COCO17):
        assert read_poses(path, wanted).skeleton == COCO17
    with pytest.raises(DataError, match="13 keypoints of body13, got 17"):
        read_coco(path, "body13")


def test_a_wanted_skeleton_is_mapped(saved):
    path = saved(document([{"keypoints": triples(17)}]))
    body13 = load_skeleton("body13")
    assert read_coco(path, "body13") == map_joints(read_coco(path), body13)
    assert read_coco(path, body13).keypoints[0, 1].tolist() == [5, 10.5]
    with pytest.raises(UsageError, match="no source for") as caught:
        read_coco(path, Skeleton("tail", ["tail"]))
    assert str(path) in str(caught.value)


def test_no_poses_at_all(saved, tmp_path):
    poses = read_coco(saved(document([])))
    assert (len(poses), poses.skeleton, poses.labels) == (0, COCO17, None)
    write_coco(poses, tmp_path / "none.json")
    assert read_coco(tmp_path / "none.json") == poses


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"ids": [4, 4]}, "ids", "unique"),
        ({"image_size": [[10, 10], [2_000_000, 10]]}, "image_size", "1 to 1000000"),
        ({"labels": ["a", "b" * 2000]}, "labels", "1024 bytes"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(tmp_path, change, field, message):
    poses = random_poses(2).replace(**change)
    (tmp_path / "poses.json").write_text("old")
    with pytest.raises(DataError, match=message) as caught:
        write_coco(poses, tmp_path / "poses.json")
    assert (caught.value.record, caught.value.field) == (1, field)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("poses.json", "old")]


def test_absurd_coordinates_are_not_written(tmp_path):
    keypoints = np.ones((1, 17, 2))
    keypoints[0, 4, 1] = 2e7
    with pytest.raises(DataError, match="10000000 pixels"):
        write_coco(PoseSet(keypoints, skeleton=COCO17), tmp_path / "poses.json")
    assert not list(tmp_path.iterdir())


def test_half_a_surrogate_pair_is_not_written(tmp_path):
    with pytest.raises(DataError, match="must be Unicode"):
        write_coco(random_poses(1).replace(labels=["\ud800"]), tmp_path / "poses.json")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError):
        write_coco(random_poses(1), tmp_path / "file" / "poses.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_the_machine(monkeypatch):
    from flexpose.poses.formats import coco

    @contextlib.contextmanager
    def full(_path):
        yield Path("/dev/full")

    monkeypatch.setattr(coco, "atomic_path", full)
    with pytest.raises(OSError, match="No space left"):
        write_coco(random_poses(1000), "anything.json")


def test_same_poses_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_coco(random_poses(30), tmp_path / f"{name}.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
