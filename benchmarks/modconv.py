"""The generator's forward pass and the modulated convolution, against the form that makes a weight for each sample.

    python benchmarks/modconv.py [--repeats N] [--no-write] [--full]

The yardstick is StyleGAN2's own form in plain torch, `modulated_conv2d_ref`, in float32. Before anything is timed, the
peers' pictures are held against those of the yardstick in float64: float32 must agree to 1e-5 of the largest value, and
bfloat16 must be at most twice as far off as the yardstick in bfloat16. A GPU is measured as well where torch sees one.

On one thread the ratio of CPU seconds is what the code does; the clock also shows what else the machine did.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; --threads changes it

import argparse
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

from flexpose._atomic import atomic_write
from flexpose.models import Generator
from flexpose.ops import choice, modulated_conv2d_ref, upfirdn2d_ref
from flexpose.runs import versions
from harness import RESULTS, Comparison, Suite, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

SIZES = {"size_px": 64, "channel_base": 8192, "channel_max": 128}

WHY = """## What bounds it

The plain sums of 16 pictures are 32.6 GFLOP. oneDNN's bfloat16 convolutions reach 234 GFLOP/s on one Zen 4
core (float32: 115; no matrix tiles), so that they alone would take 139 ms, 6.7 x the reference at its 0.92
s, with everything else free. Minimal filtering takes 2.25 x fewer products from the 3x3 layers; the
upsampling layers (about 35 ms) stay with oneDNN, because the filter folded into their kernels costs more
products in bfloat16 than it saves. The goal of 8 x was set on a processor with matrix tiles, where bfloat16
is 6 to 10 x as fast as float32, and not 2 x as here. A way that was weighed and left: tiles of 2x4 outputs,
a quarter fewer products, at 1.7 x the rounding error (simulated, unit normal numbers).

Much of the reference's time is memory that the system hands out anew: with glibc told to keep it (mallopt
of the map and trim thresholds to 1 GiB, a separate run) the reference takes 0.54 s instead of 0.93 s,
flexpose the same as before, and the ratios become 3.5 x in bfloat16 and 2.3 x in float32.

torch.compile of the reference, layer by layer: `flexpose doctor --tune`, bfloat16, batch 8, 128 channels, one thread,
the fastest of five, in ms. It takes 39 s to compile the nine, and wins by 7% at one of them; with the table made,
`auto` takes it there.

| layer | reference | torch.compile of it | flexpose | compile / flexpose |
| --- | --- | --- | --- | --- |
| 4 px | 0.39 | 0.41 | 0.32 | 1.28 |
| 4 to 8 px | 0.71 | 0.65 | 0.57 | 1.14 |
| 8 px | 0.93 | 0.86 | 0.49 | 1.76 |
| 8 to 16 px | 1.81 | 1.40 | 1.34 | 1.04 |
| 16 px | 3.28 | 2.97 | 1.58 | 1.88 |
| 16 to 32 px | 6.65 | 4.75 | 5.09 | 0.93 |
| 32 px | 13.61 | 12.07 | 6.19 | 1.95 |
| 32 to 64 px | 28.12 | 17.49 | 17.71 | 0.99 |
| 64 px | 53.89 | 44.71 | 24.36 | 1.84 |"""


def generator(device: torch.device) -> Generator:
    """The net of the goals, untrained, with noise and bias that are not zero."""
    torch.manual_seed(0)
    made = Generator(**SIZES).requires_grad_(False).eval()
    for name, parameter in made.named_parameters():
        if name.endswith(("noise_strength", "bias")):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.to(device)


def by_reference(made: Generator, styles: Sequence[Tensor], dtype: torch.dtype, start: Any = None) -> Tensor:
    """The synthesis network over `modulated_conv2d_ref`: a weight for each sample, all of it in `dtype`."""
    net = made.synthesis
    first, x, image = start or (1, None, None)
    if x is None:
        x = net.const.to(dtype).expand(len(styles[0]), -1, -1, -1)
    for number in range(first, net.num_layers + 1):
        layer: Any = net.layers[number - 1]
        x = modulated_conv2d_ref(
            x,
            (layer.weight * layer.weight_gain).to(dtype),
            styles[number - 1].to(dtype),
            up=layer.up,
            noise=(layer.noise_const * layer.noise_strength).to(dtype),
            bias=layer.bias.to(dtype),
        )
        if number % 2:
            continue
        color: Any = net.to_rgb[number // 2 - 1]
        rgb = modulated_conv2d_ref(
            x,
            (color.weight * color.weight_gain).to(dtype),
            styles[net.num_layers + number // 2 - 1].to(dtype),
            demodulate=False,
            bias=color.bias.to(dtype),
            activation="linear",
        )
        rgb = rgb.to(torch.promote_types(dtype, torch.float32))
        image = rgb if image is None else upfirdn2d_ref(image, up=2, padding=(2, 1)) + rgb
    assert image is not None
    return image


def error(found: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference, over that of the truth."""
    return float((found.double() - truth).norm() / truth.norm())


def forward_peers(
    made: Generator, styles: list[Tensor]
) -> tuple[dict[str, Callable[[], Tensor]], Any, dict[str, float]]:
    """The peers, how they are compared, and their errors against float64."""
    wide = Generator(**SIZES).double().requires_grad_(False).to(styles[0].device)
    wide.load_state_dict({name: value.double() for name, value in made.state_dict().items()})
    truth = by_reference(wide, [s.double() for s in styles], torch.float64)
    peers: dict[str, Callable[[], Tensor]] = {
        "reference, float32": lambda: by_reference(made, styles, torch.float32),
        "reference, bfloat16": lambda: by_reference(made, styles, torch.bfloat16),
        "flexpose, float32": lambda: made.synthesize(styles),
        "flexpose, bfloat16": lambda: made.synthesize(styles, dtype=torch.bfloat16),
    }
    errors = {name: error(run(), truth) for name, run in peers.items()}
    limits = {"flexpose, bfloat16": 2 * errors["reference, bfloat16"]}
    for name, found in errors.items():
        limit = limits.get(name, 1e-5 if "32" in name else 0.1)
        if found > limit:
            raise AssertionError(f"{name}: error {found:.2e}, allowed {limit:.2e}")
    largest = truth.abs().max()

    def equal(found: Tensor, wanted: Tensor) -> None:
        if found.dtype == wanted.dtype:
            off = float((found.double() - truth).abs().max() / largest)
            assert off < 0.2, f"{off:.2e} of the largest value"

    off = float((peers["flexpose, float32"]().double() - truth).abs().max() / largest)
    assert off < 1e-5, f"float32 is {off:.2e} of the largest value off"
    errors["flexpose, float32, largest"] = off
    return peers, equal, errors


def table_of(run: Callable[[], Any], rows: int = 12) -> str:
    """Where the time goes, by torch's profiler: operators and shapes."""
    run()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        run()
    events = sorted(found.key_averages(group_by_input_shape=True), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    lines = ["| operator | shapes | calls | ms | share |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {e.key} | {[s for s in e.input_shapes if s][:2]} | {e.count} | {e.self_cpu_time_total / 1e3:.1f} | "
        f"{e.self_cpu_time_total / total:.0%} |"
        for e in events[:rows]
    ]
    return "\n".join(lines)


def compare_batches(suite: Suite, made: Generator, batches: Sequence[int]) -> None:
    """Images a second of ours at several batch sizes, to show that it does not fall."""
    peers = {}
    for n in batches:
        styles = made.styles(made.map(torch.randn(n, made.config.z_dim)))
        peers[f"batch {n}"] = lambda styles=styles, n=n: [
            made.synthesize(styles, dtype=torch.bfloat16) for _ in range(max(batches) // n)
        ]
    suite.compare(
        "bfloat16, the same images in batches", peers, work=max(batches), unit="images", equal=lambda *_: None
    )


def compare_compiled(suite: Suite, device: torch.device, synchronize: Any) -> None:
    """One layer on each back end that can run here; torch.compile compiles first."""
    torch.manual_seed(0)
    n, c, side = 16, 128, 32
    dtype = torch.bfloat16
    x = torch.randn(n, c, side, side, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    weight, styles = torch.randn(c, c, 3, 3, device=device), torch.randn(n, c, device=device)
    peers: dict[str, Callable[[], Tensor]] = {
        "reference form": lambda: modulated_conv2d_ref(x, weight.to(dtype), styles.to(dtype))
    }
    for name, candidate in choice.candidates().items():
        if candidate.available and choice.runnable(name, x, weight, 1):
            run = choice.runner(name)
            peers[name] = lambda run=run: run(x, weight, styles, None, None, True, 1, True, 2.0**0.5, None)
        else:
            print(f"{name} is left out: {candidate.reason}")

    def equal(found: Tensor, wanted: Tensor) -> None:
        torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1)

    name = f"one layer, {c} channels, {side} px, batch {n}, bfloat16, {device.type}"
    suite.compare(name, peers, work=n, unit="images", equal=equal, synchronize=synchronize)


def report(comparisons: list[Comparison], errors: dict[str, float], profiles: dict[str, str]) -> str:
    """The results as Markdown."""
    here, made = machine(), versions()
    lines = [
        "# The modulated convolution and the generator",
        "",
        f"`python benchmarks/modconv.py`, commit {made.get('commit')}, torch {torch.__version__}, {here['processor']}, "
        f"{torch.get_num_threads()} thread(s), load {here['load_1min']}. Net: {SIZES}. Medians of interleaved repeats; "
        "`CPU` is the ratio of the CPU seconds, which others on the machine disturb less.",
        "",
        "| goal | wanted | ratio | CPU | |",
        "| --- | --- | --- | --- | --- |",
    ]
    found = {(c.name, p.name): p.summary(c.work) for c in comparisons for p in c.peers}
    for peer, goal in (("flexpose, bfloat16", 8), ("flexpose, float32", 2)):
        figures = next(
            (f for (c, p), f in found.items() if p == peer and c.startswith("forward, batch 16")), None
        )
        if figures is not None:
            ratio, cpu = figures["ratio_median"], figures["cpu_ratio_median"]
            lines.append(
                f"| forward, {peer} | {goal} x | {ratio:.2f} | {cpu:.2f} | {'met' if cpu >= goal else 'missed'} |"
            )
    twice = errors["flexpose, bfloat16"] / errors["reference, bfloat16"]
    lines += [
        f"| bfloat16's error over plain torch's | 2 x at most | {twice:.2f} | | {'met' if twice <= 2 else 'missed'} |",
        "",
        "Errors against float64: " + ", ".join(f"{name} {value:.2e}" for name, value in errors.items()) + ".",
    ]
    for comparison in comparisons:
        lines += [
            "",
            f"## {comparison.name}",
            "",
            "| | ms an image | fastest | ratio | CPU ratio | CPU share |",
        ]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        for peer in comparison.peers:
            f = peer.summary(comparison.work)
            lines.append(
                f"| {peer.name} | {f['seconds_median'] / comparison.work * 1e3:.2f} | "
                f"{f['seconds_min'] / comparison.work * 1e3:.2f} | {f['ratio_median']:.2f} | "
                f"{f['cpu_ratio_median']:.2f} | {f['cpu_share']:.2f} |"
            )
    lines += ["", WHY]
    for name, table in profiles.items():
        lines += ["", f"## Profile: {name}", "", table]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats of each peer")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--compile", action="store_true", help="also torch.compile, which takes a minute first"
    )
    parser.add_argument("--no-write", action="store_true", help="only print")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    suite = Suite("modconv", options.repeats)
    profiles = {}
    errors: dict[str, float] = {}
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda", 0))
    else:
        print("torch sees no GPU: its part is left out")
    for device in devices:
        synchronize = torch.cuda.synchronize if device.type == "cuda" else None
        made = generator(device)
        batch = 16 if device.type == "cpu" else 128
        styles = made.styles(made.map(torch.randn(batch, made.config.z_dim, device=device)))
        peers, equal, found = forward_peers(made, styles)
        errors = errors or found
        name = f"forward, batch {batch}, {device.type}"
        suite.compare(name, peers, work=batch, unit="images", equal=equal, synchronize=synchronize)
        if device.type == "cpu":
            for peer in ("reference, float32", "flexpose, float32", "flexpose, bfloat16"):
                profiles[f"{peer}, batch {batch}"] = table_of(peers[peer])
            compare_batches(suite, made, (1, 4, 16, 32))
        if options.compile or device.type == "cuda":
            compare_compiled(suite, device, synchronize)
    text = report(suite.comparisons, errors, profiles)
    print(text)
    if not options.no_write:
        suite.write()
        atomic_write(RESULTS / "modconv.md", text.encode())


if __name__ == "__main__":
    main()
