"""The operators inside of a program that torch.compile turns into code of its own: results and gradients stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from flexpose import ops
from flexpose.models import Generator, GeneratorConfig
from flexpose.ops import choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

pytestmark = pytest.mark.skipif(
    not choice._compiler().available, reason="torch.compile needs a C++ compiler here"
)

N, C, SIDE = 3, 6, 9


def made(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


def bias_act(x: Tensor, bias: Tensor) -> Tensor:
    return ops.bias_act(2 * x, bias, activation="lrelu") + 1


def upsampled(x: Tensor) -> Tensor:
    return ops.upfirdn2d(2 * x, up=2, padding=(2, 1)) + 1


def downsampled(x: Tensor) -> Tensor:
    return ops.upfirdn2d(2 * x, down=2, padding=(1, 1)).relu()


def convolved(x: Tensor, weight: Tensor, styles: Tensor, tau: Tensor) -> Tensor:
    return 2 * ops.modulated_conv2d(x, weight, styles, tau=tau, up=2)


X = (N, C, SIDE, SIDE)


@pytest.mark.parametrize(
    ("program", "shapes"),
    [
        (bias_act, [X, (C,)]),
        (upsampled, [X]),
        (downsampled, [X]),
        (convolved, [X, (4, C, 3, 3), (N, C), (C, C)]),
    ],
)
def test_compiled_programs_and_their_gradients(
    program: Callable[..., Tensor], shapes: list[tuple[int, ...]]
) -> None:
    given = [made(*shape) for shape in shapes]
    compiled = torch.compile(program, fullgraph=True)
    (found, wanted) = (
        [result, *torch.autograd.grad(result.square().sum(), given)]
        for result in (compiled(*given), program(*given))
    )
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * float(theirs.detach().abs().max()))


def test_a_whole_generator_is_one_graph() -> None:
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(size_px=16, channel_base=256, channel_max=16)).eval()
    z = torch.randn(4, generator.config.z_dim)
    compiled = torch.compile(generator, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(z), generator(z), rtol=1e-4, atol=1e-4)
