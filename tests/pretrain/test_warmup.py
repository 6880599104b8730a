"""The linear code of poses, by linear algebra, and the loss of the drawing lessons, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexpose.drawing import Drawing
from flexpose.poses import source_domain, synth_poses
from flexpose.pretrain.warmup import PoseCode, pyramid_loss
from flexpose.skeleton import load_skeleton

Z_DIM = 64  # half of it holds all 26 axes of body13
MAX_SHARE = 0.8


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    drawing = Drawing(load_skeleton("body13"), 16)
    return drawing.framed(synth_poses(400, seed=3, domain=source_domain())).normalized


def mahalanobis(poses: np.ndarray) -> np.ndarray:
    flat = poses.reshape(len(poses), -1).astype(np.float64)
    centred = flat - flat.mean(0)
    return np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.pinv(np.cov(flat.T), rcond=1e-7), centred))


def test_latents_are_as_long_as_normalised_codes(poses: np.ndarray) -> None:
    z = PoseCode(poses, Z_DIM).latents(poses, np.random.default_rng(0))
    assert z.shape == (400, Z_DIM)
    assert z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.sqrt(Z_DIM), rtol=1e-6)


def test_poses_come_back_from_their_codes(poses: np.ndarray) -> None:
    code = PoseCode(poses, Z_DIM)
    back = code.poses(code.latents(poses, np.random.default_rng(0)))
    length, limit = mahalanobis(poses), np.sqrt(MAX_SHARE * Z_DIM)
    assert 20 < (length < limit).sum() < 400, "some are within and some beyond"
    # Beyond the limit a pose is drawn towards the mean until it fits.
    share = np.minimum(1, limit / length)[:, None, None]
    mean = poses.astype(np.float64).mean(0)
    np.testing.assert_allclose(back, mean + share * (poses - mean), atol=5e-4)


def test_the_rest_of_a_code_is_random_and_carries_nothing(poses: np.ndarray) -> None:
    code = PoseCode(poses, Z_DIM)
    one, other, again = (code.latents(poses[:5], np.random.default_rng(seed)) for seed in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[:, : code.size], other[:, : code.size])
    assert not np.isclose(one[:, code.size :], other[:, code.size :]).any()
    np.testing.assert_allclose(code.poses(one), code.poses(other), atol=1e-6)


def test_length_of_a_code_carries_nothing(poses: np.ndarray) -> None:
    """The mapping network normalises z, so the pose must not depend on its length."""
    code = PoseCode(poses, Z_DIM)
    z = np.random.default_rng(0).standard_normal((5, Z_DIM)).astype(np.float32)
    np.testing.assert_allclose(code.poses(z * 3), code.poses(z), atol=1e-5)


def test_random_codes_have_the_source_s_mean_and_covariance(poses: np.ndarray) -> None:
    n = 40_000
    z = np.random.default_rng(0).standard_normal((n, Z_DIM)).astype(np.float32)
    drawn = PoseCode(poses, Z_DIM).poses(z).reshape(n, -1).astype(np.float64)
    flat = poses.reshape(len(poses), -1).astype(np.float64)
    cov = np.cov(flat.T)
    std = np.sqrt(np.diag(cov))
    assert (np.abs(drawn.mean(0) - flat.mean(0)) < 5 * std / np.sqrt(n) + 1e-6).all()
    # Of a Gaussian: var(cov_ij) = (cov_ii cov_jj + cov_ij^2) / n; codes on a sphere vary less.
    bound = 5 * np.sqrt((np.outer(std**2, std**2) + cov**2) / n)
    assert (np.abs(np.cov(drawn.T) - cov) < bound + 1e-6).all()


@pytest.mark.parametrize("z_dim", [8, 20])
def test_a_short_code_keeps_the_widest_axes(poses: np.ndarray, z_dim: int) -> None:
    code = PoseCode(poses, z_dim)
    assert code.size == z_dim // 2
    flat = poses.reshape(len(poses), -1).astype(np.float64)
    centred = flat - flat.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][: z_dim // 2]
    expected = flat.mean(0) + centred @ axes.T @ axes
    spread = np.linalg.norm(centred @ axes.T / (centred @ axes.T).std(0, ddof=1), axis=1)
    inside = spread < np.sqrt(MAX_SHARE * z_dim)
    back = code.poses(code.latents(poses, np.random.default_rng(0))).reshape(len(poses), -1)
    assert inside.sum() > 100
    np.testing.assert_allclose(back[inside], expected[inside], atol=1e-4)


@pytest.mark.parametrize("count", [1, 7])
def test_poses_that_do_not_vary_have_no_code(poses: np.ndarray, count: int) -> None:
    same = np.repeat(poses[:1], count, 0)
    code = PoseCode(same, 8)
    assert code.size == 0
    z = code.latents(same, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.sqrt(8), rtol=1e-6)
    np.testing.assert_allclose(code.poses(z), same, atol=1e-6)


# --- the loss


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    while True:
        total += ((a - b) ** 2).mean() / b.var(0, ddof=1).mean()
        if a.shape[2] == 4:
            return total
        n, c, h, w = a.shape
        a, b = (x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5)) for x in (a, b))


@pytest.mark.parametrize("side", [4, 8, 16])
def test_loss_is_the_sum_over_halvings(side: int) -> None:
    rng = np.random.default_rng(side)
    a, b = rng.standard_normal((2, 3, 3, side, side))
    got = pyramid_loss(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert got == pytest.approx(by_hand(a, b), rel=1e-6)
    assert pyramid_loss(torch.from_numpy(a), torch.from_numpy(a)).item() == 0


def test_loss_of_targets_that_are_all_the_same_is_finite() -> None:
    images = torch.zeros(3, 3, 8, 8, requires_grad=True)
    loss = pyramid_loss(images, torch.ones(3, 3, 8, 8))
    loss.backward()
    assert loss.isfinite()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_coarse_levels_see_a_limb_that_does_not_overlap() -> None:
    """The loss falls as soon as two dots share a cell of some level, before they meet."""
    target = torch.zeros(2, 1, 16, 16)
    target[0, 0, 8, 2] = 1
    losses = []
    for column in (14, 0, 3):
        images = torch.zeros(2, 1, 16, 16)
        images[0, 0, 8, column] = 1
        losses.append(pyramid_loss(images, target).item())
    assert losses[0] > losses[1] > losses[2] > 0
