"""Shards of strangers: everything that a data set would not hold is refused, by name, and in little memory."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from flexpose import _rust
from flexpose.errors import DataError, FlexposeError, UsageError
from flexpose.poses import synth_poses
from flexpose.shards import (
    RenderStyle,
    list_tar,
    open_dataset,
    plan_render,
    read_keypoint_shard,
    verify_dataset,
    write_shards,
)
from flexpose.shards.dataset import PoseImages

from .judge import LIMIT_MB, judge

if TYPE_CHECKING:
    from pathlib import Path


def member(name: str, data: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def with_checksum(data: bytes, start: int, field: bytes) -> bytes:
    """The archive with a field of its first header replaced, and the sum made right again."""
    header = bytearray(data[:512])
    header[start : start + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


GOOD = archive(member("00000001.json"), member("00000001.png", b"y" * 700))

TARS = {
    "absolute": archive(member("/etc/passwd")),
    "parent": archive(member("../up")),
    "parent_inside": archive(member("a/../../up")),
    "dot": archive(member("./a")),
    "empty_part": archive(member("a//b")),
    "windows_drive": archive(member("C:evil")),
    "backslash": archive(member("..\\up")),
    "blank": archive(member("a b")),
    "not_ascii": archive(member("f\u00fc")),
    "line_feed": archive(member("a\nb")),
    "symlink": archive(member("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "hardlink": archive(member("a", b"", type=tarfile.LNKTYPE, linkname="../b")),
    "character_device": archive(member("a", b"", type=tarfile.CHRTYPE)),
    "block_device": archive(member("a", b"", type=tarfile.BLKTYPE)),
    "pipe": archive(member("a", b"", type=tarfile.FIFOTYPE)),
    "folder": archive(member("a", b"", type=tarfile.DIRTYPE)),
    "pax_size_lie": archive(member("a", pax_headers={"size": "999999999999"}), form=tarfile.PAX_FORMAT),
    "gnu_long_name": archive(member("a" * 200), form=tarfile.GNU_FORMAT),
    "gnu_sparse": archive(member("a", type=tarfile.GNUTYPE_SPARSE)),
    "prefix": archive(member("p" * 90 + "/" + "n" * 60)),
    "size_beyond_the_file": with_checksum(GOOD, 124, b"00000100000\0"),
    "size_of_eight_gigabytes": with_checksum(GOOD, 124, b"77777777777\0"),
    "size_base_256": with_checksum(GOOD, 124, b"\x80" + b"\xff" * 11),
    "size_negative": with_checksum(GOOD, 124, b"-0000000001\0"),
    "size_empty": with_checksum(GOOD, 124, b"\0" * 12),
    "size_no_octal": with_checksum(GOOD, 124, b"00000000009\0"),
    "wrong_sum": GOOD[:10] + b"Z" + GOOD[11:],
    "no_magic": with_checksum(GOOD, 257, b"\0" * 8),
    "truncated_header": GOOD[:300],
    "truncated_data": GOOD[:1800],
    "truncated_before_the_end": GOOD[:2560],
    "one_empty_block": GOOD[: 2560 + 512],
    "something_after_the_end": GOOD + b"hidden",
    "nothing": b"",
    "gzip": b"\x1f\x8b\x08\0" + bytes(600),
    "text": b"hello" * 300,
}


def test_a_plain_archive_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(GOOD)
    assert list_tar(tmp_path / "a.tar") == [("00000001.json", 512, 1), ("00000001.png", 1536, 700)]


@pytest.mark.parametrize("name", TARS)
def test_a_hostile_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(TARS[name])
    with pytest.raises(DataError) as caught:
        list_tar(path)
    assert caught.value.path == str(path)
    assert len(str(caught.value)) < 600


def test_a_million_entries_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    one = GOOD[:1024]
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        for _ in range(10):
            file.write(one * 10_000)
        file.write(bytes(1024))
    with pytest.raises(DataError, match="must not hold more than 50000 files"):
        list_tar(path, max_entries=50_000)
    with pytest.raises(DataError, match="must not hold more than 1000 files"):
        list_tar(path, max_entries=1000)
    with pytest.raises(DataError, match=r"00000001.json: must not be larger than 0 bytes, got 1"):
        list_tar(path, max_entry=0)


def keypoint_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def good_tensors(n: int = 3, k: int = 2) -> dict[str, np.ndarray]:
    return {
        "keypoints": np.zeros((n, k, 2), np.float32),
        "visibility": np.full((n, k), 2, np.uint8),
        "index": np.arange(n, dtype=np.int64),
        "id": np.arange(n, dtype=np.int64),
        "frame": np.ones((n, 3)),
        "label": np.full(n, -1, np.int32),
    }


ABOUT = {"format": "1", "labels": "null", "skeleton": ""}


@pytest.fixture
def shard(tmp_path: Path) -> bytes:
    plan = plan_render(synth_poses(5, seed=1), tmp_path / "made", RenderStyle(size_px=8), kind="keypoints")
    write_shards(plan)
    return (tmp_path / "made" / "shard-00000.safetensors").read_bytes()


def test_a_keypoint_shard_with_any_bit_torn_is_read_or_refused(tmp_path: Path, shard: bytes) -> None:
    """Most bits of the header and all lengths matter; those of coordinates may make other coordinates."""
    path = tmp_path / "a.safetensors"
    rng = np.random.default_rng(0)
    refused = 0
    for place in [*range(400), *rng.integers(400, len(shard), 300)]:
        torn = bytearray(shard)
        torn[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(torn)
        try:
            read = read_keypoint_shard(path)
        except DataError:
            refused += 1
        else:
            assert np.isfinite(read.keypoints).all()
    assert refused > 200
    for length in range(0, len(shard), 37):
        path.write_bytes(shard[:length])
        with pytest.raises(DataError):
            read_keypoint_shard(path)
    path.write_bytes(shard + b"\0")
    with pytest.raises(DataError):
        read_keypoint_shard(path)


def edited(shard: bytes, **changes: Any) -> bytes:
    (length,) = struct.unpack("<Q", shard[:8])
    header = json.loads(shard[8 : 8 + length])
    for tensor, change in changes.items():
        header[tensor] |= change
    return keypoint_file(header, shard[8 + length :])


@pytest.mark.parametrize(
    "changes",
    [
        {"keypoints": {"shape": [2**62, 4, 2]}},
        {"keypoints": {"shape": [5, 13, 3]}},
        {"keypoints": {"shape": [5, 2**40, 2]}},
        {"keypoints": {"shape": []}},
        {"keypoints": {"dtype": "F64"}},
        {"keypoints": {"data_offsets": [0, 120]}},
        {"index": {"data_offsets": [2**63, 2**63 + 40]}},
        {"index": {"data_offsets": [40, 0]}},
        {"index": {"data_offsets": [-1, 40]}},
        {"frame": {"extra": 1}},
        {"__metadata__": {"format": "2"}},
        {"__metadata__": {"labels": "[1]"}},
    ],
    ids=str,
)
def test_a_lying_header_is_refused(tmp_path: Path, shard: bytes, changes: Any) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(edited(shard, **changes))
    with pytest.raises(DataError):
        read_keypoint_shard(path)


@pytest.mark.parametrize(
    "data",
    [
        keypoint_file(b"{}"),
        keypoint_file(b"{}", length=2**63),
        keypoint_file(b"{}", length=2**64 - 1),
        keypoint_file(b"[" * 100_000),
        keypoint_file(b'{"a":' * 50_000),
        keypoint_file(
            {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
        ),
        keypoint_file(b"\xff\xfe"),
        b"",
        b"\0" * 7,
    ],
    ids=range(9),
)
def test_a_hostile_header_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(DataError):
        read_keypoint_shard(path)


@pytest.mark.parametrize(
    ("tensor", "value", "told"),
    [
        ("keypoints", np.nan, "keypoints"),
        ("keypoints", np.inf, "keypoints"),
        ("frame", np.nan, "frame"),
        ("visibility", 3, "visibility"),
        ("label", 0, "label must be -1"),
        ("label", -2, "label must be -1"),
        ("index", -5, "index must ascend"),
        ("index", 3, "index must ascend"),
    ],
)
def test_numbers_that_no_writer_writes_are_refused(
    tmp_path: Path, tensor: str, value: Any, told: str
) -> None:
    tensors = good_tensors()
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata=ABOUT)
    # Written by the library, whose headers are laid out in another way: take its numbers under ours.
    tensors[tensor].flat[0] = value
    order = ("frame", "id", "index", "keypoints", "label", "visibility")
    end, header = 0, {"__metadata__": ABOUT}
    names = {"float64": "F64", "int64": "I64", "float32": "F32", "int32": "I32", "uint8": "U8"}
    for name in order:
        array = tensors[name]
        header[name] = {
            "dtype": names[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(keypoint_file(text, b"".join(tensors[name].tobytes() for name in order)))
    with pytest.raises(DataError, match=told):
        read_keypoint_shard(path)


def test_a_large_file_is_refused_by_its_length(tmp_path: Path, shard: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(shard)
    with path.open("r+b") as file:
        file.truncate(10 << 30)  # a hole: no bytes on disk
    with pytest.raises(DataError, match="must not be larger than 1073741824 bytes"):
        read_keypoint_shard(path)
    with pytest.raises(DataError):
        read_keypoint_shard(path, max_bytes=1 << 40)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    plan = plan_render(synth_poses(9, seed=1), tmp_path / "out", RenderStyle(size_px=8), shard_size=4)
    write_shards(plan)
    return tmp_path / "out"


def change_index(dataset: Path, **fields: Any) -> None:
    path = dataset / "index.json"
    index = json.loads(path.read_text())
    for key, value in fields.items():
        if key in index:
            index[key] = value
        else:
            index["shards"][0][key] = value
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    "fields",
    [
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": "shard-00001.tar"},
        {"first": 1},
        {"count": 2**64},
        {"count": -1},
        {"blake3": "00"},
        {"poses": None},
        {"poses": {"file": "../x", "bytes": 1, "blake3": "0" * 64}},
        {"format": 2},
        {"kind": "pickle"},
        {"plan": "0" * 64},
        {"skeleton": "x"},
        {"shards": []},
        {"bytes": 1e400},
    ],
    ids=str,
)
def test_a_lying_index_is_refused(dataset: Path, fields: dict[str, Any]) -> None:
    change_index(dataset, **fields)
    with pytest.raises(DataError, match=r"index\.json"):
        open_dataset(dataset)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 1_000_000, b'{"format":1}', b"{}" + b" " * 100]
)
def test_a_hostile_plan_or_index_is_refused(dataset: Path, text: bytes) -> None:
    (dataset / "index.json").write_bytes(text)
    with pytest.raises(DataError, match=r"index\.json"):
        open_dataset(dataset)
    (dataset / "plan.json").write_bytes(text)
    with pytest.raises(DataError, match=r"plan\.json"):
        open_dataset(dataset)
    with pytest.raises(FlexposeError):
        verify_dataset(dataset, full=True)


def test_a_changed_plan_is_refused(dataset: Path) -> None:
    path = dataset / "plan.json"
    for before, after in (('"size_px":8', '"size_px":9'), ('"format":1', '"format": 1')):
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        with pytest.raises(DataError, match=r"plan\.json"):
            open_dataset(dataset)
        path.write_text(text)
    open_dataset(dataset)


@pytest.mark.parametrize("name", ["shard-00001.tar", "shard-00001.safetensors"])
def test_a_link_in_the_place_of_a_shard_is_no_shard(dataset: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (dataset / name).rename(elsewhere)
    (dataset / name).symlink_to(elsewhere)
    (problem,) = verify_dataset(dataset).problems
    assert (problem.shard, problem.file) == (1, name)


def test_a_journal_of_rubbish_is_no_journal(tmp_path: Path) -> None:
    plan = plan_render(synth_poses(9, seed=1), tmp_path, RenderStyle(size_px=8), shard_size=4)
    line = {"shard": 0, "files": [{"file": "../x", "bytes": 0, "blake3": "0" * 64}], "ok": 4, "bad": 0}
    rubbish = b"\0" * 100 + b"\n{}\n\xff\xfe\n" + json.dumps(line).encode() + b"\n" + b'{"shard":1'
    (tmp_path / "journal.jsonl").write_bytes(rubbish)
    assert write_shards(plan).written == 3
    assert b"\0" not in (tmp_path / "journal.jsonl").read_bytes()


def replaced(dataset: Path, shard: int, data: bytes) -> None:
    """Another content for a tar, with journal and index that agree: a stranger's data set."""
    path = dataset / f"shard-{shard:05d}.tar"
    path.write_bytes(data)
    size, digest = _rust.hash_file(str(path))
    index = json.loads((dataset / "index.json").read_text())
    index["shards"][shard] |= {"bytes": size, "blake3": digest}
    (dataset / "index.json").write_text(json.dumps(index))


def chunk(kind: bytes, data: bytes) -> bytes:
    import zlib

    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, data: bytes = b"x", color: int = 2, end: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"") + end


@pytest.mark.parametrize(
    "picture",
    [
        png(65535, 65535),
        png(8, 9),
        png(8, 8, color=0),
        png(8, 8, data=b""),
        png(8, 8, end=b"more"),
        png(8, 8)[:-1],
        png(8, 8)[:-5] + b"\0" * 5,
        png(8, 8)[:20],
        b"GIF89a",
        b"",
        png(8, 8)[:33] + struct.pack(">I", 2**31) + b"IDAT",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x") + chunk(b"IEND", b""),
    ],
    ids=range(12),
)
def test_a_stranger_s_picture_is_not_taken_for_whole(dataset: Path, picture: bytes) -> None:
    old = list_tar(dataset / "shard-00001.tar")
    data = (dataset / "shard-00001.tar").read_bytes()
    members = [member(entry.name, data[entry.offset : entry.offset + entry.size]) for entry in old]
    replaced(dataset, 1, archive(*members))
    assert verify_dataset(dataset, full=True).problems == ()
    members[3] = member(old[3].name, picture)
    replaced(dataset, 1, archive(*members))
    (problem,) = verify_dataset(dataset, full=True).problems
    assert problem.shard == 1
    assert "PNG" in problem.message


@pytest.mark.parametrize("name", ["symlink", "parent", "truncated_data", "pax_size_lie"])
def test_a_stranger_s_archive_is_not_taken_for_whole(dataset: Path, name: str) -> None:
    replaced(dataset, 2, TARS[name])
    (problem,) = verify_dataset(dataset, full=True).problems
    assert problem.shard == 2


def hole(path: Path, size: int) -> None:
    """Make the file so long without a byte on the disk."""
    with path.open("r+b") as file:
        file.truncate(size)


LYING_PLANS: list[dict[str, Any]] = [
    {"count": 2**62, "shards": [[0, 2**62]]},
    {"count": 200_000, "shards": [[i, i + 1] for i in range(200_000)]},
    {"labels": ["x"] * 200_000},
    {"image": {"channels": 3, "height": 2**40, "width": 2**40}},
]


def first_picture(folder: Path) -> None:
    """What training does with a data set."""
    PoseImages(folder)[0]


def verified(folder: Path) -> None:
    for problem in verify_dataset(folder, full=True).problems:
        raise DataError(problem.message, path=folder)


def test_no_claim_takes_memory(tmp_path: Path, dataset: Path, shard: bytes) -> None:
    """Each in a process of its own that may take little: what a file claims is not believed before it is there."""
    tar, poses = tmp_path / "a.tar", tmp_path / "a.safetensors"
    verdicts = {}
    for name, data in TARS.items():
        tar.write_bytes(data)
        verdicts[name] = judge(list_tar, tar)
    tar.write_bytes(with_checksum(GOOD, 124, b"77777777777\0"))
    hole(tar, 9 << 30)
    verdicts["tar_hole"] = judge(list_tar, tar)
    tar.write_bytes(GOOD[:1024] * 50_000)
    verdicts["many_files"] = judge(lambda path: list_tar(path, max_entries=1000), tar)
    for claim in (2**20, 2**32, 2**40, 2**62):
        poses.write_bytes(edited(shard, keypoints={"shape": [claim, 13, 2]}))
        verdicts[f"poses_{claim}"] = judge(read_keypoint_shard, poses)
        poses.write_bytes(keypoint_file(b"{}", length=claim))
        verdicts[f"header_{claim}"] = judge(read_keypoint_shard, poses)
    poses.write_bytes(keypoint_file(b"{}", length=2**40))
    hole(poses, 900 << 20)
    verdicts["poses_hole"] = judge(read_keypoint_shard, poses)
    plan, index = (json.loads((dataset / name).read_text()) for name in ("plan.json", "index.json"))
    for number, lie in enumerate(LYING_PLANS):
        (dataset / "plan.json").write_text(
            json.dumps(plan | lie, separators=(",", ":"), sort_keys=True) + "\n"
        )
        shards = lie.get("shards", plan["shards"])
        about = {"count": lie.get("count", 9), "plan": _rust.hash_file(str(dataset / "plan.json"))[1]}
        files = (index["shards"] * len(shards))[: len(shards)]
        about["shards"] = [
            file | {"count": end - first, "first": first}
            for file, (first, end) in zip(files, shards, strict=True)
        ]
        (dataset / "index.json").write_text(
            json.dumps(index | about, separators=(",", ":"), sort_keys=True) + "\n"
        )
        # A picture is drawn from poses and settings; nothing else is looked at.
        for call in (verified, first_picture) if "count" in lie else (verified,):
            verdicts[f"plan {number}, {call.__name__}"] = judge(call, dataset)
    for name, verdict in verdicts.items():
        assert verdict.error in ("DataError", "UsageError"), (name, verdict)
        assert verdict.grown_mb < LIMIT_MB, (name, verdict)
        assert verdict.seconds < 2, (name, verdict)


def test_a_folder_without_a_plan_is_no_data_set(tmp_path: Path) -> None:
    for call in (open_dataset, verify_dataset):
        with pytest.raises(UsageError, match="is no data set"):
            call(tmp_path)
