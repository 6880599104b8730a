"""Bodies of loops: called on the processor, recorded once and replayed on a card, which is a pretended one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from flexpose.ops.graphs import Repeated

from ..card import CARD, Card, Graph, pretend_graphs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pretend_graphs(monkeypatch)
    with Card():
        yield


def test_the_processor_calls_the_function() -> None:
    calls: list[int] = []

    def half(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x / 2

    again = Repeated(half, before=lambda: calls.append(0))
    assert [again(torch.full((2,), float(i))).sum().item() for i in range(4)] == [0, 1, 2, 3]
    assert calls == [0, 1] * 4
    assert Graph.made == []


def test_a_card_records_once() -> None:
    calls = []

    def mixed(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        calls.append(1)
        y = x[rows].clone()
        y[0].add_(1)  # in place, through a view
        return y.sum(), [y * 2, x.T]

    again = Repeated(mixed)
    for i in range(5):
        x, rows = torch.randn(3, 2), torch.tensor([i % 3, 2])
        total, (twice, turned) = again(x.to(CARD), rows.to(CARD))
        expected = x[rows] + torch.tensor([[1.0], [0.0]])
        assert total.item() == pytest.approx(expected.sum().item())
        assert torch.equal(twice.cpu(), expected * 2)
        assert torch.equal(turned.cpu(), x.T)
    assert len(calls) == 4  # three to warm up, one to record
    assert [graph.replays for graph in Graph.made] == [5]


def test_gradients_are_written_anew() -> None:
    weight = torch.nn.Parameter(torch.ones(2).to(CARD))
    optimiser = torch.optim.SGD([weight], lr=1.0)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        loss = (weight * x).sum()
        torch.autograd.backward(loss)
        return loss.detach()

    again = Repeated(gradient, before=lambda: optimiser.zero_grad(set_to_none=True))
    expected = torch.ones(2)
    for i in range(4):
        x = torch.tensor([i + 1.0, 0.5])
        assert again(x.to(CARD)).item() == pytest.approx((expected * x).sum().item())
        assert weight.grad is not None
        assert torch.equal(weight.grad.cpu(), x)
        optimiser.step()
        expected = expected - x
        assert torch.equal(weight.detach().cpu(), expected)


def test_inference_mode() -> None:
    again = Repeated(lambda x: x + 1)
    with torch.inference_mode():
        assert [again(torch.full((2,), float(i)).to(CARD)).cpu().sum().item() for i in range(3)] == [2, 4, 6]


def test_what_cannot_be_recorded_is_called() -> None:
    again = Repeated(lambda x: x * x.sum().item())
    with pytest.warns(
        RuntimeWarning, match="cannot be recorded as a CUDA graph: .* when stream is capturing"
    ):
        assert again(torch.full((2,), 3.0).to(CARD)).sum().item() == 36
    assert again(torch.full((2,), 1.0).to(CARD)).sum().item() == 4
    assert Graph.made == []
