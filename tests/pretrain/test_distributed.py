"""Two processes on the processor: the same training and the same samples as one, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from flexpose._distributed import join
from flexpose.cli import app
from flexpose.config import config_dict
from flexpose.errors import UsageError
from flexpose.poses import read_poses, write_poses
from flexpose.pretrain import train_beta
from flexpose.sample import SampleConfig, sample

from .. import tiny
from .job import BETA, CONFIG, SAMPLES, train

ROOT = Path(__file__).resolve().parents[2]
RUNS = ("one", "two", "one-two", "stopped", "failed", "killed", "refused")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class Job:
    """What two processes left."""

    folder: Path
    figures: list[dict[str, float]]  # of one process
    seen: list[dict[str, Any]]
    codes: list[int]
    errors: list[str]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, unbroken: Path) -> Job:
    folder = tmp_path_factory.mktemp("job")
    for name in RUNS:
        (folder / name).mkdir()
        shutil.copy(unbroken / "beta.safetensors", folder / name)
    shutil.copytree(unbroken, folder / "source")
    write_poses(tiny.source_poses(), folder / "poses.json")
    lines = [f"{key} = {json.dumps(value)}" for key, value in config_dict(CONFIG).items()]
    (folder / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    watch = tiny.Watch()
    train(folder / "one", progress=watch)
    with pytest.raises(tiny.Killed):
        train(folder / "one-two", progress=tiny.KillAt(8))
    ports = [str(port) for port in free_ports(3)]
    command = [sys.executable, "-m", "tests.pretrain.job", str(folder), *ports]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[0]}
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    files = [folder / f"seen-{rank}.json" for rank in range(2)]
    assert all(file.exists() for file in files), errors
    seen = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return Job(folder, watch.figures, seen, [process.returncode for process in processes], errors)


def assert_close_runs(folder: Path, other: Path) -> None:
    """The same curve and the same weights but for sums in another order."""
    mine, theirs = (tiny.stats(path / "pretrain" / "stats.jsonl") for path in (folder, other))
    assert len(mine) == len(theirs)
    for record, expected in zip(mine, theirs, strict=True):
        assert record.keys() == expected.keys()
        for key, value in expected.items():
            assert record[key] == (pytest.approx(value, rel=1e-3, abs=1e-4) if key != "phase" else value), key
    weights, others = (load_file(path / "generator.safetensors") for path in (folder, other))
    for name, tensor in others.items():
        difference = (weights[name] - tensor).abs()
        # Adam makes a step of full length of a gradient that is next to nothing: single weights may differ by some.
        assert float(difference.mean()) < 1e-4, name
        assert float(difference.max()) < 0.02, name


# --- training


def test_every_step_has_the_losses_of_one_process(job: Job) -> None:
    """Flow, mapping, drawing and the game, with noise and mixed styles, from shares of unequal size."""
    for seen in job.seen:
        assert len(seen["figures"]) == len(job.figures) == tiny.PRETRAIN_STEPS + 1
        for step, (mine, expected) in enumerate(zip(seen["figures"], job.figures, strict=True)):
            assert mine.keys() == expected.keys()
            for key, value in expected.items():
                assert mine[key] == pytest.approx(value, rel=1e-3, abs=1e-5), (step, key)
    assert_close_runs(job.folder / "two", job.folder / "one")


def test_the_processes_stay_the_same_bit_for_bit(job: Job) -> None:
    assert job.seen[0]["weights"] == job.seen[1]["weights"]
    assert job.seen[0]["figures"] == job.seen[1]["figures"]


def test_two_go_on_with_what_one_began(job: Job) -> None:
    assert_close_runs(job.folder / "one-two", job.folder / "one")


def test_beta_too(job: Job, tmp_path: Path) -> None:
    train_beta(tiny.source_poses(), BETA, tmp_path)
    two = job.folder / "beta-two"
    mine, theirs = (tiny.stats(path / "train-beta" / "stats.jsonl") for path in (two, tmp_path))
    assert len(mine) == len(theirs) == 2
    for record, expected in zip(mine, theirs, strict=True):
        assert record == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_signal_to_one_stops_both_after_the_same_step(job: Job) -> None:
    for seen in job.seen:
        step, message = seen["stopped"]
        assert step == 7
        assert "--resume" in message
    folder = job.folder / "stopped"
    assert json.loads((folder / "pretrain/checkpoints/latest.json").read_text(encoding="utf-8"))["step"] == 7
    assert not (folder / "generator.safetensors").exists()
    train(folder, resume=True)  # one goes on with what two began
    assert_close_runs(folder, job.folder / "one")


def test_an_error_of_one_ends_both(job: Job) -> None:
    first, second = (seen["failed"] for seen in job.seen)
    assert first == ["PeerError", "process 1: record 3: no good", 3, False, True]
    assert second == ["DataError", "record 3: no good", 3, True, False]
    train(job.folder / "failed", resume=True)
    assert_close_runs(job.folder / "failed", job.folder / "one")


def test_a_killed_process_ends_the_command(job: Job) -> None:
    assert job.codes == [4, -signal.SIGKILL], job.errors
    assert "another of the 2 processes ended without a word" in job.errors[0]
    assert "Traceback" not in job.errors[0]
    folder = job.folder / "killed"
    assert not (folder / "generator.safetensors").exists()
    train(folder, resume=True)
    assert_close_runs(folder, job.folder / "one")


def test_batches_that_are_too_small_are_refused(job: Job) -> None:
    for seen in job.seen:
        assert seen["refused"] == [
            "batch must be at least 8 for 2 processes, 4 pictures of the game in each, got 4",
            "flow_batch must be at least 2 for 2 processes, got 1",
            "batch must be at least 2 for 2 processes, got 1",
        ]
        assert seen["differs"] == "answer must be the same in all processes, got others in process 1"
    assert not (job.folder / "refused" / "pretrain").exists()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed by Linux")
def test_no_thread_of_the_exchange_is_left(job: Job) -> None:
    """One that gives up a tensor while the interpreter ends aborts the process, all being written."""
    for seen in job.seen:
        within, after = seen["threads"]
        assert within
        assert after == []


# --- sampling


@pytest.mark.parametrize("name", list(SAMPLES))
def test_samples_of_two_processes_are_those_of_one(job: Job, tmp_path: Path, name: str) -> None:
    """Three blocks for two; with rejection the same ones are kept."""
    sample(job.folder / "source", SAMPLES[name], tmp_path / f"{name}.json")
    for file in (f"{name}.json", f"{name}.json.grid.png"):
        assert (job.folder / file).read_bytes() == (tmp_path / file).read_bytes(), file
    info, expected = (
        json.loads((folder / f"{name}.json.info.json").read_text(encoding="utf-8"))
        for folder in (job.folder, tmp_path)
    )
    assert info | {"versions": expected["versions"]} == expected


def test_torchrun(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "flexpose", "sample", str(job.folder / "source"), "-n", "70", "--out", str(out)]
    command += ["--set", "dtype=float32"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{out}: 70 poses, body13"], "one of them speaks"
    sample(job.folder / "source", SampleConfig(n=70, dtype="float32"), tmp_path / "one.json")
    assert out.read_bytes() == (tmp_path / "one.json").read_bytes()
    assert read_poses(out).ids.tolist() == list(range(1, 71))


# --- what is refused


PLACE = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_PORT": "", "LOCAL_RANK": ""}, "got no LOCAL_RANK and no MASTER_PORT"),
        ({"RANK": "2"}, "RANK < WORLD_SIZE and LOCAL_RANK < LOCAL_WORLD_SIZE, got 2 of 2 and 0 of 2"),
        ({"WORLD_SIZE": "two"}, "whole numbers in RANK, WORLD_SIZE and LOCAL_RANK"),
    ],
)
def test_a_broken_environment(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str) -> None:
    for name, value in (PLACE | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message), join():
        pass


def test_one_process_of_torchrun_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (PLACE | {"WORLD_SIZE": "1"}).items():
        monkeypatch.setenv(name, value)
    with join() as world:
        assert (world.rank, world.size, world.leads) == (0, 1, True)
        assert world.share(5) == slice(0, 5)
    assert not torch.distributed.is_initialized()


def test_adapt_refuses_several_processes(monkeypatch: pytest.MonkeyPatch, job: Job, tmp_path: Path) -> None:
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["adapt", str(job.folder / "poses.json"), str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "adapt must run in one process, got 2" in done.stderr
    assert not (tmp_path / "run").exists()
