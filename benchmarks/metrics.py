"""Metrics against what a user would write with numpy, scipy or torch.

    python benchmarks/metrics.py [--full]

Everything runs on one thread but the rows that say otherwise. `--full` adds MMD2 of 50,000 x 100,000 poses.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy loads its BLAS

import numpy as np
import scipy.linalg
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from flexpose._cpus import allowed_threads
from flexpose.metrics import MMDReference, frechet_distance, mmd2, pck, precision_recall
from harness import Suite, arguments

if TYPE_CHECKING:
    from collections.abc import Callable

D = 26  # body13
BANDWIDTH = 1.5


def sets(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Generated and target rows, correlated as poses are, in frame coordinates."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((D, D)) * 0.08
    a, b = rng.standard_normal((n, D)) @ mix + 0.05, rng.standard_normal((m, D)) @ mix
    return a.astype(np.float32), b.astype(np.float32)


def close(tolerance: float) -> Callable[[object, object], None]:
    def check(found: object, wanted: object) -> None:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)

    return check


def mmd2_torch(a: np.ndarray, b: np.ndarray, chunk: int = 500) -> float:
    """The usual chunked form, with symmetry used."""
    x, y = torch.from_numpy(a), torch.from_numpy(b)

    def mean(p: torch.Tensor, q: torch.Tensor) -> float:
        squares = (q * q).sum(1)
        total = 0.0
        for start in range(0, len(p), chunk):
            part = p[start : start + chunk]
            first = start if p is q else 0
            d2 = (part * part).sum(1, keepdim=True) + squares[first:] - 2 * part @ q[first:].T
            kernel = torch.exp(-d2 / (2 * BANDWIDTH**2))
            if p is q:
                square = kernel[:, : len(part)]
                total += float(2 * kernel[:, len(part) :].sum(dtype=torch.float64))
                total += float(square.sum(dtype=torch.float64) - square.diagonal().sum(dtype=torch.float64))
            else:
                total += float(kernel.sum(dtype=torch.float64))
        return total / (len(p) * (len(p) - 1) if p is q else len(p) * len(q))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def mmd2_scipy(a: np.ndarray, b: np.ndarray, chunk: int = 500) -> float:
    def mean(p: np.ndarray, q: np.ndarray) -> float:
        total = sum(
            np.exp(-cdist(p[start : start + chunk], q, "sqeuclidean") / (2 * BANDWIDTH**2)).sum()
            for start in range(0, len(p), chunk)
        )
        return (total - len(p)) / (len(p) * (len(p) - 1)) if p is q else total / (len(p) * len(q))

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


def frechet_scipy(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(0) - b.mean(0)
    root = np.real(scipy.linalg.sqrtm(cov_a @ cov_b))
    return float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root))


def precision_recall_tree(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[float, float]:
    def radii(rows: np.ndarray) -> np.ndarray:
        return cKDTree(rows).query(rows, k + 1)[0][:, -1]

    between = cdist(real, fake)
    inside = between <= radii(real)[:, None]
    return float(inside.any(0).mean()), float((between <= radii(fake)).any(1).mean())


def precision_recall_cdist(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[float, float]:
    def radii(rows: np.ndarray) -> np.ndarray:
        return np.sort(cdist(rows, rows), axis=1)[:, k]

    between = cdist(real, fake)
    inside = between <= radii(real)[:, None]
    return float(inside.any(0).mean()), float((between <= radii(fake)).any(1).mean())


def pck_numpy(pred: np.ndarray, truth: np.ndarray, visibility: np.ndarray, lengths: np.ndarray) -> float:
    errors = np.linalg.norm(pred - truth, axis=2) / lengths[:, None]
    return float((errors[visibility > 0] <= 0.1).mean())


def main() -> None:
    args = arguments(__doc__, repeats=5)
    torch.set_num_threads(1)
    suite = Suite("metrics", args.repeats)
    cores = allowed_threads()

    n, m = 2000, 8000
    a, b = sets(n, m)
    pairs = n * m + n * n / 2 + m * m / 2
    suite.compare(
        f"unbiased MMD2, {n:,} x {m:,} x {D}",
        {
            "torch float32, chunks of 500 rows": lambda: mmd2_torch(a, b),
            "scipy cdist and np.exp, float64": lambda: mmd2_scipy(a, b),
            "flexpose, 1 thread": lambda: mmd2(a, b, BANDWIDTH, threads=1),
            f"flexpose, {cores} threads": lambda: mmd2(a, b, BANDWIDTH, threads=cores),
        },
        work=pairs,
        unit="pairs",
        equal=close(1e-6),
    )

    big_a, big_b = sets(50_000, 100_000)
    suite.compare(
        f"Frechet distance, 50,000 and 100,000 x {D}",
        {
            "np.cov and scipy.linalg.sqrtm": lambda: frechet_scipy(big_a, big_b),
            "flexpose": lambda: frechet_distance(big_a, big_b),
        },
        work=150_000,
        unit="rows",
        equal=close(1e-9),
    )

    fake, real = (rows[:3000].astype(np.float64) for rows in sets(3000, 3000))
    suite.compare(
        f"precision and recall, 3,000 x 3,000 x {D}, k = 5",
        {
            "scipy cdist and np.sort": lambda: precision_recall_cdist(real, fake),
            "scipy cKDTree for the radii": lambda: precision_recall_tree(real, fake),
            "flexpose": lambda: precision_recall(real, fake),
        },
        work=1,
        unit="runs",
        equal=close(1e-9),
    )

    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 200, (50_000, 17, 2))
    pred = truth + rng.normal(0, 5, truth.shape)
    visibility = rng.integers(0, 3, truth.shape[:2])
    lengths = rng.uniform(30, 60, len(truth))
    suite.compare(
        "PCK, 50,000 x 17",
        {
            "numpy in two lines, nothing checked": lambda: pck_numpy(pred, truth, visibility, lengths),
            "flexpose": lambda: pck(pred, truth, visibility, rho=0.1, norm=lengths),
        },
        work=len(truth),
        unit="poses",
        equal=close(1e-12),
    )

    if args.full:
        for threads in sorted({1, cores}):
            reference = MMDReference(big_b, BANDWIDTH, threads=threads)

            def whole(threads: int = threads) -> float:
                return mmd2(big_a, big_b, BANDWIDTH, threads=threads)

            def kept(reference: MMDReference = reference) -> float:
                return reference.mmd2(big_a)

            suite.compare(
                f"unbiased MMD2, 50,000 x 100,000 x {D}, {threads} threads",
                {"flexpose, all sums": whole, "flexpose, the target's own sum kept": kept},
                work=11.25e9,
                unit="pairs",
                equal=close(0),
                repeats=min(args.repeats, 3),
            )
    if not args.no_write:
        suite.write()


if __name__ == "__main__":
    main()
