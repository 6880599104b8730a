"""Run folders: what they hold, who may work in them, how they are left and taken up again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flexpose import runs
from flexpose.errors import ConfigError, DataError, Interrupted, ResourceError, UsageError
from flexpose.runs import Progress, RunFolder, StopSignal, versions

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {"lr": 0.1, "layers": [3], "name": "a"}
INPUTS = {"poses": "0123", "skeleton": "abcd"}


def begin(path: Path, *, resume: bool = False, **changes: Any) -> RunFolder:
    arguments = {"config": CONFIG, "inputs": INPUTS} | changes
    return RunFolder(path, "pretrain", resume=resume, **arguments)


def records(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stats_path.read_text(encoding="utf-8").splitlines()]


# --- config


def test_writes_down_what_runs(tmp_path: Path) -> None:
    with begin(tmp_path / "a" / "run"):
        pass
    record = json.loads((tmp_path / "a" / "run" / "config.json").read_text(encoding="utf-8"))
    assert (record["verb"], record["config"], record["inputs"]) == ("pretrain", CONFIG, INPUTS)
    assert record["versions"]["torch"] == versions()["torch"]
    assert record["started"].endswith("Z")


def test_versions_name_what_computes() -> None:
    import numpy

    found = versions()
    assert found["numpy"] == numpy.__version__
    assert {"python", "system", "flexpose-pda", "torch", "scipy", "safetensors"} <= set(found)


def test_second_run_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(step=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="holds a run already; go on with it by --resume"):
        begin(tmp_path)
    before.pop(".lock")
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content
    with begin(tmp_path, resume=True):
        pass  # the refused one gave its lock back


def test_resume_leaves_the_config_as_it_was(tmp_path: Path) -> None:
    with begin(tmp_path):
        pass
    before = (tmp_path / "config.json").read_bytes()
    with begin(tmp_path, resume=True):
        pass
    assert (tmp_path / "config.json").read_bytes() == before


def test_resume_of_nothing_begins(tmp_path: Path) -> None:
    with begin(tmp_path / "new", resume=True):
        pass
    assert (tmp_path / "new" / "config.json").is_file()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": CONFIG | {"lr": 0.2}}, "config.lr: 0.1 then, 0.2 now"),
        ({"config": CONFIG | {"layers": [3, 4]}}, "config.layers: [3] then, [3, 4] now"),
        ({"config": CONFIG | {"seed": 1}}, "config.seed: None then, 1 now"),
        ({"config": {"lr": 0.1, "layers": [3]}}, "config.name: 'a' then, None now"),
        ({"inputs": INPUTS | {"poses": "4567"}}, "inputs.poses: '0123' then, '4567' now"),
    ],
)
def test_resume_with_other_settings_names_them(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with begin(tmp_path):
        pass
    with pytest.raises(ConfigError, match="cannot resume with other settings") as caught:
        begin(tmp_path, resume=True, **changes)
    assert named in str(caught.value)
    assert str(caught.value).count(" then, ") == 1, "only what differs is named"
    with begin(tmp_path, resume=True):
        pass


def test_tuples_are_the_lists_of_the_file(tmp_path: Path) -> None:
    with begin(tmp_path, config=CONFIG | {"layers": (3,)}):
        pass
    with begin(tmp_path, config=CONFIG | {"layers": (3,)}, resume=True):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[1, 2]", b"null", b'{"config": 3}', b'{"inputs": [1]}']
)
def test_config_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DataError) as caught:
        begin(tmp_path, resume=True)
    assert caught.value.path == tmp_path / "config.json"


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="cannot be made"):
        begin(tmp_path / "file")


# --- lock


def test_two_in_one_process(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        begin(tmp_path),
        pytest.raises(ResourceError, match=f"process {os.getpid()} on .* works in this run folder"),
    ):
        begin(tmp_path, resume=True)
    with begin(tmp_path, resume=True):
        pass


HOLD = """
import sys
from flexpose.runs import RunFolder
with RunFolder(sys.argv[1], "pretrain", config={}, inputs={}):
    print("held", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "die":
        import os
        os._exit(9)
"""


@pytest.mark.parametrize("end", ["close", "die"])
def test_another_process_holds_the_folder_until_it_ends(tmp_path: Path, end: str) -> None:
    pytest.importorskip("fcntl")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(ResourceError) as caught:
                begin(tmp_path, resume=True, config={}, inputs={})
            assert f"process {other.pid} on " in str(caught.value)
            assert str(tmp_path) in str(caught.value)
            assert caught.value.exit_code == 4
        finally:
            with contextlib.suppress(BrokenPipeError):
                other.stdin.write("\n")
                other.stdin.flush()
            other.wait(60)
    with begin(tmp_path, resume=True, config={}, inputs={}):
        pass


# --- stats


def test_log_and_rewind(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.rewind("step", 0)  # nothing there yet
        for step in (0, 5, 10, 15):
            run.log(step=step, loss=step / 3)
        run.rewind("step", 10)
        assert records(run) == [{"step": s, "loss": s / 3} for s in (0, 5, 10)]
        run.log(step=15, loss=5.0)
        assert [r["step"] for r in records(run)] == [0, 5, 10, 15]


@pytest.mark.parametrize(
    "torn", ['{"step": 7, "lo', '{"step": "7"}', '{"loss": 1}', "7", "[]", "null", "\x00\x00"]
)
def test_rewind_drops_what_a_kill_tore(tmp_path: Path, torn: str) -> None:
    with begin(tmp_path) as run:
        run.log(step=5)
        with run.stats_path.open("a", encoding="utf-8") as file:
            file.write(torn)
        run.rewind("step", 5)
        run.log(step=10)
        assert [r["step"] for r in records(run)] == [5, 10]


def test_rewind_keeps_a_whole_record_without_its_line_end(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.stats_path.write_text('{"step": 5}\n{"step": 7}', encoding="utf-8")
        run.rewind("step", 7)
        run.log(step=10)
        assert [r["step"] for r in records(run)] == [5, 7, 10]


def test_published_files(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        assert json.loads(run.write_json("a.json", {"b": [1]}).read_text(encoding="utf-8")) == {"b": [1]}
        with run.publish("picture.png") as path:
            path.write_bytes(b"png")
            assert not (tmp_path / "picture.png").exists()
        assert (tmp_path / "picture.png").read_bytes() == b"png"


# --- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_sets_a_flag(number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with StopSignal() as stop:
        assert not stop.requested
        stop.check("nothing happens")
        os.kill(os.getpid(), number)
        assert stop.requested
        assert {n: signal.getsignal(n) for n in before} == before, "the second signal acts as ever"
        with pytest.raises(Interrupted, match="stopped on request; go on by --resume") as caught:
            stop.check("go on by --resume")
    assert caught.value.exit_code == 130
    assert {n: signal.getsignal(n) for n in before} == before


def test_handlers_come_back_after_an_error() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def fail() -> None:
        with StopSignal():
            assert signal.getsignal(signal.SIGINT) != before[signal.SIGINT]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert {n: signal.getsignal(n) for n in before} == before


def test_second_signal_interrupts() -> None:
    # A shell starts a background job with SIGINT ignored, and these tests may run in one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = StopSignal()

    def twice() -> None:
        with stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.requested
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            twice()
    finally:
        signal.signal(signal.SIGINT, before)


def test_second_sigterm_ends_the_process() -> None:
    code = (
        "import os, signal\nfrom flexpose.runs import StopSignal\n"
        "with StopSignal() as stop:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(stop.requested, flush=True)\n    os.kill(os.getpid(), signal.SIGTERM)\n    print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "True\n", done.stderr
    assert done.returncode == -signal.SIGTERM


def test_another_thread_has_no_signals_to_watch() -> None:
    seen: list[bool] = []

    def work() -> None:
        with StopSignal() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert seen == [False]


def test_silent_progress() -> None:
    progress = Progress()
    progress.start("adapt", 3)
    progress.advance(1, loss=0.5)
    progress.message("text")


def test_no_commit_outside_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "site" / "flexpose" / "runs.py"))
    assert "commit" not in versions()
