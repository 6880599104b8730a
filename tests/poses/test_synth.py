"""Synthetic people: geometry by hand, repeatability, and what the knobs do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from flexpose.errors import UsageError
from flexpose.poses import SynthDomain, normalized_poses, source_domain, synth_poses, target_domain
from flexpose.poses.synth import SEGMENTS, _figure, _project
from flexpose.poses.synth_actions import ACTIONS, ANGLES, LIMITS, MIRROR, SPREADS
from flexpose.skeleton import load_skeleton

BODY = load_skeleton("body13")
NAMES = {name: index for index, name in enumerate(BODY.names)}
LENGTHS = np.array([list(SEGMENTS.values())])
STILL = SynthDomain(
    name="still", actions=("stand",), rotation_deg=(0, 0), azimuth_deg=(0, 0), elevation_deg=(0, 0),
    bone_spread=0, angle_scale=0, noise=0, distance=1e6,
)  # fmt: skip


def _body(**degrees: float) -> dict[str, np.ndarray]:
    angles = np.zeros((1, len(ANGLES)))
    for name, value in degrees.items():
        angles[0, ANGLES.index(name)] = np.radians(value)
    points = _figure(angles, LENGTHS)[0]
    return {name: points[i] for name, i in NAMES.items()}


def _length(points, a, b) -> float:
    return float(np.linalg.norm(points[a] - points[b]))


def test_upright_figure():
    p = _body()
    np.testing.assert_allclose(
        p["left_shoulder"], [SEGMENTS["shoulder_half"], SEGMENTS["torso"], 0], atol=1e-12
    )
    np.testing.assert_allclose(p["right_hip"], [-SEGMENTS["hip_half"], 0, 0], atol=1e-12)
    down = SEGMENTS["torso"] - SEGMENTS["upper_arm"] - SEGMENTS["forearm"]
    np.testing.assert_allclose(p["right_wrist"], [-SEGMENTS["shoulder_half"], down, 0], atol=1e-12)
    np.testing.assert_allclose(
        p["left_ankle"], [SEGMENTS["hip_half"], -SEGMENTS["thigh"] - SEGMENTS["shank"], 0]
    )
    assert p["nose"][2] > 0  # the face looks to the front


def test_joints_bend_the_right_way():
    front, up, left = (np.eye(3)[i] for i in (2, 1, 0))
    p = _body(left_elbow=90)
    np.testing.assert_allclose(p["left_wrist"] - p["left_elbow"], SEGMENTS["forearm"] * front, atol=1e-12)
    p = _body(left_rotate=-90, left_elbow=90, right_rotate=-90, right_elbow=90)  # across the belly
    np.testing.assert_allclose(p["left_wrist"] - p["left_elbow"], -SEGMENTS["forearm"] * left, atol=1e-12)
    np.testing.assert_allclose(p["right_wrist"] - p["right_elbow"], SEGMENTS["forearm"] * left, atol=1e-12)
    p = _body(left_abduct=90, left_rotate=90, left_elbow=90, right_abduct=90)  # waving
    np.testing.assert_allclose(p["left_elbow"] - p["left_shoulder"], SEGMENTS["upper_arm"] * left, atol=1e-12)
    np.testing.assert_allclose(p["left_wrist"] - p["left_elbow"], SEGMENTS["forearm"] * up, atol=1e-12)
    np.testing.assert_allclose(
        p["right_elbow"] - p["right_shoulder"], -SEGMENTS["upper_arm"] * left, atol=1e-12
    )
    p = _body(left_hip=90, left_knee=90)  # sitting
    np.testing.assert_allclose(p["left_knee"] - p["left_hip"], SEGMENTS["thigh"] * front, atol=1e-12)
    np.testing.assert_allclose(p["left_ankle"] - p["left_knee"], -SEGMENTS["shank"] * up, atol=1e-12)
    p = _body(right_knee=90)  # the foot goes back
    np.testing.assert_allclose(p["right_ankle"] - p["right_knee"], -SEGMENTS["shank"] * front, atol=1e-12)
    p = _body(lean=90)
    np.testing.assert_allclose(
        p["left_shoulder"] + p["right_shoulder"], 2 * SEGMENTS["torso"] * front, atol=1e-12
    )
    p = _body(side=30)
    assert (p["left_shoulder"] + p["right_shoulder"])[0] > 0.1  # to the person's left
    p = _body(pelvis_roll=30)
    assert (p["left_shoulder"] + p["right_shoulder"])[0] > 0.1
    p = _body(twist=90)
    np.testing.assert_allclose(
        p["left_shoulder"][2], -SEGMENTS["shoulder_half"], atol=1e-12
    )  # left goes back
    p = _body(head_yaw=90)
    assert p["nose"][0] == pytest.approx(SEGMENTS["head_out"])


def test_bones_are_rigid_whatever_the_angles():
    rng = np.random.default_rng(0)
    limits = np.radians([LIMITS[name] for name in ANGLES])
    angles = rng.uniform(limits[:, 0], limits[:, 1], (200, len(ANGLES)))
    kp = _figure(angles, np.repeat(LENGTHS, 200, axis=0))
    for a, b, length in (
        ("left_shoulder", "right_shoulder", 2 * SEGMENTS["shoulder_half"]),
        ("left_hip", "right_hip", 2 * SEGMENTS["hip_half"]),
        ("left_shoulder", "left_elbow", SEGMENTS["upper_arm"]),
        ("right_elbow", "right_wrist", SEGMENTS["forearm"]),
        ("right_hip", "right_knee", SEGMENTS["thigh"]),
        ("left_knee", "left_ankle", SEGMENTS["shank"]),
    ):
        distance = np.linalg.norm(kp[:, NAMES[a]] - kp[:, NAMES[b]], axis=-1)
        np.testing.assert_allclose(distance, length, rtol=1e-12)


def test_mirrored_angles_make_the_mirrored_figure():
    rng = np.random.default_rng(1)
    angles = rng.uniform(-1, 1, (50, len(ANGLES)))
    order, sign = np.array([i for i, _ in MIRROR]), np.array([s for _, s in MIRROR])
    lengths = np.repeat(LENGTHS, 50, axis=0)
    plain, mirrored = _figure(angles, lengths), _figure(angles[:, order] * sign, lengths)
    np.testing.assert_allclose(mirrored, plain[:, BODY.flip_index] * [-1, 1, 1], atol=1e-12)


def test_camera():
    point = np.array([[[1.0, 0.0, 0.0]]])  # at the person's left
    zero = np.zeros(1)

    def seen(azimuth=0.0, elevation=0.0, rotation=0.0, p=point):
        return _project(p, *(zero + np.radians(v) for v in (azimuth, elevation, rotation)), 4.0)[0, 0]

    np.testing.assert_allclose(seen(), [0.25, 0])  # from the front the left is on the right
    np.testing.assert_allclose(seen(azimuth=180), [-0.25, 0], atol=1e-12)  # from behind it is not
    np.testing.assert_allclose(seen(azimuth=90), [0, 0], atol=1e-12)  # from the left it is in the middle
    np.testing.assert_allclose(seen(rotation=90), [0, 0.25], atol=1e-12)  # clockwise, y being down
    up = np.array([[[0.0, 1.0, 0.0]]])
    np.testing.assert_allclose(seen(p=up), [0, -0.25])
    # From straight above the crown is nearest to the camera, in the middle.
    np.testing.assert_allclose(seen(p=up, elevation=90), [0, 0], atol=1e-12)
    front = np.array([[[0.0, 0.0, 1.0]]])
    assert seen(p=front, elevation=30)[1] > 0  # a high camera sees what is in front lower
    side = seen(p=point + front)  # nearer, hence larger
    np.testing.assert_allclose(side, [1 / 3, 0])


def test_standing_figure_in_the_image():
    p = synth_poses(3, seed=0, domain=STILL)
    assert p.image_size.tolist() == [[640, 480]] * 3
    kp = normalized_poses(p)
    np.testing.assert_allclose(kp, np.repeat(kp[:1], 3, axis=0), atol=1e-4)
    left, right = kp[0, NAMES["left_hip"]], kp[0, NAMES["right_hip"]]
    assert left[0] > right[0]  # seen from the front
    nose = kp[0, NAMES["nose"]]
    assert nose[1] == pytest.approx(-1 / 1.2, abs=1e-4)  # the highest point
    side = (p.keypoints.max(axis=1) - p.keypoints.min(axis=1)).max(axis=1)
    assert (side >= 0.4 * 480 - 1e-3).all()
    assert (side <= 0.95 * 480 + 1e-3).all()


@pytest.mark.parametrize("domain", ["source", "target"])
def test_pose_i_does_not_depend_on_n(domain):
    whole = synth_poses(40, seed=3, domain=domain)
    part = synth_poses(7, seed=3, domain=domain)
    assert part == whole[:7]
    assert synth_poses(7, seed=4, domain=domain) != part


def test_chunks_do_not_show(monkeypatch):
    whole = synth_poses(40, seed=3)
    monkeypatch.setattr("flexpose.poses.synth._CHUNK", 7)
    assert synth_poses(40, seed=3) == whole


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("source", [[286.6, 176.01], [332.49, 215.82], [191.88, 402.38]]),
        ("target", [[454.75, 378.05], [357.38, 848.12], [329.05, 772.44]]),
    ],
)
def test_poses_stay_as_they_are(domain, expected):
    # Nose, left wrist and right ankle of pose 19; a change makes published numbers on them worthless.
    kp = synth_poses(20, seed=0, domain=domain).keypoints[19, [0, 5, 12]]
    np.testing.assert_allclose(kp, expected, atol=0.02)


@pytest.mark.parametrize("domain", [source_domain(), target_domain()])
def test_presets(domain):
    p = synth_poses(2000, seed=0, domain=domain)
    assert synth_poses(5, seed=0, domain=domain.name) == p[:5]
    assert p.skeleton == BODY
    assert p.complete().all()
    assert (p.keypoints >= 0).all()
    assert (p.keypoints <= p.image_size[:, None]).all()
    counts = Counter(p.labels)
    assert set(counts) == set(domain.actions)
    expected = 2000 / len(counts)
    assert all(abs(c - expected) < 5 * np.sqrt(expected) for c in counts.values())
    assert len(np.unique(p.keypoints, axis=0)) == 2000


def test_target_differs_from_source_in_every_respect():
    source, target = source_domain(), target_domain()
    assert set(target.actions) < set(source.actions)
    for field in (
        "rotation_deg",
        "azimuth_deg",
        "elevation_deg",
        "bone_ratios",
        "angle_offsets",
        "image_size",
    ):
        assert getattr(source, field) != getattr(target, field)


def test_knobs():
    def kp(**change):
        return synth_poses(400, seed=0, domain=replace(STILL, **change)).keypoints.astype(np.float64)

    base = kp()

    def ratio(points, a, b):
        length = np.linalg.norm(points[:, NAMES[a]] - points[:, NAMES[b]], axis=-1)
        return length / np.linalg.norm(points[:, NAMES["left_hip"]] - points[:, NAMES["left_knee"]], axis=-1)

    longer = kp(bone_ratios=(("forearm", 1.5),))
    gain = ratio(longer, "left_elbow", "left_wrist") / ratio(base, "left_elbow", "left_wrist")
    np.testing.assert_allclose(gain, 1.5, rtol=1e-4)

    def spine(points):
        hips, shoulders = points[:, 7:9].mean(axis=1), points[:, 1:3].mean(axis=1)
        return np.degrees(np.arctan2((shoulders - hips)[:, 0], -(shoulders - hips)[:, 1]))

    np.testing.assert_allclose(spine(kp(rotation_deg=(20, 0))) - spine(base), 20, atol=0.01)
    spread = spine(kp(rotation_deg=(0, 10)))
    assert 8 < spread.std() < 12
    behind = kp(back_share=0.3)
    seen_from_behind = behind[:, NAMES["left_hip"], 0] < behind[:, NAMES["right_hip"], 0]
    assert 0.2 < seen_from_behind.mean() < 0.4
    side = kp(azimuth_deg=(90, 0))
    width = np.abs(side[:, NAMES["left_hip"], 0] - side[:, NAMES["right_hip"], 0])
    assert width.max() < 0.01 * np.ptp(side, axis=1).max()
    bent = kp(angle_offsets=(("elbow", 60),))
    assert ratio(bent, "left_elbow", "left_wrist").max() < ratio(base, "left_elbow", "left_wrist").min()
    noisy = kp(noise=0.01) - kp()
    assert 0 < noisy.std() < 10
    assert Counter(synth_poses(50, seed=0, domain=replace(STILL, actions=("sit", "run"))).labels).keys() == {
        "sit",
        "run",
    }


def test_one_sided_actions_use_either_side():
    p = synth_poses(400, seed=0, domain=replace(STILL, actions=("wave",)))
    left_up = p.keypoints[:, NAMES["left_wrist"], 1] < p.keypoints[:, NAMES["right_wrist"], 1]
    assert 0.4 < left_up.mean() < 0.6


def test_actions_name_known_angles():
    known = {*ANGLES, *SPREADS}
    for action in ACTIONS.values():
        assert set(action.mean) <= known
        assert set(action.spread) <= known
        assert set(action.swing) <= set(ANGLES)


def test_another_skeleton_and_no_poses():
    p = synth_poses(3, seed=0, skeleton=load_skeleton("penn13"))
    assert p.skeleton.name == "penn13"
    assert np.array_equal(p.keypoints[:, 0], synth_poses(3, seed=0).keypoints[:, 0])
    assert len(synth_poses(0, seed=0)) == 0
    with pytest.raises(UsageError, match="no source for left_eye"):
        synth_poses(3, seed=0, skeleton=load_skeleton("coco17"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": -1}, "n must be"),
        ({"n": 2.0}, "n must be"),
        ({"seed": -1}, "seed"),
        ({"domain": "moon"}, "domain must be one of source, target, got 'moon'"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(UsageError, match=message):
        synth_poses(**({"n": 2, "seed": 0} | options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": ()}, "at least one action"),
        ({"actions": ("fly",)}, "actions must be of .*'fly'"),
        ({"bone_ratios": (("tail", 1.0),)}, "'tail'"),
        ({"bone_ratios": (("torso", 0.0),)}, "factors > 0"),
        ({"angle_offsets": (("wing", 1.0),)}, "'wing'"),
        ({"back_share": 1.5}, "back_share"),
        ({"distance": 1}, "distance"),
        ({"bone_spread": -1}, "bone_spread"),
        ({"angle_scale": -1}, "angle_scale"),
        ({"image_size": (8, 640)}, "image_size"),
        ({"height_share": (0.5, 0.4)}, "height_share"),
        ({"noise": 0.5}, "noise"),
    ],
)
def test_wrong_domains(change, message):
    with pytest.raises(UsageError, match=message):
        SynthDomain(name="x", **change)
