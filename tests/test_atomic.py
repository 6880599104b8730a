"""Files are whole or not there: at every call that can fail, and when the process dies in between."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flexpose._atomic import atomic_path, atomic_write
from flexpose.errors import FlexposeError, ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW = b"the old content", b"the new content, which is longer"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "weights.safetensors"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_publishes_the_whole_content_and_nothing_else(file: Path) -> None:
    atomic_write(file, NEW)
    assert file.read_bytes() == NEW
    assert names(file.parent) == [file.name]


def test_makes_the_folder(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a" / "b" / "c.json", b"{}")
    assert (tmp_path / "a" / "b" / "c.json").read_bytes() == b"{}"


def test_old_content_is_there_until_the_end(file: Path) -> None:
    with atomic_path(file) as temporary:
        temporary.write_bytes(NEW)
        assert temporary.parent == file.parent, "a rename is atomic within one folder's file system only"
        assert temporary.suffix == file.suffix, "writers choose the format by the ending"
        assert file.read_bytes() == OLD
    assert file.read_bytes() == NEW


def test_content_is_on_disk_before_the_name_is_and_the_name_before_the_return(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    atomic_write(file, NEW)
    if not Path("/proc/self/fd").exists():
        pytest.skip("tells files from folders by /proc")
    assert calls == ["file", "rename", "folder"]


def raising(code: int) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("where", ["write", "fsync", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_failed_call_leaves_the_old_file_whole(
    file: Path, monkeypatch: pytest.MonkeyPatch, where: str, code: int
) -> None:
    target, name = {"write": (Path, "write_bytes"), "fsync": (os, "fsync"), "rename": (Path, "replace")}[
        where
    ]
    with monkeypatch.context() as patch:
        patch.setattr(target, name, raising(code))
        with pytest.raises(ResourceError, match="could not be written") as caught:
            atomic_write(file, NEW)
    assert caught.value.exit_code == 4
    assert str(file) in str(caught.value)
    assert ("no room left" in str(caught.value)) == (code != errno.EIO)
    assert isinstance(caught.value.__cause__, OSError)
    assert file.read_bytes() == OLD
    assert names(file.parent) == [file.name]
    atomic_write(file, NEW)  # once there is room again
    assert file.read_bytes() == NEW


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt(), SystemExit(3)])
def test_failed_writer_leaves_nothing_behind_and_its_error_as_it_was(
    file: Path, error: BaseException
) -> None:
    def write() -> None:
        with atomic_path(file) as temporary:
            temporary.write_bytes(NEW[:5])
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert not isinstance(caught.value, FlexposeError)
    assert file.read_bytes() == OLD
    assert names(file.parent) == [file.name]


def test_folder_that_is_a_file(file: Path) -> None:
    with pytest.raises(ResourceError, match="could not be written"):
        atomic_write(file / "inside.json", b"{}")
    assert file.read_bytes() == OLD


def test_a_writer_that_wrote_nothing_publishes_nothing(file: Path) -> None:
    with pytest.raises(ResourceError), atomic_path(file):
        pass
    assert file.read_bytes() == OLD


def in_another_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


def test_process_that_dies_while_it_writes(file: Path) -> None:
    done = in_another_process(
        "import os\nfrom flexpose._atomic import atomic_path\n"
        f"with atomic_path({str(file)!r}) as path:\n    path.write_bytes({NEW[:7]!r})\n    os._exit(9)\n"
    )
    assert done.returncode == 9, done.stderr
    assert file.read_bytes() == OLD
    atomic_write(file, NEW)
    assert file.read_bytes() == NEW


def test_real_limit_of_the_system(file: Path) -> None:
    pytest.importorskip("resource", reason="limits of file sizes are POSIX")
    done = in_another_process(
        "import resource\nfrom flexpose._atomic import atomic_write\nfrom flexpose.errors import ResourceError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"try:\n    atomic_write({str(file)!r}, b'x' * 100_000)\n"
        "except ResourceError as error:\n    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "no room left" in done.stdout
    assert file.read_bytes() == OLD
    assert names(file.parent) == [file.name]
