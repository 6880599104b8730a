"""The columns of the report: what each metric is called, printed as, and where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A column of the report.

    Attributes:
        key: its name in JSON.
        title: its name in tables, with the unit.
        better: which way is better; `real` where the real target's own value is the aim.
        text: what it is, in a line, with its source.
        digits: decimals printed.
        factor: the value times this is printed, e.g. 100 for percent.
    """

    key: str
    title: str
    better: Literal["lower", "higher", "real"]
    text: str
    digits: int = 3
    factor: float = 1.0

    @property
    def aim(self) -> str:
        """Which way is better, in words."""
        if self.better == "real":
            return "the nearer to the real poses' value the better"
        return f"{self.better} is better"


_DEGREES = 180.0 / math.pi

METRICS: tuple[Metric, ...] = (
    Metric(
        "fd",
        "FD",
        "lower",
        "Frechet distance of the coordinates, in squared half frame sides "
        "(Heusel et al. 2017, arXiv:1706.08500).",
        digits=4,
    ),
    Metric(
        "mmd2",
        "MMD2",
        "lower",
        "unbiased squared maximum mean discrepancy with the Gaussian kernel; chance can make it negative "
        "(Gretton et al. 2012, JMLR 13).",
        digits=4,
    ),
    Metric(
        "mmd2_scales", "MMD2, scales", "lower", "mean of MMD2 over the multiples of the bandwidth.", digits=4
    ),
    Metric(
        "precision",
        "P",
        "higher",
        "precision: share of poses inside the k-NN balls of real poses "
        "(Kynkaanniemi et al. 2019, arXiv:1904.06991).",
    ),
    Metric(
        "recall", "R", "higher", "recall: share of real poses inside the k-NN balls of the set (same source)."
    ),
    Metric(
        "density",
        "density",
        "real",
        "mean number of real balls that hold a pose, over k (Naeem et al. 2020, arXiv:2002.09797).",
    ),
    Metric("coverage", "coverage", "higher", "share of real balls that hold a pose (same source)."),
    Metric(
        "bone_ratio_w1",
        "bone ratio W1, %",
        "lower",
        "mean Wasserstein-1 distance of the bones' shares of the summed bone length, in percent of that sum.",
        factor=100.0,
    ),
    Metric(
        "joint_angle_w1",
        "angle W1, deg",
        "lower",
        "mean circular Wasserstein-1 distance of the angles between adjacent bones (in JSON: radians).",
        digits=2,
        factor=_DEGREES,
    ),
    Metric(
        "orientation_w1",
        "trunk W1, deg",
        "lower",
        "circular Wasserstein-1 distance of the trunk's direction in the picture (in JSON: radians).",
        digits=2,
        factor=_DEGREES,
    ),
    Metric(
        "implausible",
        "implausible, %",
        "real",
        "share of poses with a bone ratio or joint angle outside the widened quantiles of real poses.",
        digits=2,
        factor=100.0,
    ),
    Metric(
        "nearest_shot",
        "nearest shot",
        "real",
        "median distance to the nearest guide pose: root mean square over the joints, in half frame sides.",
    ),
    Metric(
        "copies",
        "copies, %",
        "real",
        "share of poses nearer to a guide pose than all but a small quantile of real poses are.",
        digits=2,
        factor=100.0,
    ),
)
"""The columns in their order."""
