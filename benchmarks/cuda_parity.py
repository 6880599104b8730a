"""The kernels on a card: are they right, do the sanitizers find anything, and what do they cost.

    python benchmarks/cuda_parity.py [--px 64 128 256] [--batch N] [--repeats N] [--no-compile] [--no-sanitizer]

1. Parity: relative errors against the reference in float64, forward and both gradients, for every type. A larger error
   than the promise ends the run with 1.
2. compute-sanitizer (memcheck, racecheck, initcheck) over the parity run on small shapes, where it is installed; the
   number of reports must be 0.
3. Timings in bfloat16: every layer of the synthesis network, forward alone, and with the gradients that adaptation
   needs (for the input and the styles). Peers: the reference as it is defined (a weight for every sample), plain torch
   with one shared weight, torch.compile of the latter. Each call is captured in a CUDA graph where that works; repeats
   are interleaved. The floor of a layer is the larger of its multiplications over the card's rate and its bytes, read
   and written once, over the card's bandwidth; both ceilings are measured in the same run.

Without a card it says so and ends with 5. Writes benchmarks/results/cuda_parity.json and .md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from flexpose import cuda
from flexpose._atomic import atomic_write
from flexpose.errors import DeviceError
from flexpose.ops import modulated_conv2d_ref, upfirdn2d
from flexpose.runs import versions
from harness import RESULTS, machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

DEVICE = "cuda"
PROMISE = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
BASE, MOST_CHANNELS = 16384, 512
OURS, REFERENCE, SHARED, COMPILED = "flexpose.cuda", "reference", "shared weight", "torch.compile"
GOALS = {REFERENCE: 3.0, COMPILED: 1.3}
FLOOR_GOAL = 0.4


@dataclass(frozen=True)
class Layer:
    """One modulated convolution: input side, channels, kernel, upsampling; with everything that can follow it."""

    side: int
    inner: int
    outer: int
    kernel: int
    up: int

    def __str__(self) -> str:
        return f"{self.side} px, {self.inner} to {self.outer}, {self.kernel} x {self.kernel}, up {self.up}"

    def operations(self, batch: int) -> float:
        """Multiplications and additions of the convolution, which no form can avoid."""
        return 2.0 * batch * self.side**2 * self.inner * self.outer * self.kernel**2

    def bytes(self, batch: int) -> float:
        """What has to move in 16 bits: the input once, the weight once, the output once."""
        pictures = batch * self.side**2 * (self.inner + self.outer * self.up**2)
        return 2.0 * (pictures + self.inner * self.outer * self.kernel**2)


def network(px: int) -> list[Layer]:
    """The layers of a synthesis network."""
    layers, before = [], 0
    for log in range(2, int(math.log2(px)) + 1):
        side, channels = 2**log, min(BASE // 2**log, MOST_CHANNELS)
        if before:
            layers.append(Layer(side // 2, before, channels, 3, 2))
        layers += [Layer(side, channels, channels, 3, 1), Layer(side, channels, 3, 1, 1)]
        before = channels
    return layers


def inputs(layer: Layer, batch: int, dtype: torch.dtype, seed: int = 0) -> dict[str, Any]:
    """Random arguments of a layer."""
    random = torch.Generator(DEVICE).manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, device=DEVICE, dtype=wide)

    weight = draw(layer.outer, layer.inner, layer.kernel, layer.kernel)
    side = layer.side * layer.up
    return {
        "x": draw(batch, layer.inner, layer.side, layer.side).to(dtype, memory_format=torch.channels_last),
        "weight": (weight / (layer.inner * layer.kernel**2) ** 0.5).to(dtype),
        "styles": 1 + draw(batch, layer.inner),
        "noise": 0.1 * draw(side, side),
        "bias": draw(layer.outer),
        "demodulate": layer.kernel == 3,
        "up": layer.up,
        "activation": "lrelu" if layer.kernel == 3 else "linear",
        "clamp": 256.0,
    }


def relative(found: Tensor, truth: Tensor) -> float:
    """Frobenius norm of the difference over that of the truth."""
    return ((found.double() - truth).norm() / truth.norm()).item()


def parity(small: bool) -> list[dict[str, Any]]:
    """Errors of every type on layers of every kind.

    The gradient jumps at zero; the truth takes the side that the rounded result is on.
    """
    layers = [Layer(5, 12, 7, 3, 1), Layer(7, 24, 40, 3, 2), Layer(9, 16, 3, 1, 1), Layer(6, 8, 72, 1, 2)]
    if not small:
        layers += [Layer(16, 256, 256, 3, 1), Layer(33, 128, 136, 3, 2), Layer(64, 128, 128, 3, 1)]
    rows = []
    for layer in layers:
        for name, promise in PROMISE.items():
            args = inputs(layer, 3, getattr(torch, name))
            y = cuda.modulated_conv2d(**args)
            grad = torch.randn_like(y)
            rest = {key: args[key] for key in ("noise", "bias", "demodulate", "up", "activation", "clamp")}
            of_x, of_styles = cuda.modulated_conv2d_backward(
                grad, args["x"], args["weight"], args["styles"], y, **rest
            )
            wide = {key: value.double() if torch.is_tensor(value) else value for key, value in args.items()}
            truth = modulated_conv2d_ref(**wide)
            x, styles = wide["x"].requires_grad_(), wide["styles"].requires_grad_()
            linear = modulated_conv2d_ref(
                x, wide["weight"], styles, demodulate=args["demodulate"], up=args["up"], activation="linear"
            )
            slope = torch.ones_like(linear)
            if args["activation"] == "lrelu":
                slope = torch.where(y > 0, 1.0, 0.2 * slope) * 2.0**0.5
            true_x, true_styles = torch.autograd.grad(linear, (x, styles), grad.double() * slope)
            errors = [relative(y, truth), relative(of_x, true_x), relative(of_styles, true_styles)]
            rows.append(
                {
                    "layer": str(layer),
                    "dtype": name,
                    "errors": errors,
                    "promise": promise,
                    "kept": all(error <= promise * (3 if i == 2 else 1) for i, error in enumerate(errors)),
                }
            )
    return rows


def sanitize() -> dict[str, str]:
    """What each tool of compute-sanitizer reports on a small parity run."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {}
    found = {}
    for tool in ("memcheck", "racecheck", "initcheck"):
        # Without torch's pool every tensor is an allocation of its own, and a step out of it is seen.
        done = subprocess.run(
            [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__, "--parity-only"],
            env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        summary = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY.*)", done.stdout + done.stderr)
        found[tool] = summary[-1] if summary else f"no summary; it ended with {done.returncode}"
        if done.returncode:
            found[tool] += f" (ended with {done.returncode})"
    return found


def shared_weight(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor,
    bias: Tensor,
    demodulate: bool,
    up: int,
    activation: str,
    clamp: float,
) -> Tensor:
    """Plain torch with one weight for the batch: the best form that needs no kernel of one's own."""
    n, i = styles.shape
    y = x * styles.to(x.dtype).reshape(n, i, 1, 1)
    pad = weight.shape[2] // 2
    if up == 1:
        y = F.conv2d(y, weight, padding=pad)
    else:
        y = upfirdn2d(4 * F.conv_transpose2d(y, weight.transpose(0, 1), stride=2), padding=(1, 1))
    if demodulate:
        energy = weight.to(styles.dtype).square().sum((2, 3))
        y = y * (styles.square() @ energy.T + 1e-8).rsqrt().to(x.dtype).reshape(n, -1, 1, 1)
    y = y + noise.to(x.dtype) + bias.to(x.dtype)[:, None, None]
    if activation == "lrelu":
        y = F.leaky_relu(y, 0.2) * 2.0**0.5
    return y.clamp(-clamp, clamp)


def with_gradients(function: Callable[..., Tensor], args: dict[str, Any], grad: Tensor) -> Callable[[], Any]:
    """Forward, and backward for the input and the styles, through autograd."""
    x, styles = args["x"].detach().requires_grad_(), args["styles"].detach().requires_grad_()
    args = args | {"x": x, "styles": styles}
    return lambda: torch.autograd.grad(function(**args), (x, styles), grad)


def own_gradients(args: dict[str, Any], grad: Tensor) -> Callable[[], Any]:
    """The same by the kernels, the weight packed once as in a frozen network."""
    rest = {key: args[key] for key in ("noise", "bias", "demodulate", "up", "activation", "clamp")}
    packed = cuda.pack_weight(args["weight"], args["x"])

    def run() -> Any:
        y = cuda.modulated_conv2d(args["x"], packed, args["styles"], **rest)
        return cuda.modulated_conv2d_backward(grad, args["x"], packed, args["styles"], y, **rest)

    return run


def graphed(work: Callable[[], Any]) -> tuple[Callable[[], Any], bool]:
    """Warm the work up and capture it, where it can be captured; (what to run, whether it is a graph)."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:
        torch.cuda.synchronize()
        return work, False
    return graph.replay, True


def milliseconds(work: Callable[[], Any], calls: int) -> float:
    """Time of one call on the card."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(calls):
        work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / calls


def ceilings() -> tuple[float, float]:
    """(Operations a second of a large bfloat16 product, bytes a second of a large copy), both measured."""
    a, b = (torch.randn(8192, 8192, device=DEVICE).bfloat16() for _ in range(2))
    source = torch.empty(2**30, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    products = [milliseconds(lambda: a @ b, 10) for _ in range(6)][1:]
    copies = [milliseconds(lambda: target.copy_(source), 10) for _ in range(6)][1:]
    return 2 * 8192**3 / median(products) * 1e3, 2 * 2**30 / median(copies) * 1e3


def time_layer(
    layer: Layer, batch: int, repeats: int, compiled: Callable[..., Tensor] | None
) -> dict[str, Any]:
    """Median milliseconds of each peer, forward and with gradients; equality comes first."""
    args = inputs(layer, batch, torch.bfloat16)
    packed = args | {"weight": cuda.pack_weight(args["weight"], args["x"])}
    # The reference computes in one type.
    narrow = {
        key: value.to(torch.bfloat16) if torch.is_tensor(value) else value for key, value in args.items()
    }
    peers: dict[str, Callable[..., Tensor]] = {REFERENCE: modulated_conv2d_ref, SHARED: shared_weight}
    if compiled is not None:
        peers[COMPILED] = compiled
    expected = cuda.modulated_conv2d(**packed)
    grad = torch.randn_like(expected)
    forward: dict[str, Callable[[], Any]] = {OURS: lambda: cuda.modulated_conv2d(**packed)}
    both: dict[str, Callable[[], Any]] = {OURS: own_gradients(args, grad)}
    for name, function in peers.items():
        own = narrow if name == REFERENCE else args
        with torch.no_grad():
            error = relative(function(**own), expected.double())
        if error > 2 * PROMISE["bfloat16"]:
            raise SystemExit(f"{name} differs from the kernels by {error:.2g} on {layer}")
        forward[name] = torch.no_grad()(lambda function=function, own=own: function(**own))
        both[name] = with_gradients(function, own, grad)
    result: dict[str, Any] = {"layer": str(layer)}
    for kind, works in (("forward", forward), ("with gradients", both)):
        ready = {name: graphed(work) for name, work in works.items()}
        names, times = list(ready), {name: [] for name in ready}
        calls = max(1, round(2.0 / max(milliseconds(ready[OURS][0], 3), 1e-3)))
        for repeat in range(repeats):
            for step in range(len(names)):
                name = names[(repeat + step) % len(names)]
                times[name].append(milliseconds(ready[name][0], calls))
        result[kind] = {name: median(values) for name, values in times.items()}
        result[f"{kind}, no graph"] = [name for name, (_, is_graph) in ready.items() if not is_graph]
    return result


def timings(sizes: list[int], batch: int, repeats: int, with_compile: bool) -> dict[str, Any]:
    """All networks; a layer that several have is timed once."""
    rate, bandwidth = ceilings()
    compiled = torch.compile(shared_weight, dynamic=False) if with_compile else None
    if compiled is not None:
        torch._dynamo.config.recompile_limit = 256
    layers = {layer: None for px in sizes for layer in network(px)}
    rows = {}
    for layer in layers:
        row = time_layer(layer, batch, repeats, compiled)
        row["floor"] = max(layer.operations(batch) / rate, layer.bytes(batch) / bandwidth) * 1e3
        rows[layer] = row
        print(f"{layer}: {row['forward']}, floor {row['floor']:.4f} ms", flush=True)
        torch.cuda.empty_cache()
    totals = {}
    for px in sizes:
        own = [rows[layer] for layer in network(px)]
        totals[px] = {
            kind: {name: sum(row[kind][name] for row in own) for name in own[0][kind]}
            for kind in ("forward", "with gradients")
        } | {"floor": sum(row["floor"] for row in own)}
    return {
        "operations_per_second": rate,
        "bytes_per_second": bandwidth,
        "layers": list(rows.values()),
        "totals": totals,
    }


def markdown(result: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        "# The kernels on a card",
        "",
        f"`python benchmarks/cuda_parity.py`, {result['card']}, {result['versions']}.",
        "",
        "| layer | type | result | gradient of x | gradient of styles | promise |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['layer']} | {row['dtype']} | "
        + " | ".join(f"{e:.1e}" for e in row["errors"])
        + f" | {row['promise']:.1e} |"
        for row in result["parity"]
    ]
    lines += ["", *(f"- {tool}: {text}" for tool, text in result["sanitizer"].items())]
    timed = result["timings"]
    lines += [
        "",
        f"Ceilings of this card, measured: {timed['operations_per_second'] / 1e12:.0f} TFLOP/s (bfloat16 product), "
        f"{timed['bytes_per_second'] / 1e12:.2f} TB/s (copy).",
        f"Batch {result['batch']}, bfloat16, medians in milliseconds.",
        "",
    ]
    names = list(timed["layers"][0]["forward"])
    for kind in ("forward", "with gradients"):
        lines += [
            f"| {kind} | floor | " + " | ".join(names) + " | share of the floor |",
            "|---|---|" + "---|" * (len(names) + 1),
        ]
        rows = [(row["layer"], row["floor"], row[kind]) for row in timed["layers"]]
        rows += [
            (f"**network, {px} px**", total["floor"], total[kind]) for px, total in timed["totals"].items()
        ]
        for name, floor, times in rows:
            # Backward for the input is one more convolution of the same size.
            least = floor * (2 if kind == "with gradients" else 1)
            values = " | ".join(f"{times[peer]:.4f} ({times[peer] / times[OURS]:.2f} x)" for peer in names)
            lines.append(f"| {name} | {least:.4f} | {values} | {least / times[OURS]:.0%} |")
        lines.append("")
    goals = ", ".join(f"{factor} x {name}" for name, factor in GOALS.items())
    lines.append(f"Goals for the networks, forward: {FLOOR_GOAL:.0%} of the floor, {goals}.")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--px", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-sanitizer", action="store_true")
    parser.add_argument("--parity-only", action="store_true", help="small shapes, nothing timed or written")
    options = parser.parse_args()
    usable, reason = cuda.available()
    if not usable:
        print(f"cuda_parity: the kernels cannot run here: {reason}", file=sys.stderr)
        sys.exit(DeviceError.exit_code)
    rows = parity(small=options.parity_only)
    broken = [row for row in rows if not row["kept"]]
    for row in rows:
        print(row["layer"], row["dtype"], " ".join(f"{error:.1e}" for error in row["errors"]))
    if broken:
        sys.exit(f"cuda_parity: {len(broken)} of {len(rows)} comparisons are worse than promised")
    if options.parity_only:
        return
    result = {
        "card": torch.cuda.get_device_name(),
        "versions": {**versions(), "cuda": torch.version.cuda},
        "machine": machine(),
        "batch": options.batch,
        "parity": rows,
        "sanitizer": {} if options.no_sanitizer else sanitize(),
        "timings": timings(options.px, options.batch, options.repeats, not options.no_compile),
    }
    atomic_write(RESULTS / "cuda_parity.json", (json.dumps(result, indent=2) + "\n").encode())
    text = markdown(result)
    atomic_write(Path(RESULTS) / "cuda_parity.md", text.encode())
    print(text)
    if any("0 error" not in text and "0 hazards" not in text for text in result["sanitizer"].values()):
        sys.exit("cuda_parity: compute-sanitizer reports something")


if __name__ == "__main__":
    main()
