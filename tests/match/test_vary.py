"""Similarities and bends: poses and pictures move alike, and what was moved is found again."""

from __future__ import annotations

import math

import pytest
import torch

from flexpose.match.vary import Similarities, bend, draw_similarities, origins, resample
from flexpose.skeleton import load_skeleton

BODY = load_skeleton("body13")
FLIP = torch.tensor(BODY.flip_index.tolist())
SIZE = 64
AXIS = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1


def spots(points: torch.Tensor, width: float = 0.08) -> torch.Tensor:
    """Pictures [N, 1, S, S] with a bright spot at each point [N, 2]."""
    x, y = points[:, 0, None, None], points[:, 1, None, None]
    squared = (AXIS[None, None, :] - x) ** 2 + (AXIS[None, :, None] - y) ** 2
    return (-squared / (2 * width**2)).exp()[:, None]


def places(pictures: torch.Tensor) -> torch.Tensor:
    """The centres [N, 2] of what is bright; spots far from the edges have no reflections."""
    weight = pictures[:, 0] / pictures[:, 0].sum((1, 2), keepdim=True)
    return torch.stack([weight.sum(1) @ AXIS, weight.sum(2) @ AXIS], -1)


def poses(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 13, 2, generator=torch.Generator().manual_seed(seed)) - 0.5


def similarities(n: int, **options: object) -> Similarities:
    return draw_similarities(n, **{"scale": 0.1, "shift": 0.1, "turn_deg": 25.0, "flips": True} | options)  # type: ignore[arg-type]


@pytest.mark.parametrize("joint", [0, 3, 12])
def test_poses_go_where_the_pictures_go(joint: int) -> None:
    torch.manual_seed(1)
    moved, before = similarities(40), poses(40) / 2
    assert 10 < int(moved.mirrored.sum()) < 30
    after = moved.poses(before, FLIP)
    shown = resample(spots(before[:, joint]), moved.grid(SIZE))
    # A mirrored right wrist looks like a left one.
    named = torch.where(moved.mirrored, FLIP[joint], joint)
    expected = after[torch.arange(40), named]
    assert (places(shown) - expected).norm(dim=-1).max() < 0.02


def test_mirroring_alone_is_exact() -> None:
    plain = Similarities(torch.eye(2)[None], torch.zeros(1, 2), torch.tensor([True]))
    before = poses(1)
    after = plain.poses(before, FLIP)
    torch.testing.assert_close(after, before[:, FLIP] * torch.tensor([-1.0, 1.0]))
    picture = torch.rand(1, 3, SIZE, SIZE)
    torch.testing.assert_close(resample(picture, plain.grid(SIZE)), picture.flip(3), rtol=0, atol=1e-4)


def test_origins_of_moved_poses_are_the_poses() -> None:
    torch.manual_seed(2)
    moved, before = similarities(40), poses(40) * 0.8
    found = origins(moved.grid(SIZE), moved.poses(before, FLIP))
    expected = torch.where(moved.mirrored[:, None, None], before[:, FLIP], before)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_origins_in_bent_pictures() -> None:
    """A spot that is seen at a place of the bent picture was where `origins` says."""
    torch.manual_seed(3)
    grid = bend(similarities(40, flips=True).grid(SIZE), 0.08)
    seen = poses(40)[:, :1] / 2
    before = origins(grid, seen)
    inside = before.abs().amax((1, 2)) < 0.4  # farther out the bend can bring a reflection into the picture
    assert inside.sum() > 30
    shown = resample(spots(before[:, 0], 0.05), grid)
    assert (places(shown) - seen[:, 0]).norm(dim=-1)[inside].max() < 0.03
    straight = origins(similarities(40).grid(SIZE), seen)
    assert (straight - before).norm(dim=-1).mean() > 0.05, "a bend moves them"


def test_gradients_reach_the_points() -> None:
    torch.manual_seed(4)
    points = (poses(3) * 0.8).requires_grad_()
    origins(bend(similarities(3).grid(SIZE), 0.05), points).square().sum().backward()  # type: ignore[no-untyped-call]
    assert points.grad is not None
    assert (points.grad.abs().sum(-1) > 0).all()


def test_ranges() -> None:
    torch.manual_seed(5)
    moved = similarities(4000, scale=0.3, shift=0.2, turn_deg=40.0)
    size = moved.matrix.det().sqrt()
    turn = torch.atan2(moved.matrix[:, 1, 0], moved.matrix[:, 0, 0])
    for values, low, high in (
        (size, 0.7, 1.3),
        (turn, -math.radians(40), math.radians(40)),
        (moved.shift.flatten(), -0.2, 0.2),
    ):
        margin = 0.01 * (high - low)
        assert low - 1e-5 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-5
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.05 * (high - low))
    square = moved.matrix @ moved.matrix.transpose(1, 2)
    torch.testing.assert_close(square, size[:, None, None] ** 2 * torch.eye(2), rtol=0, atol=1e-5)
    assert moved.mirrored.double().mean().item() == pytest.approx(0.5, abs=0.04)


def test_who_is_mirrored_can_be_given() -> None:
    torch.manual_seed(6)
    assert not similarities(50, flips=False).mirrored.any()
    known = torch.arange(50) % 3 == 0
    torch.manual_seed(7)
    given = similarities(50, mirrored=known)
    assert torch.equal(given.mirrored, known)
    torch.manual_seed(7)
    drawn = similarities(50)
    assert torch.equal(given.matrix, drawn.matrix)
    assert torch.equal(given.shift, drawn.shift)


def test_nothing_moved_is_the_same_picture() -> None:
    still = draw_similarities(2, scale=0.0, shift=0.0, turn_deg=0.0, flips=False)
    picture = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(resample(picture, still.grid(32)), picture, rtol=0, atol=1e-4)
    assert torch.equal(bend(still.grid(32), 0.0), still.grid(32))
    before = poses(2)
    assert torch.equal(still.poses(before, FLIP), before)
    torch.testing.assert_close(origins(still.grid(32), before), before, rtol=0, atol=1e-5)


def test_beyond_an_edge_pictures_are_reflected() -> None:
    right = Similarities(torch.eye(2)[None], torch.tensor([[0.5, 0.0]]), torch.tensor([False]))
    picture = torch.rand(1, 3, 32, 32)
    shown = resample(picture, right.grid(32))
    torch.testing.assert_close(shown[..., 8:], picture[..., :24], rtol=0, atol=1e-4)
    torch.testing.assert_close(shown[..., :8], picture[..., :8].flip(3), rtol=0, atol=1e-4)
