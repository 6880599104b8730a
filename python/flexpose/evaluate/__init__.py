"""Judging generated poses: metrics, the ways of not learning beside them, and the report."""

from .baselines import (
    BASELINES,
    Baseline,
    Sampler,
    gaussian_on_shots,
    kernel_density,
    ot_affine,
    pose_mixup,
    source_as_it_is,
    source_residuals,
)
from .columns import METRICS, Metric
from .config import EvaluateConfig
from .report import EvaluationReport, ReportRow, RowKind, Value
from .run import evaluate

__all__ = [
    "BASELINES",
    "METRICS",
    "Baseline",
    "EvaluateConfig",
    "EvaluationReport",
    "Metric",
    "ReportRow",
    "RowKind",
    "Sampler",
    "Value",
    "evaluate",
    "gaussian_on_shots",
    "kernel_density",
    "ot_affine",
    "pose_mixup",
    "source_as_it_is",
    "source_residuals",
]
