"""Tensors on disk: bit for bit back, refused when anything is wrong with them, never half written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flexpose.checkpoint import (
    Checkpoints,
    content_hash,
    flat,
    flat_optimiser,
    load_module,
    load_optimiser,
    load_tensors,
    read_header,
    save_tensors,
    take,
)
from flexpose.errors import DataError, ResourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
]


def some_tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"b": torch.randn(3, 2), "a": torch.randn(()), "c/d": torch.arange(4), "empty": torch.empty(0, 5)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, some_tensors(), {"kind": "generator", "numbers": [1, 2.5], "text": "a"})
    return path


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_comes_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    before = {"x": (torch.randn(3, 5) * 10).to(dtype), "scalar": torch.tensor(1).to(dtype)}
    save_tensors(tmp_path / "x.safetensors", before, {"kind": "any"})
    after, _ = load_tensors(tmp_path / "x.safetensors", "any")
    assert set(after) == set(before)
    for name, tensor in before.items():
        assert after[name].dtype == dtype
        assert torch.equal(after[name], tensor)


def test_views_and_shared_tensors_are_written_by_value(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    before = {
        "transposed": base.T,
        "row": base[1],
        "again": base[1],
        "grad": base[0].clone().requires_grad_(),
    }
    save_tensors(tmp_path / "x.safetensors", before, {})
    after, _ = load_tensors(tmp_path / "x.safetensors")
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor)


def test_safetensors_itself_reads_it(file: Path) -> None:
    for name, tensor in load_file(file).items():
        assert torch.equal(tensor, some_tensors()[name])
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["flexpose"])
    assert header.pop("format") == 1
    assert header == {"kind": "generator", "numbers": [1, 2.5], "text": "a"}


def test_header_comes_back(file: Path) -> None:
    assert read_header(file, "generator")["numbers"] == [1, 2.5]
    assert load_tensors(file, "generator")[1] == read_header(file)


# --- content hash


def test_hash_does_not_depend_on_order_layout_or_place() -> None:
    tensors = some_tensors()
    same = content_hash(tensors)
    assert content_hash(dict(reversed(tensors.items()))) == same
    assert content_hash(tensors | {"b": tensors["b"].T.contiguous().T}) == same
    assert content_hash(tensors | {"b": torch.cat([tensors["b"], tensors["b"]])[3:]}) == same
    assert (
        content_hash({name: t.clone().requires_grad_(t.is_floating_point()) for name, t in tensors.items()})
        == same
    )


def change(name: str) -> dict[str, torch.Tensor]:
    tensors = some_tensors()
    b = tensors["b"]
    if name == "bit":
        raw = b.view(torch.int32).clone()
        raw[2, 1] ^= 1
        return tensors | {"b": raw.view(torch.float32)}
    if name == "negative zero":
        return tensors | {"a": torch.tensor(-0.0)}
    changed = {
        "shape": {"b": b.reshape(2, 3)},
        "type": {"b": b.view(torch.int32)},
        "more": {"e": torch.zeros(1)},
        "no elements, another shape": {"empty": torch.empty(5, 0)},
    }.get(name)
    if changed is not None:
        return tensors | changed
    return {{"b": "bb"}.get(key, key): value for key, value in tensors.items()}


@pytest.mark.parametrize("name", ["bit", "shape", "type", "more", "name", "no elements, another shape"])
def test_hash_sees(name: str) -> None:
    assert content_hash(change(name)) != content_hash(some_tensors())


def test_hash_sees_the_sign_of_zero() -> None:
    zero = some_tensors() | {"a": torch.tensor(0.0)}
    assert content_hash(change("negative zero")) != content_hash(zero)


def test_hash_outlives_the_file(file: Path) -> None:
    assert content_hash(load_tensors(file)[0]) == content_hash(some_tensors())


# --- files that are refused


class Payload:
    """What a pickle of a stranger does: it runs."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["FLEXPOSE_TEST_PAYLOAD"],)


def raw(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def meta(header: str = '{"kind": "generator"}') -> dict[str, Any]:
    return {"__metadata__": {"flexpose": header}}


def hostile(name: str, good: bytes) -> bytes:
    torch_zip = b"PK\x03\x04" + good[4:]
    cases: dict[str, bytes] = {
        "empty": b"",
        "seven bytes": good[:7],
        "cut in the header": good[:40],
        "cut in the data": good[:-3],
        "garbage": bytes(range(256)) * 8,
        "text": b'{"kind": "generator"}\n',
        "a zip": torch_zip,
        "a header of 2^63 bytes": struct.pack("<Q", 1 << 63) + good[8:],
        "a header longer than the file": struct.pack("<Q", len(good) * 2) + good[8:],
        "header that is no JSON": raw(b"{" * 50),
        "deeply nested header": raw(json.dumps(meta("[" * 200_000)).encode()),
        "data beyond the file": raw(json.dumps(meta() | {"x": entry([4], [0, 16])}).encode(), b"\0" * 8),
        "shape that overflows": raw(
            json.dumps(meta() | {"x": entry([1 << 40, 1 << 40], [0, 8])}).encode(), b"\0" * 8
        ),
        "overlapping tensors": raw(
            json.dumps(meta() | {"x": entry([2], [0, 8]), "y": entry([2], [4, 12])}).encode(), b"\0" * 12
        ),
        "unknown type": raw(json.dumps(meta() | {"x": entry([2], [0, 8], "F33")}).encode(), b"\0" * 8),
    }
    return cases[name]


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "seven bytes",
        "cut in the header",
        "cut in the data",
        "garbage",
        "text",
        "a zip",
        "a header of 2^63 bytes",
        "a header longer than the file",
        "header that is no JSON",
        "deeply nested header",
        "data beyond the file",
        "shape that overflows",
        "overlapping tensors",
        "unknown type",
    ],
)
@pytest.mark.parametrize("read", [read_header, load_tensors])
def test_broken_file(file: Path, name: str, read: Callable[..., Any]) -> None:
    file.write_bytes(hostile(name, file.read_bytes()))
    with pytest.raises(DataError, match="is no safetensors file") as caught:
        read(file, "generator")
    assert caught.value.path == file
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_under_another_name_is_not_run(
    file: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    made = file.parent / "made-by-the-pickle"
    monkeypatch.setenv("FLEXPOSE_TEST_PAYLOAD", str(made))
    file.write_bytes(pickle.dumps(Payload(), protocol))
    with pytest.raises(DataError, match="is no safetensors file"):
        load_tensors(file, "generator")
    assert not made.exists()


def test_torch_file_under_another_name(file: Path) -> None:
    torch.save({"x": torch.zeros(3)}, file)
    with pytest.raises(DataError, match="is no safetensors file"):
        load_tensors(file)


@pytest.mark.parametrize("metadata", [None, {"made": "elsewhere"}, {"flexpose": "[1]"}, {"flexpose": "null"}])
def test_safetensors_of_others(file: Path, metadata: dict[str, str] | None) -> None:
    save_file({"x": torch.zeros(3)}, str(file), metadata=metadata)
    with pytest.raises(DataError, match="not one of flexpose"):
        load_tensors(file)


def test_kind_is_checked(file: Path) -> None:
    with pytest.raises(DataError, match="kind: expected kind 'beta', got 'generator'") as caught:
        load_tensors(file, "beta")
    assert caught.value.field == "kind"


@pytest.mark.parametrize("number", [2, 10**9, "1", None, [1]])
def test_newer_format_is_refused(file: Path, number: Any) -> None:
    header = json.dumps({"kind": "generator", "format": number})
    save_file({"x": torch.zeros(3)}, str(file), metadata={"flexpose": header})
    with pytest.raises(DataError, match="expected format 1") as caught:
        load_tensors(file)
    assert caught.value.field == "format"


@pytest.mark.parametrize("read", [read_header, load_tensors])
def test_missing_file(tmp_path: Path, read: Callable[..., Any]) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(UsageError, match="no such file"):
            read(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_a_number(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    path = tmp_path / "x.safetensors"
    bad = torch.zeros(4, 4, dtype=dtype)
    bad[3, 2] = value
    save_tensors(path, {"fine": torch.zeros(3), "layers.0.weight": bad}, {})
    with pytest.raises(DataError, match="NaN or infinity") as caught:
        load_tensors(path)
    assert (caught.value.path, caught.value.field) == (path, "layers.0.weight")


def test_too_many_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    many = {f"x{i}": torch.zeros(1) for i in range(10_001)}
    save_file(many, str(path), metadata={"flexpose": "{}"})
    with pytest.raises(DataError, match="at most 10000 tensors, got 10001"):
        load_tensors(path)
    many.popitem()
    save_file(many, str(path), metadata={"flexpose": "{}"})
    assert len(load_tensors(path)[0]) == 10_000


# --- modules and optimisers


def a_module() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def test_module_comes_back() -> None:
    source, target = a_module(), a_module()
    torch.nn.init.normal_(source[0].weight)
    load_module(target, source.state_dict(), path="a.safetensors")
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"0.weight": None}, None, r"missing \['0.weight'\]"),
        ({"2.weight": torch.zeros(1)}, None, r"unknown \['2.weight'\]"),
        ({"0.weight": torch.zeros(3, 4)}, "0.weight", r"expected \[4, 3\], got \[3, 4\]"),
        ({"0.bias": torch.zeros(4, 1)}, "0.bias", r"expected \[4\], got \[4, 1\]"),
    ],
)
def test_module_that_does_not_fit(changes: dict[str, Any], field: str | None, message: str) -> None:
    module = a_module()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    tensors = {k: v for k, v in (before | changes).items() if v is not None}
    with pytest.raises(DataError, match=message) as caught:
        load_module(module, tensors, path="a.safetensors")
    assert (caught.value.path, caught.value.field) == ("a.safetensors", field)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), "a refused file must change nothing"


def test_prefixes() -> None:
    tensors = {"weight": torch.zeros(1), "block/weight": torch.ones(1)}
    both = flat("G", tensors) | flat("G_ema", {"weight": torch.full((1,), 2.0)})
    assert set(both) == {"G/weight", "G/block/weight", "G_ema/weight"}
    assert take(both, "G").keys() == tensors.keys()
    assert take(both, "G_ema")["weight"].item() == 2


def trained(steps: int, through: Path | None) -> torch.Tensor:
    """A parameter after `steps` of Adam, its state through a file half way where one is named."""
    torch.manual_seed(2)
    target = torch.randn(5)
    value = torch.nn.Parameter(torch.zeros(5))
    optimiser = torch.optim.Adam([{"params": [value]}], lr=0.1, betas=(0.5, 0.9))
    for step in range(steps):
        if through is not None and step == steps // 2:
            save_tensors(through, flat("v", {"v": value}) | flat_optimiser("adam", optimiser), {})
            tensors, _ = load_tensors(through)
            value = torch.nn.Parameter(tensors["v/v"].clone())
            optimiser = torch.optim.Adam([{"params": [value]}], lr=0.1, betas=(0.5, 0.9))
            load_optimiser(optimiser, take(tensors, "adam"))
        optimiser.zero_grad()
        ((value - target) ** 2).sum().backward()
        optimiser.step()
    return value.detach()


def test_optimiser_comes_back_bit_for_bit(tmp_path: Path) -> None:
    assert torch.equal(trained(10, None), trained(10, tmp_path / "x.safetensors"))


@pytest.mark.parametrize(
    "tensors",
    [
        {"1/exp_avg": torch.zeros(5)},
        {"-1/exp_avg": torch.zeros(5)},
        {"x": torch.zeros(5)},
        {"0/exp_avg": torch.zeros(4)},
    ],
)
def test_optimiser_that_does_not_fit(tensors: dict[str, torch.Tensor]) -> None:
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(5))])
    with pytest.raises(DataError, match="expected") as caught:
        load_optimiser(optimiser, tensors)
    assert caught.value.field in tensors
    assert not optimiser.state_dict()["state"]


# --- Checkpoints


def state(step: int) -> dict[str, torch.Tensor]:
    return {"x": torch.full((3,), float(step))}


def test_keeps_two_and_points_to_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest() is None
    for step in (5, 10, 15, 120):
        path = checkpoints.save(step, state(step), {"note": "a"})
        assert json.loads((tmp_path / "checkpoints" / "latest.json").read_text()) == {
            "file": path.name,
            "step": step,
        }
        tensors, header = Checkpoints(tmp_path / "checkpoints").latest() or ({}, {})
        assert torch.equal(tensors["x"], state(step)["x"])
        assert (header["kind"], header["step"], header["note"]) == ("checkpoint", step, "a")
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    stems = [f"{step:09d}" for step in (15, 120)]
    assert names == sorted(
        ["latest.json", *(f"{s}{end}" for s in stems for end in (".json", ".safetensors"))]
    )
    assert json.loads((tmp_path / "checkpoints" / f"{stems[1]}.json").read_text())["step"] == 120


def test_keep_is_a_setting(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in range(1, 7):
        checkpoints.save(step, state(step), {})
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [
        f"{s:09d}.safetensors" for s in (4, 5, 6)
    ]


class Stop(Exception):  # noqa: N818
    """Where a kill would have come."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, state(1), {})
    checkpoints.save(2, state(2), {})
    yield checkpoints
    tensors, header = Checkpoints(checkpoints.folder).latest() or ({}, {})
    assert torch.equal(tensors["x"], state(header["step"])["x"])


@pytest.mark.parametrize("rename", [1, 2, 3])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "no space"), Stop()])
def test_pointer_is_last_and_never_names_half_a_file(
    one: Checkpoints, monkeypatch: pytest.MonkeyPatch, rename: int, failure: Exception
) -> None:
    """Saving renames weights, sidecar and pointer, in this order; each of the three is made to fail."""
    replace, calls = Path.replace, 0

    def fail(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == rename:
            raise failure
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(ResourceError if isinstance(failure, OSError) else Stop):
            one.save(3, state(3), {})
    assert (one.latest() or ({}, {}))[1]["step"] == 2
    assert not list(one.folder.glob("*.tmp-*"))
    assert not list(one.folder.glob(".*"))
    one.save(3, state(3), {})
    assert (one.latest() or ({}, {}))[1]["step"] == 3
    assert len(list(one.folder.glob("*.safetensors"))) == 2


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_full_disk_leaves_the_old_weights_whole(
    file: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = file.read_bytes()

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os if call == "fsync" else Path, "fsync" if call == "fsync" else "replace", full)
        with pytest.raises(ResourceError, match="no room left"):
            save_tensors(file, {"x": torch.ones(1000)}, {"kind": "generator"})
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_real_limit_of_the_system_within_the_writer(file: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX")
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(ResourceError, match="could not be written") as caught:
            save_tensors(file, {"x": torch.ones(1 << 18)}, {"kind": "generator"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 4
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "pointer",
    [
        '{"file": "../../weights.safetensors", "step": 1}',
        '{"file": "/etc/passwd", "step": 1}',
        '{"file": "sub/000000002.safetensors", "step": 1}',
        '{"file": "..", "step": 1}',
        '{"file": "", "step": 1}',
        '{"file": 7, "step": 1}',
        '{"step": 1}',
        '["000000002.safetensors"]',
        '"000000002.safetensors"',
        '{"file": "0000',
        "",
    ],
)
def test_pointer_that_leads_astray(tmp_path: Path, pointer: str) -> None:
    folder = tmp_path / "run" / "checkpoints"
    checkpoints = Checkpoints(folder)
    checkpoints.save(2, state(2), {})
    for elsewhere in (tmp_path / "weights.safetensors", folder / "sub" / "000000002.safetensors"):
        save_tensors(elsewhere, state(9), {"kind": "checkpoint", "step": 9})
    (folder / "latest.json").write_text(pointer, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        checkpoints.latest()
    assert str(folder / "latest.json") in str(caught.value)


def test_pointer_to_a_file_that_is_gone_or_cut(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(2, state(2), {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="is no safetensors file"):
        checkpoints.latest()
    path.unlink()
    with pytest.raises(DataError, match=r"000000002\.safetensors") as caught:
        checkpoints.latest()
    assert caught.value.field == "file"


@pytest.mark.parametrize("step", [-1, "2", None, 1.5])
def test_checkpoint_that_does_not_say_where_it_stands(tmp_path: Path, step: Any) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(2, state(2), {})
    save_tensors(path, state(2), {"kind": "checkpoint", "step": step})
    with pytest.raises(DataError, match="step: expected a number of steps"):
        checkpoints.latest()


def test_another_kind_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(2, state(2), {})
    save_tensors(path, state(2), {"kind": "generator", "step": 2})
    with pytest.raises(DataError, match="expected kind 'checkpoint'"):
        checkpoints.latest()


def test_left_over_of_a_killed_writer_goes_in_time(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1), {})
    (tmp_path / ".000000002.tmp-4711.safetensors").write_bytes(b"half")
    for step in (2, 3):
        checkpoints.save(step, state(step), {})
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [f"{s:09d}.safetensors" for s in (2, 3)]
