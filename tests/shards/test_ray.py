"""Shards on a cluster of two nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from flexpose._atomic import atomic_write
from flexpose.errors import DataError, ResourceError, UsageError
from flexpose.poses import normalized_poses, synth_poses
from flexpose.raster import encode_pngs, pixels_from_normalized, rasterize
from flexpose.shards import RenderStyle, plan_render, verify_dataset, write_shards
from flexpose.shards.ray import map_shards, render_on_ray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flexpose.poses import PoseSet

SHARDS, SIZE = 8, 5
MEMORY = 80 << 20  # the least that Ray's object store takes is 75 MB
PATIENCE = 240  # seconds: on a busy machine a process of Ray's takes tens of them to come up


def content(poses: PoseSet, shard: int) -> bytes:
    part = poses[shard * SIZE : (shard + 1) * SIZE]
    pixels = pixels_from_normalized(normalized_poses(part), 32)
    return b"".join(encode_pngs(rasterize(pixels, part.visibility, part.skeleton, size_px=32), workers=1))


def render(folder: Path, poses: PoseSet, shard: int) -> dict[str, Any]:
    """Say that it has begun, wait for the word, write the shard in one step."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (folder / f"begun-{shard}-{node}").touch()
    data = content(poses, shard)
    (folder / f"shard-{shard}.tmp-{os.getpid()}").write_bytes(data[: len(data) // 2])
    wait_for((folder / "go").exists)
    atomic_write(folder / f"shard-{shard}", data)
    return {"shard": shard, "node": node, "sha256": hashlib.sha256(data).hexdigest()}


def wait_for(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def complain(message: str, shard: int) -> int:
    if shard == 3:
        raise DataError(message, path="poses.json", record=shard)
    return shard


def die(shard: int) -> None:
    os._exit(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_register_timeout_seconds", str(PATIENCE))
        patch.syspath_prepend(str(Path(__file__).parents[2]))
        utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray")
        cluster = utils.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False},
        )
        yield cluster
        cluster.shutdown()


@pytest.mark.timeout(2 * PATIENCE)
def test_a_node_is_killed_in_the_middle(cluster: Any, tmp_path: Path) -> None:
    import ray

    poses = synth_poses(SHARDS * SIZE, seed=1)
    second = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.wait_for_nodes(PATIENCE)

    def begun() -> set[str]:
        return {path.name.rsplit("-", 1)[1] for path in tmp_path.glob("begun-*")}

    def kill() -> None:
        wait_for(lambda: len(begun()) == 2)
        cluster.remove_node(second, allow_graceful=False)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    work = functools.partial(render, tmp_path, poses)
    results = dict(map_shards(work, range(SHARDS), address=cluster.address))
    killer.join()
    assert not ray.is_initialized(), "left as it was found"
    assert sorted(results) == list(range(SHARDS))
    assert {result["node"] for result in results.values()} < begun(), (
        "what the dead node had begun was done elsewhere"
    )
    for shard, result in results.items():
        data = (tmp_path / f"shard-{shard}").read_bytes()
        assert data == content(poses, shard), "the bytes of a single machine"
        assert result == {"shard": shard, "node": result["node"], "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.timeout(2 * PATIENCE)
def test_rendering_with_a_node_killed_gives_the_files_of_one_machine(cluster: Any, tmp_path: Path) -> None:
    poses, style = synth_poses(6000, seed=1), RenderStyle(size_px=64)
    single = plan_render(poses, tmp_path / "single", style, kind="webdataset", shard_size=250)
    write_shards(single)
    second = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.wait_for_nodes(PATIENCE)
    plan = plan_render(poses, tmp_path / "shared", style, kind="webdataset", shard_size=250)
    done: list[int] = []

    def kill(poses_done: int) -> None:
        done.append(poses_done)
        if len(done) == 5:
            cluster.remove_node(second, allow_graceful=False)

    # What a node that died elsewhere leaves behind.
    (tmp_path / "shared" / ".lock-00020-00021").write_text(
        '{"boot":"x","end":21,"first":20,"host":"elsewhere","pid":1}', encoding="utf-8"
    )
    report = render_on_ray(plan, address=cluster.address, progress=kill)
    assert (report.rendered, report.shards, report.complete) == (6000, 24, True)
    assert done == [250 * shards for shards in range(1, 25)]

    def files(folder: Path) -> dict[str, bytes]:
        names = (path for path in folder.iterdir() if not path.name.startswith("journal"))
        return {path.name: path.read_bytes() for path in names}

    assert files(tmp_path / "shared") == files(tmp_path / "single")
    assert verify_dataset(tmp_path / "shared", full=True).problems == ()


@pytest.mark.timeout(2 * PATIENCE)
def test_errors_come_as_they_are(cluster: Any) -> None:
    import ray

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with pytest.raises(DataError, match=r"poses\.json: record 3: wrong") as caught:
            list(map_shards(functools.partial(complain, "wrong"), range(6)))
        assert (caught.value.path, caught.value.record) == ("poses.json", 3)
        with pytest.raises(ResourceError, match="died too often"):
            list(map_shards(die, [0], max_retries=0))
        shards = map_shards(functools.partial(complain, ""), range(3))
        assert next(shards)[0] in range(3)
        shards.close()
        assert ray.is_initialized(), "left as it was found"
    finally:
        ray.shutdown()


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="cpus_per_task"):
        next(map_shards(die, [0], cpus_per_task=0))
    with pytest.raises(UsageError, match="max_retries"):
        next(map_shards(die, [0], max_retries=-1))


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"the extra \[ray\]"):
        next(map_shards(die, [0]))


def broken_ray(monkeypatch: pytest.MonkeyPatch, *outcomes: Exception | None) -> Any:
    """A stand-in for Ray whose start goes as told."""
    ray = mock.MagicMock()
    ray.is_initialized.return_value = False
    ray.init.side_effect = outcomes
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")
    return ray


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = broken_ray(monkeypatch, Exception("timed out during startup"), None)
    assert list(map_shards(die, [])) == []
    assert [call.kwargs["address"] for call in ray.init.call_args_list] == ["local"] * 2


def test_no_start_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = broken_ray(monkeypatch, *[Exception("timed out during startup")] * 4)
    with pytest.raises(ResourceError, match=r"did not start .* 4 tries: timed out during startup"):
        list(map_shards(die, []))
    assert ray.init.call_count == ray.shutdown.call_count == 4


def test_a_wrong_address_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = broken_ray(monkeypatch, ConnectionError("nobody there"))
    with pytest.raises(UsageError, match="nobody there"):
        list(map_shards(die, [], address="10.0.0.1:6379"))
    assert ray.init.call_count == 1
