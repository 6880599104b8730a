"""The summary of a set, against counts by hand."""

from __future__ import annotations

import json

import numpy as np

from flexpose.poses import PoseSet, summarize, synth_poses
from flexpose.skeleton import Skeleton, load_skeleton


def test_counts_by_hand(poses):
    s = summarize(poses)
    assert json.loads(json.dumps(s)) == s
    assert (s["poses"], s["complete"], s["labelled"]) == (6, 3, 6)
    assert (s["skeleton"], s["skeleton_fingerprint"]) == ("body13", load_skeleton("body13").fingerprint)
    joints = {joint["name"]: joint for joint in s["joints"]}
    assert joints["nose"] == {
        "name": "nose",
        "visible": 6,
        "occluded": 0,
        "missing": 0,
        "labelled_share": 1.0,
    }
    assert joints["left_wrist"]["missing"] == 3
    assert joints["left_wrist"]["labelled_share"] == 0.5
    assert joints["left_elbow"] == {
        "name": "left_elbow", "visible": 4, "occluded": 1, "missing": 1, "labelled_share": 5 / 6,
    }  # fmt: skip
    assert s["labels"] == {"": 1, "sit": 2, "walk": 3}
    assert s["image_sizes"] == [{"width": 200, "height": 160, "poses": 6}]
    assert s["image_width"] == {"min": 200, "median": 200.0, "max": 200}
    assert s["no_extent"] == 1  # the last pose has one point
    assert (s["duplicates"], s["duplicate_ids"], s["outside_image"]) == (0, 0, 0)


def test_boxes_outside_and_duplicates():
    pair = Skeleton("pair", ["a", "b"], [(0, 1)])
    kp = [[[0, 0], [3, 4]], [[0, 0], [3, 4]], [[-1, 0], [9, 1]], [[1, 1], [99, 99]]]
    p = PoseSet(kp, [[2, 2], [2, 2], [2, 2], [2, 0]], skeleton=pair, image_size=(50, 50), ids=[1, 1, 2, 3])
    s = summarize(p)
    assert s["duplicates"] == 1
    assert s["duplicate_ids"] == 1
    assert s["outside_image"] == 1
    assert s["box_px"] == {"min": 0.0, "median": 4.0, "max": 10.0}
    assert s["labels"] == {}
    bone = s["bone_outliers"]["bones"][0]
    assert (bone["bone"], bone["poses"], bone["median"]) == (["a", "b"], 3, None)  # too few to tell


def test_no_poses(poses):
    s = summarize(poses[:0])
    assert json.loads(json.dumps(s)) == s
    assert (s["poses"], s["box_px"], s["image_width"], s["duplicates"]) == (0, None, None, 0)
    assert s["joints"][0]["labelled_share"] is None


def test_bone_outliers_are_found():
    p = synth_poses(300, seed=0, domain="target")
    kp = p.keypoints.copy()
    clean = summarize(p)["bone_outliers"]
    # Pose 17: the left wrist is at the other end of the picture.
    kp[17, 5] = kp[17, 3] + (kp[17].max(axis=0) - kp[17].min(axis=0)) * 3
    found = summarize(p.replace(keypoints=kp))["bone_outliers"]
    assert 17 in found["rows"]
    assert 17 not in clean["rows"]
    assert clean["poses"] < 15
    forearm = next(b for b in found["bones"] if b["bone"] == ["left_elbow", "left_wrist"])
    assert forearm["outliers"] >= 1
    lengths = np.linalg.norm(p.keypoints[:, 3].astype(float) - p.keypoints[:, 5], axis=-1)
    boxes = np.ptp(p.keypoints.astype(float), axis=1).max(axis=1)
    before = next(b for b in clean["bones"] if b["bone"] == ["left_elbow", "left_wrist"])
    assert before["median"] == np.median(lengths / boxes)
