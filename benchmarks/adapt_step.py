"""One step of adaptation, and one of adversarial training, against plain autograd over a weight for each sample.

    python benchmarks/adapt_step.py [--repeats N] [--threads N] [--no-write]

Adaptation: 16 pictures of a frozen generator (64 px, cbase 8192, cmax 128) with one free layer, the distance of their
features under a small frozen net to fixed ones, the gradient of tau, Adam. The yardstick is plain autograd of the
float32 reference that keeps gradients for all weights, as a straightforward program does.

Training: a generator step and a discriminator step; every sixteenth with R1. Both yardsticks are float32.

Equality first. In float32 the losses must agree to 1e-5 and tau's gradients to 2e-3: rounding turns the sign of a few
activations about zero, and each of these changes the gradient by a whole term. (In float64 they are equal, which the
tests show.) In bfloat16 both may be twice as far off as the yardstick's own form is in bfloat16.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; --threads changes it

import argparse
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flexpose._atomic import atomic_write
from flexpose.models import Discriminator, Generator, Prefix, Transfer
from flexpose.models.discriminator import _minibatch_std
from flexpose.ops import upfirdn2d_ref
from flexpose.runs import versions
from harness import RESULTS, Comparison, Suite, machine
from modconv import SIZES, by_reference, generator, table_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from flexpose.models.layers import EqualConv2d

BATCH = 16
GAIN = 2**0.5

WHY = """## What bounds it

With layer 9 free and its entering activations cached, the forward pass is about 98 of 231 ms (CPU,
bfloat16) and the convolutions of the backward pass about 90; the rest are elementwise passes. On this
processor bfloat16 is twice as fast as float32 and not 6 to 10 x, as where the goal of 12 x was set. With
layer 5 free the backward pass also runs through two more upsampling layers, whose gradients stay with
oneDNN; that case was not profiled.

A training step in bfloat16, by turns with commit 2c351e5, where autograd differentiated the filter and oneDNN
made all weight gradients (CPU seconds, the least of six steps, both processes on a busy machine):

| | 2c351e5 | with `bias_act`, `upfirdn2d` and `weight_gradient` | |
| --- | --- | --- | --- |
| without R1 | 2.05 | 1.83 | 1.12 x |
| with R1 | 3.66 | 2.70 | 1.36 x |

Parts of it at 64 px, 128 channels, 16 pictures (CPU ms, the least of five):

| | bfloat16: before | now | float32: before | now |
| --- | --- | --- | --- | --- |
| gradient of a 3x3 weight | 92 | 64 | 217 | 77 |
| halving filter | 4.6 | 2.9 | 8.0 | 4.6 |
| doubling filter | 17 | 4.5 | 89 | 20 |

The double backward of the halving, 0.4 s of a step with R1, was a convolution for each channel; it is the filter
once more now. What is left of a step without R1 in bfloat16: minimal filtering forwards and back 36 %, strided and
transposed convolutions, which stay with oneDNN and run near the processor's peak, 25 %, weight gradients 16 %, sums,
products and activations over the whole batch 11 %, the filter 6 %, 1x1 convolutions 3 %. About 0.17 s do not depend
on the batch: transformed kernels, Adam, calls of small operators.

8 x needs 1.05 s. If every product ran at the processor's peak (234 GFLOP/s in bfloat16), with 2.25 times fewer of
them in the 3x3 convolutions of stride 1, the 3x3 convolutions alone would take 0.91 s. Larger tiles in bfloat16 would
multiply less, but err three times as much (1.2 against 0.4 % of a result). What could still be won: minimal
filtering of the strided convolutions by their phases (1.65 times fewer products), and sums over pictures in the
passes that make them."""


def feature_net(dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Four strided convolutions, as frozen as VGG."""
    torch.manual_seed(1)
    widths = [3, 32, 64, 64, 64]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers).to(device, dtype, memory_format=torch.channels_last).requires_grad_(False)


class Adaptation:
    """One way to make the step; `run` gives the loss and tau's gradient."""

    def __init__(
        self, layer: int, device: torch.device, dtype: torch.dtype, *, ours: bool, cached: bool
    ) -> None:
        self.made = generator(device).requires_grad_(not ours)
        self.ours, self.dtype, self.layer = ours, dtype, layer
        torch.manual_seed(2)
        with torch.no_grad():
            codes = self.made.map(torch.randn(BATCH, self.made.config.z_dim, device=device))
            self.bank = self.made.styles(codes)
        self.net = feature_net(dtype, device)
        self.goal = torch.randn(BATCH, 64, 4, 4, device=device)
        self.transfer = Transfer.for_generator(self.made, [layer]).to(device)
        self.optimiser = torch.optim.Adam(self.transfer.parameters(), lr=0.0)  # every repeat does the same
        self.rows = torch.arange(BATCH, device=device)
        self.prefix = Prefix(self.made.synthesis, self.bank, layer, dtype=dtype) if cached else None

    def images(self) -> Tensor:
        """What the adapted generator draws."""
        styles = self.transfer(self.bank)
        if not self.ours:
            return by_reference(self.made, styles, self.dtype)
        if self.prefix is not None:
            return self.made.synthesis(styles, dtype=self.dtype, start=self.prefix.rows(self.rows))
        with torch.no_grad():
            x, image = self.made.synthesis.features_before(styles, self.layer, dtype=self.dtype)
        return self.made.synthesis(styles, dtype=self.dtype, start=(self.layer, x, image))

    def run(self) -> tuple[float, Tensor]:
        """One step: the loss and tau's gradient."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = (self.net(self.images().to(self.dtype)).float() - self.goal).square().mean()
        torch.autograd.backward(loss)
        self.optimiser.step()
        gradient = next(iter(self.transfer.parameters())).grad
        assert gradient is not None
        for parameter in self.made.parameters():
            parameter.grad = None
        return loss.item(), gradient.clone()


def plain_convolution(layer: EqualConv2d, x: Tensor, gain: float = 1.0) -> Tensor:
    """`EqualConv2d` in torch's operators, one after the other."""
    weight = layer.weight * layer.weight_gain
    pad = weight.shape[2] // 2
    if layer.down == 2:
        x = upfirdn2d_ref(x, padding=(pad + 1, pad + 1)) if pad else upfirdn2d_ref(x, down=2, padding=(1, 1))
        x = F.conv2d(x, weight, layer.bias, stride=2 if pad else 1)
    else:
        x = F.conv2d(x, weight, layer.bias, padding=pad)
    return (F.leaky_relu(x, 0.2) * GAIN if layer.activate else x) * gain


def plain_discriminator(judge: Discriminator, image: Tensor) -> Tensor:
    """`Discriminator` in torch's operators."""
    y = plain_convolution(judge.from_rgb[0], image)  # type: ignore[arg-type]
    for block in judge.blocks:
        main = plain_convolution(block.conv0, y)  # type: ignore[arg-type]
        main = plain_convolution(block.conv1, main, 0.5**0.5)  # type: ignore[arg-type]
        y = main + plain_convolution(block.skip, y, 0.5**0.5)  # type: ignore[arg-type]
    y = plain_convolution(judge.conv, _minibatch_std(y, judge.group_size))
    logits: Tensor = judge.out(judge.dense(y.flatten(1)))
    return logits[:, 0]


class Training:
    """One way to make a step of the game; `run` gives the losses."""

    def __init__(self, device: torch.device, dtype: torch.dtype, *, ours: bool) -> None:
        torch.manual_seed(3)
        self.G = Generator(**SIZES).to(device)
        self.D = Discriminator(SIZES["size_px"], SIZES["channel_base"], SIZES["channel_max"]).to(device)
        self.ours, self.dtype = ours, dtype
        self.z = torch.randn(BATCH, self.G.config.z_dim, device=device)
        self.reals = torch.randn(BATCH, 3, SIZES["size_px"], SIZES["size_px"], device=device)
        self.optimisers = [torch.optim.Adam(net.parameters(), lr=0.0) for net in (self.G, self.D)]

    def fakes(self) -> Tensor:
        """What G draws."""
        styles = self.G.styles(self.G.map(self.z))
        if self.ours:
            return self.G.synthesize(styles, dtype=self.dtype)
        return by_reference(self.G, styles, torch.float32)

    def judge(self, images: Tensor) -> Tensor:
        """Logits of D."""
        if self.ours:
            logits: Tensor = self.D(images, dtype=self.dtype)
            return logits
        return plain_discriminator(self.D, images)

    def run(self, *, r1: bool) -> list[float]:
        """One step of both: the losses."""
        self.D.requires_grad_(not self.ours)
        of_g, of_d = self.optimisers
        loss_g = F.softplus(-self.judge(self.fakes())).mean()
        of_g.zero_grad(set_to_none=True)
        torch.autograd.backward(loss_g)
        of_g.step()
        self.D.requires_grad_(True)
        of_d.zero_grad(set_to_none=True)
        with torch.no_grad():
            fakes = self.fakes()
        loss_d = F.softplus(self.judge(fakes)).mean() + F.softplus(-self.judge(self.reals)).mean()
        torch.autograd.backward(loss_d)
        losses = [loss_g.item(), loss_d.item()]
        if r1:
            reals = self.reals.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.judge(reals).sum(), reals, create_graph=True)
            penalty = slope.float().square().sum((1, 2, 3)).mean()
            torch.autograd.backward(penalty * 16)
            losses.append(penalty.item())
        of_d.step()
        return losses


def difference(found: Any, wanted: Any) -> float:
    """Root mean square of the difference, over that of what is wanted."""
    a, b = (torch.as_tensor(value).double() for value in (found, wanted))
    return float((a - b).norm() / b.norm())


def close(tolerance: float) -> Callable[[Any, Any], None]:
    """Raises where losses or gradients differ by more, measured by the largest value."""

    def check(found: Any, wanted: Any) -> None:
        for one, other in zip(found, wanted, strict=True):
            off = difference(one, other)
            assert off < tolerance, f"{off:.1e} off"

    return check


def adaptation(
    suite: Suite, layer: int, device: torch.device, synchronize: Any
) -> dict[str, Callable[[], Any]]:
    """The step at one free layer."""
    ways = {
        "autograd of the reference, float32": Adaptation(
            layer, device, torch.float32, ours=False, cached=False
        ),
        "flexpose, float32": Adaptation(layer, device, torch.float32, ours=True, cached=False),
        "flexpose, float32, cached": Adaptation(layer, device, torch.float32, ours=True, cached=True),
        "flexpose, bfloat16": Adaptation(layer, device, torch.bfloat16, ours=True, cached=False),
        "flexpose, bfloat16, cached": Adaptation(layer, device, torch.bfloat16, ours=True, cached=True),
    }
    peers: dict[str, Callable[[], Any]] = {name: way.run for name, way in ways.items()}
    wanted = peers["autograd of the reference, float32"]()
    low = Adaptation(layer, device, torch.bfloat16, ours=False, cached=False).run()
    allowed = [2 * difference(one, other) for one, other in zip(low, wanted, strict=True)]
    print(f"allowed in bfloat16: loss {allowed[0]:.1e}, gradient {allowed[1]:.1e}")
    for name, run in peers.items():
        off = [difference(one, other) for one, other in zip(run(), wanted, strict=True)]
        print(f"{name}: loss {off[0]:.1e}, gradient {off[1]:.1e} off")
        limits = [1e-5, 2e-3] if "float32" in name else [max(allowed[0], 1e-3), allowed[1]]
        if any(found > limit for found, limit in zip(off, limits, strict=True)):
            raise AssertionError(f"{name}: {off}, allowed {limits}")
    suite.compare(
        f"adaptation, layer {layer} free, {device.type}",
        peers,
        work=BATCH,
        unit="images",
        equal=close(0.2),
        synchronize=synchronize,
    )
    return peers


def training(suite: Suite, device: torch.device, synchronize: Any, repeats: int) -> None:
    """A step without and a step with R1."""
    ways = {
        "autograd of the reference, float32": Training(device, torch.float32, ours=False),
        "flexpose, float32": Training(device, torch.float32, ours=True),
        "flexpose, bfloat16": Training(device, torch.bfloat16, ours=True),
    }
    wanted = ways["autograd of the reference, float32"].run(r1=True)
    close(1e-3)(ways["flexpose, float32"].run(r1=True), wanted)
    for r1 in (False, True):
        suite.compare(
            f"training, {'with' if r1 else 'without'} R1, {device.type}",
            {name: lambda way=way, r1=r1: way.run(r1=r1) for name, way in ways.items()},
            work=BATCH,
            unit="images",
            equal=close(0.2),
            synchronize=synchronize,
            repeats=repeats,
        )


def lazy(comparisons: list[Comparison], peer: str, key: str) -> float:
    """Ratio of fifteen steps without and one with R1."""
    seconds = {}
    for name in ("autograd of the reference, float32", peer):
        seconds[name] = 0.0
        for comparison, times in zip(comparisons, (15, 1), strict=True):
            found = next(p for p in comparison.peers if p.name == name)
            seconds[name] += times * float(np.median(getattr(found, key)))
    reference, ours = seconds.values()
    return reference / ours


def report(comparisons: list[Comparison], profiles: dict[str, str]) -> str:
    """The results as Markdown."""
    here, made = machine(), versions()
    lines = [
        "# Steps of adaptation and training",
        "",
        f"`python benchmarks/adapt_step.py`, commit {made.get('commit')}, torch {torch.__version__}, "
        f"{here['processor']}, {torch.get_num_threads()} thread(s), load {here['load_1min']}. Net: {SIZES}, "
        f"batch {BATCH}. Medians of interleaved repeats; `CPU` is the ratio of the CPU seconds.",
        "",
        "| goal | wanted | ratio | CPU | |",
        "| --- | --- | --- | --- | --- |",
    ]

    def row(name: str, goal: float, ratio: float, cpu: float) -> str:
        return f"| {name} | {goal:g} x | {ratio:.2f} | {cpu:.2f} | {'met' if cpu >= goal else 'missed'} |"

    for comparison in comparisons:
        if comparison.name.startswith("adaptation"):
            for peer in comparison.peers[1:]:
                f = peer.summary(comparison.work)
                goal = 4 if "float32" in peer.name else 12
                name = f"{comparison.name}: {peer.name}"
                lines.append(row(name, goal, f["ratio_median"], f["cpu_ratio_median"]))
    game = [c for c in comparisons if c.name.startswith("training") and c.name.endswith("cpu")]
    if len(game) == 2:
        for peer in ("flexpose, float32", "flexpose, bfloat16"):
            figures = lazy(game, peer, "seconds"), lazy(game, peer, "cpu_seconds")
            lines.append(row(f"training, R1 every 16 steps: {peer}", 8, *figures))
    for comparison in comparisons:
        lines += [
            "",
            f"## {comparison.name}",
            "",
            "| | ms a step | fastest | ratio | CPU ratio | CPU share |",
        ]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        for peer in comparison.peers:
            f = peer.summary(comparison.work)
            lines.append(
                f"| {peer.name} | {f['seconds_median'] * 1e3:.0f} | {f['seconds_min'] * 1e3:.0f} | "
                f"{f['ratio_median']:.2f} | {f['cpu_ratio_median']:.2f} | {f['cpu_share']:.2f} |"
            )
    lines += ["", WHY]
    for name, table in profiles.items():
        lines += ["", f"## Profile: {name}", "", table]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats of each peer")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--only", choices=["adaptation", "training"], help="one part; nothing is written")
    parser.add_argument("--no-write", action="store_true", help="only print")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    suite = Suite("adapt_step", options.repeats)
    profiles: dict[str, str] = {}
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda", 0))
    else:
        print("torch sees no GPU: its part is left out")
    for device in devices:
        synchronize = torch.cuda.synchronize if device.type == "cuda" else None
        if options.only != "training":
            for layer in (9, 5):
                peers = adaptation(suite, layer, device, synchronize)
                if device.type == "cpu" and layer == 9:
                    for name in ("flexpose, float32, cached", "flexpose, bfloat16, cached"):
                        profiles[name] = table_of(peers[name])
        if options.only != "adaptation":
            training(suite, device, synchronize, max(1, options.repeats // 2))
    text = report(suite.comparisons, profiles)
    print(text)
    if not (options.no_write or options.only):
        suite.write()
        atomic_write(RESULTS / "adapt_step.md", text.encode())


if __name__ == "__main__":
    main()
