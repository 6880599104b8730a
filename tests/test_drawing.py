"""alpha as a setting: it survives a checkpoint's header, and networks of other pictures are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from flexpose.drawing import Drawing, array_hash
from flexpose.errors import DataError, UsageError
from flexpose.poses import PoseSet, synth_poses
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")


def drawing(**changes: Any) -> Drawing:
    return Drawing(**({"skeleton": BODY, "size_px": 16} | changes))


def other_palette() -> Skeleton:
    colors = BODY.bone_colors.copy()
    colors[[0, 1]] = colors[[1, 0]]
    return Skeleton(
        BODY.name,
        BODY.names,
        BODY.bones,
        sigmas=BODY.sigmas,
        root=BODY.root,
        torso=BODY.torso,
        bone_colors=colors,
        joint_colors=BODY.joint_colors,
    )


def test_array_hash_sees_values_type_and_shape() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    same = array_hash(array)
    assert array_hash(np.asfortranarray(array)) == same
    changed = array.copy()
    changed[1, 2] = np.nextafter(changed[1, 2], np.float32(9))
    for different in (changed, array.reshape(3, 2), array.astype(np.float64), array.view(np.int32)):
        assert array_hash(different) != same


@pytest.mark.parametrize("skeleton", ["body13", "coco17", "hand21"])
def test_header_comes_back_through_json(skeleton: str) -> None:
    before = drawing(
        skeleton=load_skeleton(skeleton),
        size_px=32,
        line_width_px=1.5,
        joint_radius_px=0.0,
        frame="root",
        margin=0.2,
    )
    after = Drawing.from_header(json.loads(json.dumps(before.header())), path="a.safetensors")
    assert after.header() == before.header()
    assert after.skeleton == before.skeleton
    assert after.skeleton.fingerprint == before.skeleton.fingerprint
    keypoints = np.random.default_rng(0).uniform(-1, 1, (3, before.skeleton.num_keypoints, 2))
    np.testing.assert_array_equal(after.images(keypoints), before.images(keypoints))
    before.check_same(after, "these")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"skeleton": other_palette()}, "skeleton_fingerprint"),
        ({"skeleton": load_skeleton("coco17")}, "skeleton_name"),
        ({"size_px": 32}, "size_px 16 and 32"),
        ({"line_width_px": 3.0}, "line_width_px"),
        ({"joint_radius_px": 1.0}, "joint_radius_px"),
        ({"frame": "keep"}, "frame 'bbox' and 'keep'"),
        ({"margin": 0.0}, "margin"),
    ],
)
def test_another_pen_or_palette_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match="generator and beta were trained on different pictures") as caught:
        drawing().check_same(drawing(**change), "generator and beta")
    assert named in str(caught.value)


def broken(change: dict[str, Any]) -> dict[str, Any]:
    header = drawing().header()
    for key, value in change.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    return header


@pytest.mark.parametrize(
    "change",
    [
        {"skeleton": None},
        {"skeleton_fingerprint": None},
        {"size_px": None},
        {"size_px": "big"},
        {"size_px": [16]},
        {"size_px": 0},
        {"size_px": -16},
        {"size_px": 1 << 40},
        {"size_px": float("inf")},
        {"line_width_px": "thick"},
        {"line_width_px": -1.0},
        {"line_width_px": float("nan")},
        {"joint_radius_px": float("inf")},
        {"margin": float("nan")},
        {"frame": "centre"},
        {"skeleton": "names = ["},
        {"skeleton": 5},
        {"skeleton": BODY.to_toml().replace("nose", "snout")},
        {"skeleton_fingerprint": "0" * 64},
        {"skeleton": other_palette().to_toml()},
    ],
)
def test_header_that_cannot_be_used(change: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        Drawing.from_header(broken(change), path="a.safetensors")
    assert str(caught.value).startswith("a.safetensors: ")
    assert caught.value.field in {"drawing", "skeleton"}


def test_framed_leaves_out_what_is_not_fully_labelled(poses: PoseSet) -> None:
    framed = drawing().framed(poses)
    assert (len(framed), framed.dropped) == (3, 3)
    assert framed.labels == ("walk", "sit", "sit")
    assert framed.normalized.dtype == np.float32
    # The box's longer side is 1 / 1.2 of the frame's, about its middle.
    low, high = framed.normalized.min(1), framed.normalized.max(1)
    np.testing.assert_allclose((high - low).max(1), 2 / 1.2, rtol=1e-5)
    np.testing.assert_allclose(high + low, 0, atol=1e-5)
    back = framed.frames.denormalize(framed.normalized)
    np.testing.assert_allclose(back, poses.keypoints[[0, 2, 3]], atol=1e-4)


def test_framed_maps_to_the_skeleton() -> None:
    coco = load_skeleton("coco17")
    keypoints = np.random.default_rng(0).uniform(0, 100, (4, 17, 2)).astype(np.float32)
    framed = drawing().framed(PoseSet(keypoints, skeleton=coco))
    assert framed.normalized.shape == (4, 13, 2)
    rows = [coco.names.index(name) for name in BODY.names]
    np.testing.assert_allclose(framed.frames.denormalize(framed.normalized), keypoints[:, rows], atol=1e-4)


def test_content_hash_is_that_of_the_poses() -> None:
    poses = synth_poses(5, seed=1)
    one, same, other = (drawing().framed(p) for p in (poses, synth_poses(5, seed=1), synth_poses(5, seed=2)))
    assert one.content_hash == same.content_hash
    assert one.content_hash != other.content_hash
    assert drawing(margin=0.0).framed(poses).content_hash != one.content_hash


def test_no_complete_pose_is_an_error(poses: PoseSet) -> None:
    with pytest.raises(DataError, match="all 13 keypoints of body13 labelled, got none among 2"):
        drawing().framed(poses[[1, 5]])


def test_keypoints_that_the_skeleton_cannot_have(poses: PoseSet) -> None:
    with pytest.raises(UsageError):
        drawing(skeleton=load_skeleton("hand21")).framed(poses)


def test_images_put_x_to_the_right_and_y_down() -> None:
    keypoints = np.zeros((1, 13, 2))
    keypoints[..., 0], keypoints[..., 1] = 0.75, -0.5
    image = drawing(size_px=64).images(keypoints)[0].max(0)
    rows, columns = np.nonzero(image)
    # (x + 1) / 2 * 64, less the half of a pixel that its centre lies off its corner
    np.testing.assert_allclose([rows.mean(), columns.mean()], [16 - 0.5, 56 - 0.5], atol=0.3)
    nhwc = drawing(size_px=64).images(keypoints, layout="nhwc")
    np.testing.assert_array_equal(nhwc.transpose(0, 3, 1, 2), drawing(size_px=64).images(keypoints))
