"""The promise that no picture is read: watched from within a process of its own, with traps beside the poses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flexpose.poses import write_poses

from .. import tiny

CODE = """
import os, sys
sys.path.insert(0, {root!r})
IMAGES = {{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm"}}
written, read, network = set(), [], []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        path = os.path.abspath(os.fsdecode(path))
        if os.path.splitext(path)[1].lower() not in IMAGES:
            return
        if flags & (os.O_WRONLY | os.O_RDWR):
            written.add(path)
        elif path not in written:  # its own grids are synced to disk
            read.append(path)
    elif event.startswith("socket.") and event != "socket.gethostname":  # the lock names its host
        network.append(event)

sys.addaudithook(watch)
import tests.tiny as tiny
from flexpose.adapt import adapt
from flexpose.poses import read_poses
from flexpose.sample import SampleConfig, sample

shots = read_poses({shots!r})
adapt(shots, tiny.ADAPT, {folder!r}, source={source!r})
sample({folder!r}, SampleConfig(n=5, dtype="float32"), {folder!r} + "/out.json")
libraries = sorted(set(sys.modules) & {{"PIL", "cv2", "torchvision", "imageio", "skimage", "matplotlib"}})
found = list(read)
network_calls = list(network)
open({decoy!r}, "rb").close()  # the watch must see this one
import json
print(json.dumps({{"read": found, "libraries": libraries, "network": network_calls,
                   "watching": read == [*found, {decoy!r}], "written": len(written)}}))
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the traps are named pipes")
def test_adapt_opens_no_picture(tmp_path: Path, source: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_poses(tiny.target_poses(), data / "poses.json")
    document = json.loads((data / "poses.json").read_text(encoding="utf-8"))
    for image in document["images"]:
        image["file_name"] = f"{image['id']}.jpg"
        # Whoever opens a pipe that nobody writes to waits for ever: native code is caught by the time limit.
        os.mkfifo(data / image["file_name"])
    (data / "poses.json").write_text(json.dumps(document), encoding="utf-8")
    decoy = tmp_path / "decoy.png"
    decoy.write_bytes(b"\x89PNG")
    code = CODE.format(
        root=str(Path(__file__).resolve().parents[2]),
        shots=str(data / "poses.json"),
        folder=str(tmp_path / "run"),
        source=str(source),
        decoy=str(decoy),
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["watching"], "the watch sees a picture being opened"
    assert told["written"] > 0, "the run does write its grids"
    assert told["read"] == []
    assert told["libraries"] == []
    assert told["network"] == []
