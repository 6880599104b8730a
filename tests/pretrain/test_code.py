"""The code of poses and its place in z, by linear algebra and by the distribution of points on a sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from flexpose.drawing import Drawing
from flexpose.models.mapping import MappingNetwork
from flexpose.poses import source_domain, synth_poses
from flexpose.pretrain.code import PoseCode
from flexpose.skeleton import load_skeleton

Z_DIM = 64  # half of it holds all 26 axes of body13


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    drawing = Drawing(load_skeleton("body13"), 16)
    return drawing.framed(synth_poses(400, seed=3, domain=source_domain())).normalized


def flat(poses: np.ndarray) -> np.ndarray:
    return poses.reshape(len(poses), -1).astype(np.float64)


# --- poses and codes


@pytest.mark.parametrize("z_dim", [4, 12, 30])
def test_what_a_narrow_z_leaves_out_is_known(poses: np.ndarray, z_dim: int) -> None:
    code = PoseCode(poses, z_dim)
    off = np.linalg.norm(code.decode(code.encode(poses)) - poses, axis=-1)
    assert code.left_out == pytest.approx(np.sqrt(np.square(off).mean()), rel=0.01)


def test_poses_come_back_from_their_codes(poses: np.ndarray) -> None:
    code = PoseCode(poses, Z_DIM)
    assert code.left_out == 0
    codes = code.encode(poses)
    assert codes.shape == (400, code.size) == (400, 26)
    assert codes.dtype == code.decode(codes).dtype == np.float32
    np.testing.assert_allclose(code.decode(codes), poses, atol=2e-6)
    some = np.random.default_rng(0).standard_normal((5, 26)).astype(np.float32) * 3
    np.testing.assert_allclose(code.encode(code.decode(some)), some, atol=2e-4)


def test_codes_are_white(poses: np.ndarray) -> None:
    codes = PoseCode(poses, Z_DIM).encode(poses).astype(np.float64)
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(26), atol=1e-4)


def test_lengths_of_codes_are_mahalanobis_distances(poses: np.ndarray) -> None:
    centred = flat(poses) - flat(poses).mean(0)
    squared = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(centred.T)), centred)
    codes = PoseCode(poses, Z_DIM).encode(poses).astype(np.float64)
    np.testing.assert_allclose((codes**2).sum(1), squared, rtol=1e-4)


@pytest.mark.parametrize("z_dim", [2, 8, 20])
def test_a_short_code_keeps_the_widest_axes(poses: np.ndarray, z_dim: int) -> None:
    code = PoseCode(poses, z_dim)
    assert code.size == z_dim // 2
    centred = flat(poses) - flat(poses).mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(code.std, singular[: z_dim // 2] / np.sqrt(399), rtol=1e-6)
    axes = axes[: z_dim // 2]
    expected = flat(poses).mean(0) + centred @ axes.T @ axes
    np.testing.assert_allclose(flat(code.decode(code.encode(poses))), expected, atol=1e-5)


def test_an_axis_along_which_nothing_spreads_is_no_coordinate(poses: np.ndarray) -> None:
    still = poses.copy()
    still[:, 3] = 0.25
    code = PoseCode(still, Z_DIM)
    assert code.size == 24
    np.testing.assert_allclose(code.decode(code.encode(still)), still, atol=2e-6)


@pytest.mark.parametrize("count", [1, 7])
def test_poses_that_do_not_vary_have_no_code(poses: np.ndarray, count: int) -> None:
    assert PoseCode(np.repeat(poses[:1], count, 0), 8).size == 0


# --- codes in z


@pytest.mark.parametrize("z_dim", [4, 8, Z_DIM])
def test_starts_are_what_the_mapping_network_makes_of_z(poses: np.ndarray, z_dim: int) -> None:
    code = PoseCode(poses, z_dim)
    starts = code.starts(50, np.random.default_rng(5))
    z = np.random.default_rng(5).standard_normal((50, z_dim), np.float32)
    normalised = MappingNetwork(z_dim, 8, 2)(torch.from_numpy(z), stop=0).numpy()
    assert starts.dtype == np.float32
    np.testing.assert_allclose(starts, normalised[:, : code.size], rtol=1e-5)


@pytest.mark.parametrize("z_dim", [8, Z_DIM])
def test_lengths_of_starts(poses: np.ndarray, z_dim: int) -> None:
    """D coordinates of a point on a sphere in Z dimensions have Beta(D / 2, (Z - D) / 2) of its squared length."""
    code = PoseCode(poses, z_dim)
    share = (code.starts(4000, np.random.default_rng(0)).astype(np.float64) ** 2).sum(1) / z_dim
    law = stats.beta(code.size / 2, (z_dim - code.size) / 2)
    assert stats.kstest(share, law.cdf).pvalue > 0.01
    normal = np.random.default_rng(0).standard_normal((4000, code.size))
    assert stats.kstest((normal**2).sum(1) / z_dim, law.cdf).pvalue < 1e-6, "normal ones would be noticed"


def test_latents_begin_with_their_starts_and_are_normalised(poses: np.ndarray) -> None:
    code = PoseCode(poses, Z_DIM)
    starts = code.starts(300, np.random.default_rng(1))
    z = code.latents(starts, np.random.default_rng(2))
    assert (z.shape, z.dtype) == ((300, Z_DIM), np.float32)
    np.testing.assert_array_equal(z[:, : code.size], starts)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.sqrt(Z_DIM), rtol=1e-6)
    network = MappingNetwork(Z_DIM, 8, 1)
    np.testing.assert_allclose(network(torch.from_numpy(z), stop=0).numpy(), z, rtol=1e-5)


def test_the_rest_of_z_is_random(poses: np.ndarray) -> None:
    code = PoseCode(poses, Z_DIM)
    starts = code.starts(5, np.random.default_rng(1))
    one, other, again = (code.latents(starts, np.random.default_rng(seed)) for seed in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    assert not np.isclose(one[:, code.size :], other[:, code.size :]).any()


@pytest.mark.parametrize("z_dim", [8, 20])
def test_latents_are_points_of_the_whole_sphere(poses: np.ndarray, z_dim: int) -> None:
    """E z_i z_j = [i = j]; E z_i^2 z_j^2 = Z / (Z + 2), thrice that for i = j, whether in the code or beyond."""
    n, code = 40_000, PoseCode(poses, z_dim)
    rng = np.random.default_rng(0)
    z = code.latents(code.starts(n, rng), rng).astype(np.float64)
    squares = z**2
    assert (np.abs(z.mean(0)) < 5 / np.sqrt(n)).all()
    assert (np.abs(z.T @ z / n - np.eye(z_dim)) < 5 * np.sqrt(2 / n)).all()
    fourth = z_dim / (z_dim + 2) * (1 + 2 * np.eye(z_dim))
    error = (squares.T @ squares / n - fourth) / np.sqrt(
        np.einsum("ni,nj->ij", squares**2, squares**2) / n**2
    )
    assert np.abs(error).max() < 5
