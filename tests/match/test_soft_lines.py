"""Soft lines: the same drawing as the bytes of KeypointGAN's style, and gradients that lead joints to their place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flexpose.errors import UsageError
from flexpose.match.soft_lines import SIGMA, soft_lines
from flexpose.raster import pixels_from_normalized
from flexpose.skeleton import load_skeleton
from flexpose.styles import draw_keypointgan

BODY = load_skeleton("body13")
BONES = torch.tensor(BODY.bones)
ONE = torch.tensor([[0, 1]])


def random_poses(n: int, reach: float = 1.0, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 13, 2, generator=rng, dtype=torch.float64) * 2 - 1) * reach


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reach", [1.0, 3.0])
@pytest.mark.parametrize(("size", "sigma"), [(2, 0.2), (33, 0.2), (64, 0.1), (64, 0.5)])
def test_the_same_as_the_bytes(dtype, reach, size, sigma):
    poses = random_poses(6, reach)
    lines = soft_lines(poses.to(dtype), BONES, size, sigma=sigma)
    assert lines.shape == (6, 1, size, size)
    assert lines.dtype == dtype
    assert 0 <= lines.min() <= lines.max() <= 1
    drawn = draw_keypointgan(
        pixels_from_normalized(poses.numpy(), size), None, BODY, size_px=size, sigma=sigma
    )
    assert drawn.any()
    assert np.abs(lines[:, 0].double().numpy() * 255 - drawn[..., 0]).max() <= 1


def test_brightness_by_hand():
    """A line along the x axis; the centres of the first and the last pixel are at -1 and 1."""
    lines = soft_lines(torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]], dtype=torch.float64), ONE, 5)[0, 0]
    for row, column, distance in ((2, 2, 0.0), (1, 2, 0.5), (2, 4, 0.5), (0, 0, math.hypot(0.5, 1))):
        expected = math.exp(-math.sqrt(distance**2 + 1e-6) / SIGMA**2)
        assert lines[row, column].item() == pytest.approx(expected, rel=1e-9), (row, column)


def test_colours_are_those_of_the_nearest_bone():
    poses = random_poses(3)
    white = soft_lines(poses, BONES, 32)
    rng = torch.Generator().manual_seed(1)
    colors = torch.rand(len(BONES), 3, generator=rng)
    lines = soft_lines(poses, BONES, 32, colors=colors)
    assert lines.shape == (3, 3, 32, 32)
    each = torch.stack([soft_lines(poses, BONES[b : b + 1], 32)[:, 0] for b in range(len(BONES))])
    torch.testing.assert_close(white[:, 0], each.amax(0))
    expected = white * colors.double()[each.argmax(0)].permute(0, 3, 1, 2)
    same = (lines - expected).abs().amax(1) < 1e-9
    # But for pixels as near to two bones, at a joint that they share: where one bone alone is nearest, it is all.
    ahead = each.topk(2, dim=0).values.log()
    clear = ahead[0] - ahead[1] > 1e-6
    assert same[clear].all()
    assert clear.double().mean() > 0.7
    torch.testing.assert_close(soft_lines(poses, BONES, 32, colors=torch.ones(len(BONES), 1)), white)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_bones_that_are_as_near_the_first_gives_the_colour(dtype):
    """Around a joint that two bones share no rounding decides: the picture is in one piece there."""
    rng = torch.Generator().manual_seed(2)
    joint = torch.rand(50, 1, 2, generator=rng, dtype=torch.float64) - 0.5
    # Bones of a right angle that opens to the right: left of the joint it is the nearest point of both.
    turns = torch.tensor([[0.4, 0.4], [0.3, -0.3]], dtype=torch.float64)
    poses = torch.cat([joint, joint + turns], 1).to(dtype)
    colors = torch.eye(2, dtype=dtype)
    axis = torch.linspace(-1, 1, 48, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    behind = torch.stack([(x - px < 0) & ((y - py).abs() < (px - x)) for px, py in joint[:, 0]])
    for order in ([[0, 1], [0, 2]], [[2, 0], [0, 1]]):
        first, second = soft_lines(poses, torch.tensor(order), 48, colors=colors, sigma=0.5).unbind(1)
        assert behind.double().mean() > 0.1
        assert (first[behind] > 0).all()
        assert (second[behind] == 0).all()
        assert (second > 0).any()


@pytest.mark.parametrize("colors", [None, torch.tensor([[0.9, 0.2], [0.1, 0.7]], dtype=torch.float64)])
def test_gradients_are_those_of_the_drawing(colors):
    # Generic places. Bones that share a joint are as near to the pixels around it, where the colour would be a tie.
    poses = torch.tensor(
        [
            [[-0.713, -0.291], [0.187, 0.413], [0.829, -0.617], [0.377, 0.023]],
            [[0.331, 0.877], [-1.417, -0.539], [0.091, -0.453], [0.619, 0.127]],
        ],
        dtype=torch.float64,
    ).requires_grad_()
    bones = torch.tensor([[0, 1], [3, 2]] if colors is not None else [[0, 1], [1, 2]])
    assert torch.autograd.gradcheck(lambda x: soft_lines(x, bones, 5, sigma=0.6, colors=colors), (poses,))


def test_gradients_lead_a_joint_to_its_place():
    goal = torch.tensor([[[-0.5, -0.4], [0.3, 0.5]]])
    target = soft_lines(goal, ONE, 32, sigma=0.4)
    joints = torch.tensor([[[-0.5, -0.4], [0.5, 0.2]]]).requires_grad_()
    before = (joints - goal).detach().norm().item()
    optimizer = torch.optim.Adam([joints], lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        (soft_lines(joints, ONE, 32, sigma=0.4) - target).square().mean().backward()
        optimizer.step()
    assert (joints - goal).detach().norm().item() < 0.05 * before


def test_points_off_the_picture():
    inside = torch.tensor([[[-0.5, 0.25], [4.0, 0.25]]], dtype=torch.float64)
    nearer = inside.clone()
    nearer[..., 0].clamp_(max=1.5)
    torch.testing.assert_close(soft_lines(inside, ONE, 16), soft_lines(nearer, ONE, 16))
    far = torch.full((1, 2, 2), 50.0).requires_grad_()
    lines = soft_lines(far, ONE, 16)
    lines.sum().backward()
    assert (lines == 0).all()
    assert far.grad is not None
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-6, 1e-4])
def test_a_bone_of_no_length_is_a_point(dtype, length):
    place = torch.linspace(-1, 1, 9, dtype=torch.float64)[6].item()  # right on a pixel, too
    joints = torch.tensor([[[place, 0.25], [place + length, 0.25]]], dtype=dtype).requires_grad_()
    lines = soft_lines(joints, ONE, 9)
    lines.sum().backward()
    axis = torch.linspace(-1, 1, 9, dtype=torch.float64)
    distance = torch.hypot(axis[None] - place, axis[:, None] - 0.25)
    expected = (-(distance.square() + 1e-6).sqrt() / SIGMA**2).exp()
    torch.testing.assert_close(lines[0, 0].double(), expected, rtol=0, atol=5e-3)
    assert joints.grad is not None
    assert joints.grad.isfinite().all()


def test_poses_do_not_meet_and_none_are_no_pictures():
    poses = random_poses(4)
    whole = soft_lines(poses, BONES, 16)
    for i in range(4):
        torch.testing.assert_close(soft_lines(poses[i : i + 1], BONES, 16), whole[i : i + 1])
    assert soft_lines(poses[:0], BONES, 16).shape == (0, 1, 16, 16)


def test_wrong_arguments():
    poses = torch.zeros(2, 3, 2)
    for wrong in (poses[0], torch.zeros(2, 3, 3)):
        with pytest.raises(UsageError, match=r"keypoints must be \[N, K, 2\], got \["):
            soft_lines(wrong, ONE, 8)
    for wrong in (ONE[0], ONE[:0], torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"bones must be \[B, 2\] with B > 0, got \["):
            soft_lines(poses, wrong, 8)
    for wrong in (torch.zeros(3), torch.zeros(2, 3)):
        with pytest.raises(UsageError, match=r"colors must be \[1, C\], got \["):
            soft_lines(poses, ONE, 8, colors=wrong)
    for size, sigma in ((1, 0.2), (8, 0.0), (8, -1.0), (8, math.inf), (8, math.nan)):
        with pytest.raises(UsageError, match="size_px must be >= 2 and sigma > 0 and finite"):
            soft_lines(poses, ONE, size, sigma=sigma)
    for bones in ([[0, 3]], [[0, 1], [-1, 2]], [[7, 8]]):
        with pytest.raises(UsageError, match=r"bones must join joints in 0 to 2, got -?\d to \d"):
            soft_lines(poses, torch.tensor(bones), 8)
