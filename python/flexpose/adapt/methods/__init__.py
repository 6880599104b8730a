"""The compared methods of the paper and those that learn nothing, behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..._methods import METHOD_SUMMARIES
from ...config import make_config
from ...errors import UsageError
from ..config import ADAPT_PRESETS, AdaptConfig
from ..loop import adapt
from .adagan import ADAGAN_PRESETS, AdaGanConfig, AdaGanLearner
from .freezed import FREEZED_PRESETS, FreezeDConfig, FreezeDLearner
from .full_delta import FULL_DELTA_PRESETS, FullDeltaConfig, FullDeltaLearner
from .learner import Learner, MethodConfig, run_learner
from .lora import LORA_PRESETS, LoraConfig, LoraLearner
from .unlearned import BorrowConfig, KdeConfig, ResidualsConfig, UnlearnedConfig, UnlearnedLearner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike
    from pathlib import Path

    from ...poses import PoseSet
    from ...runs import Progress

__all__ = [
    "METHODS",
    "AdaGanConfig",
    "BorrowConfig",
    "FreezeDConfig",
    "FullDeltaConfig",
    "KdeConfig",
    "LoraConfig",
    "Method",
    "MethodConfig",
    "ResidualsConfig",
    "UnlearnedConfig",
    "adapt_by",
    "method_config",
]


@dataclass(frozen=True)
class Method:
    """A way to get at the target's poses.

    Attributes:
        summary: one line for the help.
        config: its settings, a dataclass; its defaults are those of the preset "tuned", except for affine-layers.
        presets: "aligned" has the paper's numbers, alike for all methods; "tuned" what suits the method.
        run: has the arguments of `flexpose.adapt.adapt`.
    """

    summary: str
    config: type[Any]
    presets: Mapping[str, Mapping[str, Any]]
    run: Callable[..., Path]


_PLAIN: dict[str, dict[str, Any]] = {"aligned": {}, "tuned": {}}  # nothing is trained
_PAPER = ADAPT_PRESETS["paper"]
_GRADIENT = {"start": "identity", "variation": 0.0, "flips": False, "mixed": 1000, "iterations": 1000}


def _by(make: Callable[..., Learner], name: str) -> Callable[..., Path]:
    return partial(run_learner, name, make)


def _methods() -> dict[str, Method]:
    parts: dict[str, tuple[type[Any], Mapping[str, Mapping[str, Any]], Callable[..., Path]]] = {
        "flexpose": (AdaptConfig, {**ADAPT_PRESETS, "aligned": _PAPER, "tuned": {}}, adapt),
        "affine-layers": (AdaptConfig, {"aligned": {**_PAPER, "layers": ()}, "tuned": _GRADIENT}, adapt),
        "lora": (LoraConfig, LORA_PRESETS, _by(LoraLearner, "lora")),
        "full-delta": (FullDeltaConfig, FULL_DELTA_PRESETS, _by(FullDeltaLearner, "full-delta")),
        "freezed": (FreezeDConfig, FREEZED_PRESETS, _by(FreezeDLearner, "freezed")),
        "adagan": (AdaGanConfig, ADAGAN_PRESETS, _by(AdaGanLearner, "adagan")),
        "none": (MethodConfig, _PLAIN, _by(Learner, "none")),
    }
    settings: dict[str, type[Any]] = {
        "kde": KdeConfig,
        "ot-affine": BorrowConfig,
        "residuals": ResidualsConfig,
    }
    for name in ("mixup", "gaussian", "kde", "ot-affine", "residuals"):
        run = _by(partial(UnlearnedLearner, name=name), name)
        parts[name] = (settings.get(name, UnlearnedConfig), _PLAIN, run)
    return {name: Method(summary, *parts[name]) for name, summary in METHOD_SUMMARIES.items()}


METHODS: dict[str, Method] = _methods()
"""Every method of `flexpose adapt --method` by its name."""


def adapt_by(
    method: str,
    shots: PoseSet,
    run_dir: str | PathLike[str],
    *,
    preset: str = "tuned",
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    source: str | PathLike[str] | None = None,
    beta: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str = "auto",
) -> Path:
    """Adapt a source to a few guide poses by any of the compared methods.

    Args:
        method: a name of `METHODS`.
        shots: the guide poses, at least 2 fully labelled ones.
        run_dir: gets the folder ``adapt`` and the result: ``adapter.safetensors``, ``generator.safetensors`` with
            ``beta.safetensors``, or ``sampler.safetensors``. `flexpose.sample.sample` takes any of them.
        preset: "aligned" or "tuned", see `Method`.
        settings: fields of the method's settings that differ from the preset.
        seed: the same seed gives the same result; else that of `settings`, else 0.
        source: a run folder or file of `pretrain`, or a name of the zoo; by default the zoo's first.
        beta: a run folder or file of `train_beta`; by default beside the generator.
        resume: go on from the last checkpoint; on the CPU the result is bit for bit that of an unbroken run.
        progress: told of each iteration.
        device: "cpu", "cuda", "cuda:N", or "auto", the first card that computes, else the processor.

    Returns:
        The path of the result.

    Raises:
        UsageError: no such method or preset, too few guide poses, or generator and beta do not fit each other.
        ConfigError: a setting is unknown or wrong, or a resumed run had others.
        DataError: a file cannot be used, or the training lost its numbers.
        DeviceError: the device cannot be used.
        Interrupted: SIGINT or SIGTERM came; the state is on disk.
    """
    config = method_config(method, preset, settings, seed)
    return find_method(method).run(
        shots, config, run_dir, source=source, beta=beta, resume=resume, progress=progress, device=device
    )


def method_config(
    method: str, preset: str = "tuned", settings: Mapping[str, Any] | None = None, seed: int | None = None
) -> Any:
    """All settings that `adapt_by` would use.

    Raises:
        UsageError: no such method or preset.
        ConfigError: a setting is unknown or wrong.
    """
    chosen = find_method(method)
    if preset not in chosen.presets:
        raise UsageError(f"preset must be one of {', '.join(sorted(chosen.presets))}, got {preset!r}")
    values = {**chosen.presets[preset], **(settings or {})} | ({} if seed is None else {"seed": seed})
    return make_config(chosen.config, values)


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        UsageError: there is none; lists those that there are.
    """
    if name not in METHODS:
        raise UsageError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
