"""The command as a process: exit codes, streams, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flexpose.poses import write_poses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flexpose.poses import PoseSet

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `flexpose` in a folder of its own; `before` is Python that runs first in its process."""

    def start(*arguments: str | Path, before: str = "") -> subprocess.CompletedProcess[str]:
        code = f"{before}\nfrom flexpose.cli import main\nmain()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        environment = {key: value for key, value in os.environ.items() if key != "FLEXPOSE_TRACEBACK"}
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120, env=environment
        )

    return start


def assert_failed(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for part in parts:
        assert part in done.stderr


def test_version_and_module_entry() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flexpose", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["flexpose", __import__("flexpose").__version__]


def test_wrong_usage_is_2(run: Run) -> None:
    assert_failed(run("render", "nowhere.json", "out"), 2, "nowhere.json")
    assert_failed(run("poses", "fold"), 2, "No such command")


def test_bad_data_is_3_and_names_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 this is no archive")
    assert_failed(run("poses", "inspect", "torn.npz"), 3, "error: torn.npz")


LIMIT_FILE_SIZE = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set")
def test_no_room_is_4_and_leaves_nothing(run: Run, tmp_path: Path, poses: PoseSet) -> None:
    write_poses(poses, tmp_path / "in.npz")
    done = run("render", "in.npz", "out.tar", "--size", "64", before=LIMIT_FILE_SIZE)
    assert_failed(done, 4, "out.tar: no room left for it", "bytes needed", "bytes free", "hint: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz"]


INTERRUPT_WHILE_DRAWING = """
import os, signal
import flexpose._rust as rust
def interrupted(write):
    def stop(done):
        # A background job of a shell starts with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
    return lambda *arguments, **options: write(*arguments, **{**options, "progress": stop})
rust.write_tar = interrupted(rust.write_tar)
"""


def test_interrupt_is_130_and_leaves_nothing(run: Run, tmp_path: Path, poses: PoseSet) -> None:
    write_poses(poses, tmp_path / "in.npz")
    assert_failed(run("render", "in.npz", "out.tar", before=INTERRUPT_WHILE_DRAWING), 130, "interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz"]


def test_data_goes_to_stdout_and_the_rest_to_stderr(run: Run, tmp_path: Path, poses: PoseSet) -> None:
    write_poses(poses, tmp_path / "in.npz")
    done = run("render", "in.npz", "out.tar", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["path"], told["rendered"], told["left_out"]) == ("out.tar", 5, 1)
    assert "1 poses left out" in done.stderr
