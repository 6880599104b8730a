"""How every benchmark here is measured and written down.

1. Equality first: each peer runs once, and its result must equal the yardstick's within the tolerance of the
   benchmark; a peer that does not is an error, not a number. That run is the warm-up as well.
2. Repeats are interleaved: the outer loop is the repeat, the inner one goes over the peers, each time starting with
   another one, so that a busy moment of the machine hits all alike.
3. Reported are minimum, median and 95th percentile of the seconds, and the ratio to the yardstick: the median of the
   quotients within each repeat. Ratios of one run can be compared with those of another; seconds cannot.
4. `cpu_share` is the process's CPU seconds over the seconds on the clock. Below 0.9 for work on one thread the
   machine was busy with something else, and the table says so. `cpu_ratio` is the ratio of the CPU seconds, which a
   busy machine disturbs less; for work on one thread it is the same thing as the ratio.

The results go to ``benchmarks/results/SUBJECT.json`` with the commit, the versions and the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from flexpose._atomic import atomic_write
from flexpose._cpus import allowed_threads
from flexpose.runs import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Comparison", "Peer", "Suite", "arguments", "machine"]

T = TypeVar("T")

RESULTS = Path(__file__).resolve().parent / "results"
_BUSY_BELOW = 0.9
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def machine() -> dict[str, Any]:
    """Processor, its vector units, cores that may be used, memory, thread variables and load."""
    name, flags, memory = platform.processor() or platform.machine(), "", None
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
            elif line.startswith("flags"):
                flags = line.split(":", 1)[1]
    if meminfo.exists():
        memory = round(int(meminfo.read_text(encoding="utf-8").split()[1]) / 2**20, 1)
    vector = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "processor": name,
        "vector_units": [unit for unit in vector if unit in flags.split()],
        "cores": allowed_threads(),
        "memory_gib": memory,
        "environment": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


@dataclass(frozen=True)
class Peer:
    """One way of doing the work.

    Attributes:
        name: as it is printed.
        seconds: of each repeat.
        cpu_seconds: of the whole process in each repeat.
        ratios: the yardstick's seconds over this peer's, in each repeat: above 1 is faster than the yardstick.
        cpu_ratios: the same of the CPU seconds: above 1 is less work than the yardstick's.
    """

    name: str
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    ratios: tuple[float, ...]
    cpu_ratios: tuple[float, ...]

    @property
    def cpu_share(self) -> float:
        """CPU seconds over seconds, over all repeats."""
        return sum(self.cpu_seconds) / sum(self.seconds)

    def summary(self, work: float) -> dict[str, Any]:
        """JSON-ready figures."""
        return {
            "name": self.name,
            "seconds_min": min(self.seconds),
            "seconds_median": float(np.median(self.seconds)),
            "seconds_p95": float(np.percentile(self.seconds, 95)),
            "rate_median": work / float(np.median(self.seconds)),
            "ratio_median": float(np.median(self.ratios)),
            "ratio_range": [min(self.ratios), max(self.ratios)],
            "cpu_ratio_median": float(np.median(self.cpu_ratios)),
            "cpu_share": self.cpu_share,
            "seconds": list(self.seconds),
            "cpu_seconds": list(self.cpu_seconds),
        }


@dataclass(frozen=True)
class Comparison:
    """All peers on one piece of work.

    Attributes:
        name: of the work.
        yardstick: name of the peer that the ratios refer to.
        work: units done in one run.
        unit: of the work.
        peers: in the order given.
    """

    name: str
    yardstick: str
    work: float
    unit: str
    peers: tuple[Peer, ...]

    def lines(self) -> list[str]:
        """The table of it."""
        head = f"{'peer':40s} {'median s':>10s} {'min s':>10s} {self.unit + '/s':>14s}"
        head += f" {'ratio':>7s} {'cpu ratio':>9s}  cpu"
        lines = [f"\n{self.name}  ({self.work:.4g} {self.unit}; ratio to {self.yardstick})", head]
        for peer in self.peers:
            figures = peer.summary(self.work)
            busy = "  machine busy" if peer.cpu_share < _BUSY_BELOW else ""
            lines.append(
                f"{peer.name:40s} {figures['seconds_median']:10.4f} {figures['seconds_min']:10.4f} "
                f"{figures['rate_median']:14.4g} {figures['ratio_median']:7.2f} {figures['cpu_ratio_median']:9.2f}  "
                f"{peer.cpu_share:.2f}{busy}"
            )
        return lines


@dataclass
class Suite:
    """The benchmarks of one subject.

    Attributes:
        subject: name of the file of results.
        repeats: of each peer.
        comparisons: what was measured so far.
    """

    subject: str
    repeats: int = 7
    comparisons: list[Comparison] = field(default_factory=list)

    def compare(
        self,
        name: str,
        peers: Mapping[str, Callable[[], T]],
        *,
        work: float,
        unit: str,
        equal: Callable[[T, T], None],
        yardstick: str | None = None,
        synchronize: Callable[[], None] | None = None,
        repeats: int | None = None,
    ) -> Comparison:
        """Check that all peers give the same, measure them side by side, print and keep the table.

        Args:
            name: of the work.
            peers: each does the whole work and returns its result.
            work: units that one run does.
            unit: of the work, in the plural.
            equal: raises if a peer's result (first) is not the yardstick's (second).
            yardstick: the peer that ratios refer to; None: the first.
            synchronize: called before each reading of the clock, e.g. torch.cuda.synchronize.
            repeats: instead of the suite's.
        """
        names = list(peers)
        reference = names[0] if yardstick is None else yardstick
        wanted = peers[reference]()
        for peer in names:
            try:
                equal(peers[peer](), wanted)
            except AssertionError as error:
                raise AssertionError(
                    f"{name}: {peer} does not give what {reference} gives: {error}"
                ) from error
        seconds: dict[str, list[float]] = {peer: [] for peer in names}
        processor: dict[str, list[float]] = {peer: [] for peer in names}
        for repeat in range(repeats or self.repeats):
            first = repeat % len(names)
            for peer in names[first:] + names[:first]:
                if synchronize is not None:
                    synchronize()
                clock, cpu = time.perf_counter(), time.process_time()
                peers[peer]()
                if synchronize is not None:
                    synchronize()
                seconds[peer].append(time.perf_counter() - clock)
                processor[peer].append(max(time.process_time() - cpu, 1e-9))
        measured = tuple(
            Peer(
                peer,
                tuple(seconds[peer]),
                tuple(processor[peer]),
                tuple(one / own for one, own in zip(seconds[reference], seconds[peer], strict=True)),
                tuple(one / own for one, own in zip(processor[reference], processor[peer], strict=True)),
            )
            for peer in names
        )
        comparison = Comparison(name, reference, work, unit, measured)
        self.comparisons.append(comparison)
        print("\n".join(comparison.lines()), flush=True)
        return comparison

    def write(self, folder: Path = RESULTS) -> Path:
        """Publish the results as ``SUBJECT.json`` and say where."""
        data = {
            "subject": self.subject,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "versions": versions(),
            "machine": machine(),
            "comparisons": [
                {
                    **{key: value for key, value in asdict(comparison).items() if key != "peers"},
                    "peers": [peer.summary(comparison.work) for peer in comparison.peers],
                }
                for comparison in self.comparisons
            ],
        }
        path = folder / f"{self.subject}.json"
        atomic_write(path, (json.dumps(data, indent=2) + "\n").encode())
        print(f"\nwritten: {path}")
        return path


def arguments(description: str | None, *, repeats: int = 7) -> argparse.Namespace:
    """The options that all benchmarks share: --repeats, --full (sizes that take minutes), --no-write."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=repeats, help="interleaved repeats of each peer")
    parser.add_argument("--full", action="store_true", help="also the sizes that take minutes")
    parser.add_argument("--no-write", action="store_true", help="only print")
    return parser.parse_args()
