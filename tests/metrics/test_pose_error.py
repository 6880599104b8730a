"""PCK and joint errors on poses whose errors were put there on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose.errors import DataError, UsageError
from flexpose.metrics import mean_l2, mean_square, pck, pck_lengths
from flexpose.skeleton import Skeleton, load_skeleton

BODY = load_skeleton("body13")


def standing(n: int) -> np.ndarray:
    """Poses whose torso (left shoulder to right hip) is 50 px long, in a box of 40 x 100 px."""
    pose = np.zeros((13, 2))
    pose[0], pose[1], pose[8] = [40.0, 100.0], [0.0, 0.0], [30.0, 40.0]
    return np.tile(pose, (n, 1, 1))


def off_by(truth: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Each joint moved by its error, in the direction (3, 4) / 5."""
    return truth + errors[..., None] * [0.6, 0.8]


def test_joint_counts_up_to_the_threshold_itself() -> None:
    truth = standing(2)
    errors = np.zeros((2, 13))
    errors[0, :4] = [4.99, 5.0, 5.01, 500.0]  # rho 0.1 of 50 px is 5 px
    pred = truth.copy()
    pred[..., 0] += errors
    assert pck(pred, truth, rho=0.1, skeleton=BODY) == pytest.approx(24 / 26)
    assert pck(pred, truth, rho=0.2, skeleton=BODY) == pytest.approx(25 / 26)


def test_hidden_joints_do_not_count() -> None:
    truth = standing(1)
    errors = np.zeros((1, 13))
    errors[0, [3, 4]] = 100
    visibility = np.full((1, 13), 2)
    visibility[0, 3] = 0
    pred = off_by(truth, errors)
    truth[0, 3] = np.nan
    assert pck(pred, truth, visibility, skeleton=BODY) == pytest.approx(11 / 12)
    assert mean_l2(pred, truth, visibility) == pytest.approx(100 / 12)
    assert mean_square(pred, truth, visibility) == pytest.approx(100**2 / 12)


def test_pose_without_its_length_is_left_out() -> None:
    truth = standing(3)
    visibility = np.full((3, 13), 2)
    visibility[1, 8] = 0  # the right hip ends the torso
    truth[2, 8] = truth[2, 1]  # a torso of length 0
    pred = off_by(truth, np.array([[0.0], [100.0], [100.0]]) * np.ones(13))
    assert pck(pred, truth, visibility, skeleton=BODY) == 1.0
    assert pck(pred, truth, visibility, norm="bbox") == pytest.approx(13 / 38)


@pytest.mark.parametrize(
    ("norm", "length"), [("torso", 50.0), ("bbox", 100.0), ("image", 640.0), ((0, 1), np.hypot(40, 100))]
)
def test_lengths(norm: object, length: float) -> None:
    truth = standing(2)
    found = pck_lengths(truth, norm=norm, skeleton=BODY, image_size=(480, 640))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [length, length])
    hit, miss = (off_by(truth, np.full((2, 13), 0.3 * length * scale)) for scale in (0.999, 1.001))
    settings = {"rho": 0.3, "norm": norm, "skeleton": BODY, "image_size": [[480, 640]] * 2}
    assert pck(hit, truth, **settings) == 1.0
    assert pck(miss, truth, **settings) == 0.0


def test_lengths_can_be_given() -> None:
    truth = standing(2)
    pred = off_by(truth, np.full((2, 13), 10.0))
    assert pck(pred, truth, rho=0.5, norm=np.array([19.0, 21.0])) == 0.5


def test_box_ignores_what_is_hidden() -> None:
    visibility = np.full((2, 13), 2)
    visibility[0, 0] = 0
    visibility[1] = 0
    np.testing.assert_array_equal(pck_lengths(standing(2), visibility, norm="bbox"), [40.0, np.nan])


def test_mean_l2_by_hand() -> None:
    truth = standing(2)
    errors = np.arange(26.0).reshape(2, 13)
    assert mean_l2(off_by(truth, errors), truth) == pytest.approx(12.5)
    assert mean_square(off_by(truth, errors), truth) == pytest.approx((np.arange(26.0) ** 2).mean())


def test_wrong_arguments_are_named() -> None:
    truth = standing(2)
    with pytest.raises(UsageError, match=r"truth must be \[1, 13, 2\] as pred is, got \[2, 13, 2\]"):
        mean_l2(truth[:1], truth)
    with pytest.raises(UsageError, match=r"visibility must be \[2, 13\], got \[13\]"):
        mean_l2(truth, truth, np.ones(13))
    with pytest.raises(UsageError, match="at least one labelled joint"):
        mean_l2(truth, truth, np.zeros((2, 13)))
    with pytest.raises(UsageError, match="rho must be > 0, got 0"):
        pck(truth, truth, rho=0, skeleton=BODY)
    with pytest.raises(UsageError, match="skeleton must be given and have a torso segment"):
        pck(truth, truth, skeleton=Skeleton("none", BODY.names))
    with pytest.raises(UsageError, match="norm must be 'torso', 'bbox', 'image' or two joints, got 'head'"):
        pck(truth, truth, norm="head")
    with pytest.raises(UsageError, match=r"norm must name joints in 0 to 12, got \(0, 13\)"):
        pck(truth, truth, norm=(0, 13))
    with pytest.raises(UsageError, match="image_size must be given for norm 'image'"):
        pck(truth, truth, norm="image")
    with pytest.raises(UsageError, match=r"image_size must be \[2\] or \[2, 2\], got \[3, 2\]"):
        pck(truth, truth, norm="image", image_size=np.ones((3, 2)))
    with pytest.raises(UsageError, match=r"norm must be \[2\], got \[3\]"):
        pck(truth, truth, norm=np.ones(3))
    with pytest.raises(UsageError, match="norm leaves no pose"):
        pck(truth, truth, norm=np.zeros(2))
    bad = truth.copy()
    bad[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="record 1: truth: NaN or infinite value at a labelled joint"):
        mean_l2(truth, bad)
    with pytest.raises(DataError, match="record 1: pred"):
        mean_l2(bad, truth)
