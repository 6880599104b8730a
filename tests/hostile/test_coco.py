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
import json, resource, sys
from pathlib import Path
from corpus import HUGE, huge
from flexpose.errors import DataError
from flexpose.poses.formats.coco import read_coco

path, results = Path(sys.argv[1]), {}
for name in HUGE:
    with path.open("wb") as stream:
        stream.writelines(huge(name, 48 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_coco(path)
        said = "nothing"
    except DataError as err:
        said = str(err)
    results[name] = said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps(results))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_huge_files_are_refused_within_bounded_memory(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "huge.json")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert results.keys() == HUGE.keys()
    unit = 1 if sys.platform == "darwin" else 1024
    for name, (_, _, message) in HUGE.items():
        said, grown = results[name]
        assert message in said, name
        assert len(said) < 1000, name
        assert grown * unit < 80 << 20, (name, grown)
