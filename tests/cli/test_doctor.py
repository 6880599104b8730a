"""`flexpose doctor`, and the thread count it reports."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import flexpose
from flexpose import _cpus, doctor
from flexpose.cli import app
from flexpose.ops import choice as backend
from flexpose.ops import measure
from flexpose.ops.tuning import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_json_tells_versions_and_back_end() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["version"] == found["modules"]["flexpose._rust"]["version"] == flexpose.__version__
    assert found["backend"]["name"] in {"reference", "cpu", "cuda"}
    assert found["backend"]["reason"]
    assert found["threads"]["allowed"] >= 1
    assert found["problems"] == []


def test_text_names_everything() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for part in ("flexpose._rust", "flexpose._cuda", "torch", "threads", "back end", "numpy"):
        assert part in result.stdout
    assert "no problem found" in result.stderr


def test_a_torch_that_does_not_load_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"available": False, "reason": "ImportError: libfoo", "cuda": False}
    monkeypatch.setattr(doctor, "_torch", lambda: broken)
    found = doctor.diagnose()
    assert found["backend"]["name"] is None
    assert any("libfoo" in problem for problem in found["problems"])
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test ask for a back end as if at the start of a process."""
    monkeypatch.setattr(backend, "_asked", None)
    found = backend.candidates
    found.cache_clear()
    yield monkeypatch
    found.cache_clear()


def test_back_end_that_was_asked_for_is_shown(asked: pytest.MonkeyPatch) -> None:
    asked.setenv("FLEXPOSE_BACKEND", "reference")
    found = doctor.diagnose()["backend"]
    assert (found["name"], found["asked"]) == ("reference", "reference")
    assert "FLEXPOSE_BACKEND" in found["reason"]


def test_auto_falls_back_with_its_reason(asked: pytest.MonkeyPatch) -> None:
    asked.delenv("FLEXPOSE_BACKEND", raising=False)
    found = doctor.diagnose()["backend"]
    assert found["asked"] == "auto"
    assert set(found["candidates"]) == {"reference", "cpu", "cuda", "compile"}
    assert all(candidate["reason"] for candidate in found["candidates"].values())
    assert found["table"]
    missing = backend.Candidate(False, "no kernel in this build")
    asked.setattr(backend, "candidates", lambda: dict.fromkeys(found["candidates"], missing))
    fallen = doctor.diagnose()["backend"]
    assert fallen["name"] == "reference"
    assert "no kernel in this build" in fallen["reason"]


@pytest.mark.parametrize(("name", "text"), [("cuda", "flexpose.cuda"), ("fast", "must be one of auto")])
def test_back_end_that_cannot_run_is_a_problem_and_no_crash(
    asked: pytest.MonkeyPatch, name: str, text: str
) -> None:
    asked.setenv("FLEXPOSE_BACKEND", name)
    asked.setattr(backend, "_cuda_module", lambda: (None, "flexpose.cuda does not load"))
    found = doctor.diagnose()
    assert found["backend"]["name"] is None
    assert any(text in problem for problem in found["problems"])
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0


def test_tuning_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measure, "candidates", lambda: {"cpu": backend.Candidate(True, "here")})
    Table.of.cache_clear()
    result = CliRunner().invoke(app, ["doctor", "--tune", "--tune-size", "8"])
    assert result.exit_code == 0, result.output
    assert "128->128, 8 px" in result.stderr
    assert "3 shapes measured" in result.stdout
    Table.of.cache_clear()


def control_group(root: Path, lines: str, files: dict[str, str]) -> str:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines, encoding="ascii")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return str(root)


@pytest.mark.parametrize(
    ("lines", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        (
            "4:cpu,cpuacct:/x\n0::/\n",
            {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_control_group_quota(tmp_path: Path, lines: str, files: dict[str, str], quota: float | None) -> None:
    assert _cpus.cgroup_quota(control_group(tmp_path, lines, files)) == quota


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert _cpus.cgroup_quota(str(tmp_path)) is None


@pytest.mark.parametrize(("quota", "threads"), [(None, 8), (1.5, 2), (0.2, 1), (64.0, 8)])
def test_allowed_threads_is_the_smaller(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, threads: int
) -> None:
    monkeypatch.setattr(_cpus, "affinity_threads", lambda: 8)
    monkeypatch.setattr(_cpus, "cgroup_quota", lambda: quota)
    assert _cpus.allowed_threads() == threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_is_read() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert _cpus.affinity_threads() == 1
    finally:
        os.sched_setaffinity(0, before)
