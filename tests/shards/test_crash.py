"""A rendering that dies: at every point of the write protocol, at random times, of signals, of a full disk."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from flexpose.errors import ResourceError
from flexpose.poses import synth_poses, write_poses
from flexpose.shards import (
    KINDS,
    RenderStyle,
    list_tar,
    open_dataset,
    plan_render,
    read_keypoint_shard,
    verify_dataset,
    write_shards,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed")

POINTS = [
    "plan-fsync",
    "plan-rename",
    "plan-folder",
    "shard-fsync",
    "poses-fsync",
    "shard-rename",
    "shard-folder",
    "journal-append",
    "journal-torn",
    "journal-fsync",
    "journal-done",
    "index-fsync",
    "index-rename",
    "index-folder",
]
NUMBER, SHARD = 90, 20

# One process that forks for each run: a fresh interpreter for each would take most of the time.
SERVER = """
import json, os, signal, sys, time
from flexpose.poses import synth_poses
from flexpose.shards import RenderStyle, plan_render, write_shards

def render(out, kind, number, shard, size):
    plan = plan_render(synth_poses(number, seed=3), out, RenderStyle(size_px=size), kind=kind,
                       shard_size=shard, resume=True)
    write_shards(plan, workers=2, resume=True)

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.environ["FLEXPOSE_FAIL_AT"] = job["fail_at"]
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 2)
            render(job["out"], job["kind"], job["number"], job["shard"], job["size"])
            status = 0
        finally:
            os._exit(status)
    if job["kill_after"] is not None:
        time.sleep(job["kill_after"])
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def child() -> Iterator[Callable[..., int]]:
    """Render in a process of its own, which may die; gives its exit code."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def run(
        out: Path,
        kind: str = "webdataset",
        *,
        fail_at: str = "",
        kill_after: float | None = None,
        number: int = NUMBER,
        shard: int = SHARD,
        size: int = 16,
    ) -> int:
        job = {"out": str(out), "kind": kind, "fail_at": fail_at, "kill_after": kill_after}
        stdin.write(json.dumps(job | {"number": number, "shard": shard, "size": size}) + "\n")
        stdin.flush()
        return int(stdout.readline())

    yield run
    stdin.close()
    server.wait(timeout=60)
    stdout.close()


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def render(out: Path, kind: Any, **options: Any) -> int:
    """Render here, going on with what is there; gives the number of shards written."""
    number, size = options.get("number", NUMBER), options.get("size", 16)
    plan = plan_render(
        synth_poses(number, seed=3),
        out,
        RenderStyle(size_px=size),
        kind=kind,
        shard_size=options.get("shard", SHARD),
        resume=True,
    )
    report = write_shards(plan, resume=True)
    assert report.complete
    return report.written


def assert_nothing_torn(out: Path) -> None:
    """What is there under its final name is whole, and what the journal has is right."""
    for path in out.glob("shard-*.tar"):
        assert len(list_tar(path)) % 2 == 0
    for path in out.glob("shard-*.safetensors"):
        read_keypoint_shard(path)
    for name in ("plan.json", "index.json"):
        if (out / name).exists():
            json.loads((out / name).read_text())
    if (out / "plan.json").exists():
        assert verify_dataset(out, full=True).problems == ()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    for kind in KINDS:
        render(folder / kind, kind)
    return {kind: contents(folder / kind) for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "point"),
    [("webdataset", point) for point in POINTS]
    # There is no file of pictures to sync.
    + [("keypoints", point) for point in POINTS if point != "shard-fsync"],
)
def test_death_at_every_point_of_the_protocol(
    child: Any, tmp_path: Path, undisturbed: Any, kind: str, point: str
) -> None:
    for count in (1, 3) if point.startswith(("shard", "poses", "journal")) else (1,):
        out = tmp_path / str(count)
        assert child(out, kind, fail_at=f"{point}:{count}") == -signal.SIGABRT
        assert_nothing_torn(out)
        # Shards that have a line are never written again: at most the one that was open is.
        done = 0
        if (out / "journal.jsonl").exists():
            lines = (out / "journal.jsonl").read_bytes().split(b"\n")
            done = sum(line.endswith(b"}") for line in lines)
        assert render(out, kind) == 5 - done
        assert contents(out) == undisturbed[kind]


@pytest.mark.parametrize("point", ["png-fsync:25", "shard-fsync:2", "shard-rename:3"])
def test_death_with_folders_of_pictures(child: Any, tmp_path: Path, undisturbed: Any, point: str) -> None:
    assert child(tmp_path / "out", "png", fail_at=point) == -signal.SIGABRT
    render(tmp_path / "out", "png")
    assert contents(tmp_path / "out") == undisturbed["png"]


REFUSED = ["write", *(point for point in POINTS if point != "journal-torn")]


@pytest.mark.parametrize("kind", ["webdataset", "png"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_the_system_refuses_is_told_and_it_goes_on(
    tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    """A full disk, a full quota and a broken disk, at every step that can meet them."""
    for point in [*REFUSED, "png-fsync"] if kind == "png" else REFUSED:
        out, count = tmp_path / point, 3 if point.startswith(("write", "shard", "poses", "png")) else 1
        monkeypatch.setenv("FLEXPOSE_FAIL_AT", f"{point}:{count}:{number}")
        with pytest.raises(ResourceError, match=os.strerror(number)) as caught:
            render(out, kind)
        assert ("no room left for it" in str(caught.value)) == (number != errno.EIO)
        monkeypatch.delenv("FLEXPOSE_FAIL_AT")
        assert not list(out.rglob("*.tmp-*"))
        assert_nothing_torn(out)
        render(out, kind)
        assert contents(out) == undisturbed[kind]


def test_death_while_a_torn_journal_is_mended(child: Any, tmp_path: Path, undisturbed: Any) -> None:
    out = tmp_path / "out"
    assert child(out, fail_at="journal-torn:3") == -signal.SIGABRT
    for point in ("journal-rewrite-fsync:1", "journal-rewrite-rename:1", "journal-rewrite-folder:1"):
        assert child(out, fail_at=point) == -signal.SIGABRT
    assert render(out, "webdataset") == 3
    assert contents(out) == undisturbed["webdataset"]


def test_death_at_random_times(child: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"number": 3000, "shard": 150, "size": 48}
    render(tmp_path / "whole", "webdataset", **options)
    rng = random.Random(11)
    killed = number = 0
    reach = 0.4  # halved whenever the work was done sooner, so that it fits a machine of any speed
    while killed < 6:
        out = tmp_path / str(number)
        if child(out, kill_after=rng.uniform(0, reach), **options) == -signal.SIGKILL:
            killed += 1
            assert_nothing_torn(out)
        else:
            reach /= 2
            number += 1
            assert contents(out) == contents(tmp_path / "whole")
    render(out, "webdataset", **options)
    assert contents(out) == contents(tmp_path / "whole")


COMMAND = "from flexpose.cli import main; main()"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_130_and_it_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    write_poses(synth_poses(4000, seed=1), tmp_path / "in.npz")
    out = tmp_path / "out"
    arguments = ["render", "in.npz", "out", "--shard-size", "100", "--size", "256", "--workers", "1"]
    # A background job of a shell starts with SIGINT ignored.
    before = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", before + COMMAND, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "render: 0/4000\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert "Traceback" not in told
    assert not list(out.glob("*.tmp-*"))
    assert not (out / ".lock").exists()
    assert not (out / "index.json").exists()
    assert verify_dataset(out, full=True).problems == ()


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "


@pytest.mark.parametrize("kind", ["webdataset", "npy"])
def test_a_file_size_limit_is_4_and_it_goes_on(tmp_path: Path, kind: str) -> None:
    poses = synth_poses(60, seed=1)
    write_poses(poses, tmp_path / "in.npz")
    arguments = ["render", "in.npz", "out", "--shard-size", "20", "--size", "64", "--format", kind]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED + COMMAND, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 4, done.stderr
    assert "no room left for it" in done.stderr
    assert "bytes needed" in done.stderr
    assert "bytes free" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["journal.jsonl", "plan.json"]
    plan = plan_render(
        poses,
        tmp_path / "out",
        RenderStyle(size_px=64),
        kind=kind,  # type: ignore[arg-type]
        shard_size=20,
        resume=True,
        inputs=[tmp_path / "in.npz"],
    )
    assert write_shards(plan, resume=True).complete
    assert open_dataset(tmp_path / "out").count == 60


def test_a_full_disk_is_4_and_it_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted")
    try:
        write_poses(synth_poses(300, seed=1), tmp_path / "in.npz")
        arguments = ["render", "in.npz", "disk/out", "--shard-size", "60", "--size", "64"]
        (disk / "ballast").write_bytes(bytes(400_000))

        def run(*more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", COMMAND, *arguments, *more],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )

        done = run()
        assert done.returncode == 4, done.stderr
        assert "no room left for it" in done.stderr
        assert not list((disk / "out").glob("*.tmp-*"))
        kept = verify_dataset(disk / "out", full=True)
        assert kept.problems == ()
        assert 0 < kept.intact < 5
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        done = run("--resume", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["written"] == 5 - kept.intact
    finally:
        subprocess.run(["umount", str(disk)], check=True)
