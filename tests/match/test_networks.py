"""The painter and the critic: shapes, what their outputs depend on, gradients."""

from __future__ import annotations

import pytest
import torch

from flexpose.config import make_config
from flexpose.errors import ConfigError, UsageError
from flexpose.match import MatchConfig
from flexpose.match.networks import Critic, Painter

BONES = torch.tensor([[0, 1], [1, 2], [1, 3]])
WIDTH = 8


@pytest.fixture(scope="module")
def painter() -> Painter:
    torch.manual_seed(0)
    return Painter(WIDTH).requires_grad_(False)


@pytest.fixture(scope="module")
def critic() -> Critic:
    torch.manual_seed(0)
    return Critic(4, BONES, WIDTH).requires_grad_(False)


def pictures(n: int = 3, size: int = 32, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Skeletons in [0, 1] and looks in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    skeletons, looks = torch.rand(2, n, 3, size, size, generator=rng)
    return skeletons, looks * 2 - 1


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_painter_gives_pictures(painter: Painter, size: int, dtype: torch.dtype) -> None:
    painted = painter(*pictures(2, size), dtype=dtype)
    assert painted.shape == (2, 3, size, size)
    assert painted.dtype == torch.float32
    assert painted.isfinite().all()
    assert painted.abs().max() < 20
    assert painted.std() > 0


def test_bfloat16_is_close(painter: Painter) -> None:
    exact = painter(*pictures())
    low = painter(*pictures(), dtype=torch.bfloat16)
    assert 0 < (low - exact).square().mean().sqrt() < 0.05 * exact.std()


def test_the_painter_sees_the_skeleton_and_the_looks(painter: Painter) -> None:
    skeletons, looks = pictures()
    other_skeletons, other_looks = pictures(seed=2)
    painted = painter(skeletons, looks)
    assert torch.equal(painter(skeletons, looks), painted)
    for other in (painter(other_skeletons, looks), painter(skeletons, other_looks)):
        assert (other - painted).abs().mean() > 0.01 * painted.std()


def test_fine_detail_of_the_looks_does_not_come_through() -> None:
    """Without their features at 1/8 and 1/16 of the resolution, looks change nothing."""
    torch.manual_seed(0)
    painter = Painter(WIDTH).requires_grad_(False)
    painter.looks.register_forward_hook(lambda _, __, found: [*found[:2], *(0 * f for f in found[2:])])
    skeletons, looks = pictures()
    assert torch.equal(painter(skeletons, looks), painter(skeletons, pictures(seed=2)[1]))
    assert not torch.equal(painter(skeletons, looks), painter(pictures(seed=2)[0], looks))


def test_pictures_do_not_meet(painter: Painter) -> None:
    skeletons, looks = pictures(4)
    whole = painter(skeletons, looks)
    for i in range(4):
        alone = painter(skeletons[i : i + 1], looks[i : i + 1])
        torch.testing.assert_close(alone, whole[i : i + 1], rtol=1e-4, atol=1e-4)


def test_every_parameter_is_trained() -> None:
    torch.manual_seed(0)
    painter, critic = Painter(WIDTH), Critic(4, BONES, WIDTH)
    painter(*pictures()).square().mean().backward()
    critic(torch.randn(16, 4, 2)).square().mean().backward()
    for network in (painter, critic):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 1e-12, name


def test_gradients_reach_what_is_painted_and_judged(painter: Painter, critic: Critic) -> None:
    skeletons, looks = pictures()
    skeletons.requires_grad_()
    painter(skeletons, looks).square().mean().backward()
    poses = torch.randn(5, 4, 2).requires_grad_()
    critic(poses).sum().backward()
    for grad in (skeletons.grad, poses.grad):
        assert grad is not None
        assert (grad.abs().flatten(1).amax(1) > 0).all()


def test_the_critic_judges_each_pose_by_itself(critic: Critic) -> None:
    rng = torch.Generator().manual_seed(3)
    poses = torch.randn(6, 4, 2, generator=rng)
    logits = critic(poses)
    assert logits.shape == (6,)
    assert logits.unique().numel() == 6
    for i in range(6):
        torch.testing.assert_close(critic(poses[i : i + 1]), logits[i : i + 1])
    assert critic(poses[:0]).shape == (0,)
    assert "bones" not in critic.state_dict()


def test_the_critic_sees_bones() -> None:
    """With the joints' own weights at 0, a pose that is moved as a whole is judged alike, a bent one is not."""
    torch.manual_seed(0)
    critic = Critic(4, BONES, WIDTH).requires_grad_(False)
    critic.layers[0].weight[:, :8] = 0
    poses = torch.randn(3, 4, 2)
    torch.testing.assert_close(critic(poses + 0.7), critic(poses), rtol=1e-4, atol=1e-5)
    bent = poses.clone()
    bent[:, 3] += 0.7
    assert ((critic(bent) - critic(poses)).abs() > 1e-4).all()


def test_wrong_shapes(painter: Painter, critic: Critic) -> None:
    skeletons, looks = pictures()
    for wrong in (looks[:2], looks[:, :1], looks[..., :16], looks[0]):
        with pytest.raises(UsageError, match=r"looks must be \[3, 3, 32, 32\] as skeletons, got \["):
            painter(skeletons, wrong)
    for size in (24, 40):
        with pytest.raises(UsageError, match=r"S a multiple of 16, got \[3, 3, (24|40), (24|40)\]"):
            painter(*pictures(size=size))
    with pytest.raises(ConfigError, match="size_px must be a multiple of 16, got 40"):
        make_config(MatchConfig, {"size_px": 40})
    for shape in ((4, 2), (3, 5, 2), (3, 4, 3)):
        with pytest.raises(UsageError, match=r"keypoints must be \[N, 4, 2\], got \["):
            critic(torch.zeros(shape))
