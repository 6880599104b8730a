"""Progress on stderr: lines in a log, a bar on a terminal; stdout stays clean."""

from __future__ import annotations

import io

import pytest

from flexpose.cli import _options, _output, _progress
from flexpose.errors import UsageError


def test_lines_at_the_start_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.progress() as shown:
        shown.start("adapt", 1000)
        for step in range(1, 1001):
            shown.advance(step, loss=1 / step)
        shown.message("written")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["adapt: 0/1000", "adapt: 1000/1000  loss 0.001", "written"]


def test_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock))
    shown = _progress._Lines()
    shown.start("x", 40)
    for step in range(1, 33):
        shown.advance(step)
    assert capsys.readouterr().err.splitlines() == ["x: 0/40", "x: 15/40", "x: 30/40"]


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(_progress.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with _progress.progress() as shown:
        shown.start("pretrain [tiny]", 4)
        shown.advance(4, fd=0.25)
        shown.message("see [grid].png")
    text = terminal.getvalue()
    for part in ("pretrain [tiny]", "4/4", "fd 0.25", "see [grid].png"):
        assert part in text


def test_json_has_no_nan_and_knows_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    numpy = pytest.importorskip("numpy")
    _output.print_json({"a": float("nan"), "b": numpy.arange(2), "c": (numpy.float32(1.5), float("inf"))})
    assert "".join(capsys.readouterr().out.split()) == '{"a":null,"b":[0,1],"c":[1.5,null]}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr=0.1", {"lr": 0.1}),
        ("layers=[1, 3]", {"layers": [1, 3]}),
        ("flips=false", {"flips": False}),
        ("frame=bbox", {"frame": "bbox"}),
        ('frame="bbox"', {"frame": "bbox"}),
        ("out=a=b", {"out": "a=b"}),
    ],
)
def test_set_takes_toml_values_and_plain_text(text: str, value: object) -> None:
    assert _options.parse_settings([text]) == value


@pytest.mark.parametrize("text", ["lr", "=1", ""])
def test_set_wants_key_and_value(text: str) -> None:
    with pytest.raises(UsageError, match="--set must be KEY=VALUE"):
        _options.parse_settings([text])
