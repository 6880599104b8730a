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

if TYPE_CHECKING:
    from pathlib import Path


def test_json_tells_versions_and_back_end() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["version"] == found["modules"]["flexpose._rust"]["version"] == flexpose.__version__
    assert found["backend"]["name"] in {"reference", "cuda"}
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


@pytest.mark.parametrize(
    ("gpu", "module", "name", "reason"),
    [
        (False, True, "reference", "no GPU"),
        (True, False, "reference", "is not here"),
        (True, True, "cuda", "loads"),
    ],
)
def test_back_end_follows_gpu_and_module(gpu: bool, module: bool, name: str, reason: str) -> None:
    backend = doctor._backend(
        {"available": True, "cuda": gpu}, {"available": module, "reason": None if module else "is not here"}
    )
    assert backend["name"] == name
    assert reason in backend["reason"]


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
