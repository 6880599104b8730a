"""Every malformed COCO file gives a typed error that says where, without much memory; nothing aborts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from flexpose.errors import DataError, UsageError
from flexpose.poses import read_poses
from flexpose.poses.formats.coco import read_coco

from .corpus import ANY, HUGE, Case, corpus, good, text

CASES = corpus()


def test_the_corpus_is_large_and_starts_from_a_good_file(tmp_path):
    assert len(CASES) >= 150
    assert Counter(case.name for case in CASES).most_common(1)[0][1] == 1
    assert corpus() == CASES
    path = tmp_path / "good.json"
    path.write_bytes(text(good()))
    assert len(read_coco(path)) == 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_file_is_refused(case: Case, tmp_path):
    path = tmp_path / "poses.json"
    path.write_bytes(case.data)
    with pytest.raises(DataError) as caught:
        read_poses(path)
    error = caught.value
    assert error.path == str(path)
    if case.record != ANY:
        assert error.record == case.record, str(error)
    if case.field != ANY:
        assert error.field == case.field, str(error)
    assert case.message in str(error)
    assert len(str(error)) < len(str(path)) + 600
    assert "\n" not in str(error)


def test_paths_that_are_no_file_are_the_callers_mistake(tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "nothing.json")
    for path in (tmp_path / "nothing.json", tmp_path, link, f"{tmp_path}/a\0b.json", tmp_path / ("x" * 5000)):
        with pytest.raises(UsageError, match="path must be a file"):
            read_coco(path)


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "good.json").write_bytes(text(good()))
    (tmp_path / "bad.json").write_bytes(text(good())[:-20])
    for name in ("good", "bad"):
        (tmp_path / f"{name}_link.json").symlink_to(tmp_path / f"{name}.json")
    assert len(read_coco(tmp_path / "good_link.json")) == 3
    with pytest.raises(DataError) as caught:
        read_coco(tmp_path / "bad_link.json")
    assert caught.value.path == str(tmp_path / "bad_link.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_an_endless_stream_of_brackets_stops_at_once(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    sent = 0

    def feed() -> None:
        nonlocal sent
        with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as stream:
            stream.write(b'{"info":')
            while True:
                sent += stream.write(b"[" * 65536)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with pytest.raises(DataError, match="levels"):
            read_coco(pipe)
    finally:
        feeder.join(timeout=30)
    assert sent < 2_000_000


CHILD = """
import json, sys
from pathlib import Path
from corpus import HUGE, corpus, huge
from judge import judge
from flexpose.poses import read_poses

path, verdicts = Path(sys.argv[1]), {}
for case in corpus():
    path.write_bytes(case.data)
    verdicts[case.name] = judge(read_poses, path)
for name in HUGE:
    with path.open("wb") as stream:
        stream.writelines(huge(name, 20 << 20))
    verdicts["huge " + name] = judge(read_poses, path)
print(json.dumps({name: (found.error, found.message, found.grown_mb) for name, found in verdicts.items()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and limits of the address space")
def test_every_file_is_refused_in_little_memory(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "poses.json")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    verdicts = json.loads(run.stdout)
    assert len(verdicts) == len(CASES) + len(HUGE)
    for name, (error, message, grown_mb) in verdicts.items():
        assert error == "DataError", (name, error, message)
        # A string or a number within its limit is held, nothing that is larger.
        assert grown_mb < 40, (name, grown_mb)
        assert len(message) < 1000, name
    for name, (_, _, part) in HUGE.items():
        assert part in verdicts[f"huge {name}"][1], name


def test_the_judge_tells_what_went_wrong(tmp_path):
    if sys.platform != "linux":
        pytest.skip("needs /proc and limits of the address space")
    code = """
import os, sys
from pathlib import Path
from judge import judge

def die(path): os.abort()
def hold(path): bytearray(300 << 20)
def grow(path): bytearray(b"x") * (100 << 20)

for act in (die, hold, grow):
    verdict = judge(act, Path("."))
    print(verdict.error, verdict.grown_mb > 90)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
    )
    assert run.stdout.splitlines() == ["signal 6 False", "MemoryError False", " True"]
