"""Numbers that get lost in training end the run, and never reach a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from flexpose.checkpoint import Checkpoints
from flexpose.errors import DataError
from flexpose.pretrain.loop import _Trainer

from .runs import assert_same_run, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("beta_there")


def spoil(monkeypatch: pytest.MonkeyPatch, at: int, *, before: bool, value: float = float("nan")) -> None:
    """Put `value` into a weight of the generator before or after the 0-based step `at`."""
    original = _Trainer.step

    def step(self: _Trainer, number: int) -> dict[str, float]:
        def put() -> None:
            with torch.no_grad():
                self.G.synthesis.const[0, 0, 0, 0] = value

        if number == at and before:
            put()
        figures = original(self, number)
        if number == at and not before:
            put()
        return figures

    monkeypatch.setattr(_Trainer, "step", step)


@pytest.mark.parametrize("at", [5, 11])
def test_lost_numbers_end_the_run_and_name_step_and_tensor(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, at, before=True)
        with pytest.raises(DataError, match=f"at step {at}") as caught:
            run(tmp_path)
    assert "first lost tensor: G/" in str(caught.value)
    assert str(tmp_path / "pretrain" / "checkpoints") in str(caught.value)
    assert not (tmp_path / "generator.safetensors").exists()
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_lost_numbers_of_the_flow_are_named(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _Trainer.step

    def step(self: _Trainer, number: int) -> dict[str, float]:
        assert self.lessons is not None
        if number == 1:
            with torch.no_grad():
                self.lessons.flow.velocity.outlet.bias[0] = float("nan")
        return original(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "step", step)
        with pytest.raises(DataError, match=r"at step 1: .*first lost tensor: lessons/flow/velocity/"):
            run(tmp_path)
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


@pytest.mark.parametrize("at", [5, 14])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_lost_weights_behind_a_good_loss_are_never_written(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, at: int, value: float
) -> None:
    """A gradient that is no number spoils the weights only after the loss was taken: at a checkpoint, at the end."""
    with monkeypatch.context() as patch:
        spoil(patch, at, before=False, value=value)
        with pytest.raises(DataError, match=f"at step {at}") as caught:
            run(tmp_path)
    assert "synthesis.const" in str(caught.value)
    assert not (tmp_path / "generator.safetensors").exists()
    latest = Checkpoints(tmp_path / "pretrain" / "checkpoints").latest()
    assert latest is not None
    assert latest[1]["step"] == {5: 3, 14: 12}[at]
    run(tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)
