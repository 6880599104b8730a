"""Which message, hint and exit code an exception becomes."""

from __future__ import annotations

import errno

import pytest
import typer
from typer.testing import CliRunner

from flexpose import errors
from flexpose.cli import _app, _errors


class OutOfMemoryError(RuntimeError):
    """Stands for torch.OutOfMemoryError, which is known by its name."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.UsageError("n must be >= 1, got 0"), 2, "n must be >= 1, got 0"),
        (errors.ConfigError("lr: unknown key"), 2, "lr: unknown key"),
        (
            errors.DataError("must be finite", path="a.json", record=3, field="x"),
            3,
            "a.json: record 3: x: must be finite",
        ),
        (errors.ResourceError("the disk is full"), 4, "the disk is full"),
        (errors.DeviceError("no GPU"), 5, "no GPU"),
        (errors.Interrupted("stopped at step 3"), 130, "stopped at step 3"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 4, "out of memory"),
        (OutOfMemoryError("tried to allocate 2 GiB"), 4, "out of memory: tried to allocate 2 GiB"),
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), 4, "x/y: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 4, "Input/output error"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
            2,
            "a: No such file or directory",
        ),
        (KeyError("joints"), 1, "internal error: KeyError: 'joints'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_classify(error: BaseException, code: int, message: str) -> None:
    failure = _errors.classify(error)
    assert failure.exit_code == code
    assert failure.message.startswith(message)


@pytest.mark.parametrize(
    ("path", "helps"),
    [
        ("a.json", True),
        ("a.npz", True),
        (None, True),
        ("beta.safetensors", False),
        ("a.TOML", False),
        ("a.JPG", False),
    ],
)
def test_inspecting_poses_is_a_hint_for_files_that_may_hold_them(path: str | None, helps: bool) -> None:
    hint = _errors.classify(errors.DataError("is damaged", path=path)).hint
    assert (hint is not None and "poses inspect" in hint) == helps
    assert _errors.classify(errors.DataError("is damaged", path=path, field="jpeg")).hint is None


def test_a_note_on_the_error_replaces_the_general_hint() -> None:
    error = errors.UsageError("no such run")
    general = _errors.classify(error).hint
    error.add_note("start with: flexpose pretrain")
    assert general != _errors.classify(error).hint == "start with: flexpose pretrain"


def test_a_full_disk_is_told_with_the_room_that_is_left(tmp_path) -> None:
    failure = _errors.classify(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "f")))
    assert "MB free" in failure.message


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """An app of the real kind, with one command that raises what it is told to."""

    def run(error: BaseException, *arguments: str, traceback_variable: str = "") -> tuple[int, str]:
        monkeypatch.setenv("FLEXPOSE_TRACEBACK", traceback_variable)
        app = typer.Typer(cls=_app._Group, pretty_exceptions_enable=False)
        app.callback()(_app._options)

        @app.command("fail")
        def fail() -> None:
            raise error

        result = CliRunner().invoke(app, [*arguments, "fail"], prog_name="flexpose")
        assert result.stdout == ""
        return result.exit_code, result.stderr

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DataError("bad"), 3),
        (ValueError("bad"), 1),
        (KeyboardInterrupt(), 130),
        (MemoryError("bad"), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_traceback_unless_asked_for(failing, error: BaseException, code: int) -> None:
    for arguments, variable, shown in [
        ([], "", False),
        ([], "0", False),
        ([], "1", True),
        (["--traceback"], "", True),
    ]:
        got, text = failing(error, *arguments, traceback_variable=variable)
        assert got == code
        assert ("Traceback (most recent call last)" in text) is shown
        assert "error: " in text


def test_markup_in_a_message_is_only_text(failing) -> None:
    _, text = failing(errors.UsageError("keypoints must be [N, 13, 2], got [/bold] [4, 12, 2]"))
    assert "keypoints must be [N, 13, 2], got [/bold] [4, 12, 2]" in text


def test_long_messages_stay_on_one_line(failing) -> None:
    _, text = failing(errors.UsageError("x" * 300))
    assert "x" * 300 in text


def test_parser_errors_and_exits_pass_through(failing) -> None:
    code, text = failing(typer.BadParameter("give one of them"))
    assert code == 2
    assert "give one of them" in text
    assert failing(typer.Exit(7))[0] == 7
