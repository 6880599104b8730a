"""The build driver: what it finds, what it caches, how two of them share, and what it says when it cannot."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flexpose.cuda import build as build_module
from flexpose.cuda import toolkit
from flexpose.cuda.build import build
from flexpose.cuda.cache import Build, builds, cache_folder, lock, source_folder, source_hash
from flexpose.errors import DataError, DeviceError, ResourceError, UsageError


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


@pytest.fixture
def no_nvcc(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(toolkit.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def compiled(monkeypatch):
    """The compilers replaced: how often they ran, and with what."""
    calls = []

    def compile_(arches, **options):
        calls.append((arches, options))
        return f"module {len(calls)}".encode(), "warm words of a compiler"

    monkeypatch.setattr(build_module, "_compile", compile_)
    return calls


def fake_nvcc(folder: Path, text: str) -> Path:
    path = folder / "bin" / "nvcc"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_without_nvcc_the_error_says_how_to_get_it(no_nvcc):
    with pytest.raises(DeviceError, match="there is no nvcc on the PATH, in CUDA_HOME") as error:
        toolkit.find_toolkit()
    assert "flexpose-pda[cuda-build]" in error.value.__notes__[0]


def test_nvcc_is_looked_for_on_the_path_then_in_cuda_home(no_nvcc, monkeypatch, tmp_path):
    home = fake_nvcc(tmp_path / "home", "release 13.1, V13.1.80")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"/nowhere{os.pathsep}/bin")
    assert toolkit.find_toolkit() == toolkit.Toolkit(home, (13, 1), "CUDA_HOME")
    on_path = fake_nvcc(tmp_path / "path", "release 12.9, V12.9.1")
    monkeypatch.setenv("PATH", f"{on_path.parent}{os.pathsep}/bin")
    assert toolkit.find_toolkit() == toolkit.Toolkit(on_path, (12, 9), "the PATH")


def test_an_nvcc_that_does_not_answer_is_passed_over_and_named(no_nvcc, monkeypatch, tmp_path):
    mute = fake_nvcc(tmp_path, "something else")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/bin")
    with pytest.raises(DeviceError, match=re.escape(str(mute))):
        toolkit.find_toolkit()


@pytest.mark.parametrize("arches", [[], ["75"], ["9.0"], ["sm_90"], ["90", "x"], ["90;rm"]])
def test_arches_must_be_capabilities(cache, arches):
    with pytest.raises(UsageError, match="arches must be compute capabilities"):
        build(arches)


def test_one_intermediate_form_makes_all_machine_code():
    assert build_module._target_flags(("80", "90", "120")) == (
        "'-gencode=arch=compute_80,code=[sm_80,sm_90,sm_120]' -gencode=arch=compute_120,code=compute_120"
    )


def test_a_second_build_is_taken_from_the_cache(cache, compiled, tmp_path):
    first = build(["90", "80", "90"], jobs=3)
    assert compiled == [(("80", "90"), {"jobs": 3, "strict": False, "verbose": False})]
    assert first.log
    assert first.module.read_bytes() == b"module 1"
    again = build(["80", "90"], out=tmp_path / "out")
    assert len(compiled) == 1
    assert again.module.parent == tmp_path / "out"
    assert again.module.read_bytes() == b"module 1"
    build(["80"])
    assert len(compiled) == 2
    build(["80"], force=True)
    assert len(compiled) == 3
    assert [path.name.split("-")[-2:] for path in builds()] == [["80", "90"], ["gnu", "80"]]


@pytest.mark.parametrize("damage", ["cut", "gone", "record"])
def test_a_damaged_build_is_made_again(cache, compiled, damage):
    module = build(["90"]).module
    record = module.with_name("build.json")
    if damage == "cut":
        module.write_bytes(b"modul")
    elif damage == "gone":
        module.unlink()
    else:
        record.write_text('{"arches": ', encoding="utf-8")
    with pytest.raises(DataError):
        Build.read(module.parent)
    assert build(["90"]).module.read_bytes() == b"module 2"
    assert Build.read(module.parent).arches == ("90",)


def test_a_build_that_fails_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr(build_module, "_compile", lambda *a, **k: (_ for _ in ()).throw(DeviceError("no")))
    with pytest.raises(DeviceError):
        build(["90"])
    assert builds() == []


def _hold(
    folder: str, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event
) -> None:
    with lock(Path(folder), 1.0):
        ready.set()
        done.wait(30)


@pytest.mark.skipif(sys.platform == "win32", reason="needs file locks")
def test_a_lock_names_its_process_and_times_out(cache, compiled):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    folder = Build.folder(cache, ("90",))
    other = context.Process(target=_hold, args=(str(folder), ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(ResourceError, match=f"process {other.pid} is building here"):
            build(["90"], timeout_s=0.2)
        assert compiled == []
        done.set()
        build(["90"], timeout_s=60)
        assert len(compiled) == 1
    finally:
        done.set()
        other.join()


def test_what_the_compilers_say_is_in_the_error(cache, monkeypatch, tmp_path):
    bad = tmp_path / "csrc"
    shutil.copytree(source_folder(), bad)
    (bad / "check.cpp").write_text("this is not C++;\n", encoding="utf-8")
    monkeypatch.setattr(build_module, "source_folder", lambda: bad)
    monkeypatch.setattr(build_module, "_KERNEL_SOURCES", ())
    monkeypatch.setattr(build_module, "_HOST_SOURCES", ("check.cpp",))
    with pytest.raises(DeviceError, match=r"(?s)the build of flexpose\._cuda failed:.*check\.cpp"):
        build(emulate=True)


def test_the_hash_is_of_the_sources(monkeypatch, tmp_path):
    before = source_hash()
    copy = tmp_path / "csrc"
    shutil.copytree(source_folder(), copy)
    monkeypatch.setattr("flexpose.cuda.cache.source_folder", lambda: copy)
    source_hash.cache_clear()
    try:
        assert source_hash() == before
        source = copy / "shape.cuh"
        source.write_bytes(source.read_bytes() + b"\n")
        source_hash.cache_clear()
        assert source_hash() != before
    finally:
        source_hash.cache_clear()


@pytest.fixture(scope="module")
def native():
    """The module for one kind of card, without a warning; from the cache if the sources have not changed."""
    try:
        toolkit.find_toolkit()
        toolkit.find_ninja()
    except DeviceError as error:
        pytest.skip(str(error))
    return build(["90"], strict=True).module


def test_nvcc_builds_the_module_and_it_loads_without_a_driver(native):
    code = (
        "import sys; from pathlib import Path; from flexpose.cuda.load import load_module;"
        "m = load_module(Path(sys.argv[1])); print(m.ARCHES, m.EMULATED, m.driver_version() >= 0, m.SOURCE_HASH)"
    )
    done = subprocess.run([sys.executable, "-c", code, native], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["90", "False", "True", source_hash()]


def test_the_module_needs_no_cuda_library_and_shows_one_symbol(native):
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    text = subprocess.run(["readelf", "-dW", native], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"Shared library: \[(.*?)\]", text)
    assert needed
    assert not [name for name in needed if "cuda" in name or "torch" in name]
    text = subprocess.run(
        ["readelf", "--dyn-syms", "-W", native], capture_output=True, text=True, check=True
    ).stdout
    shown = [
        line.split()[-1] for line in text.splitlines() if " GLOBAL DEFAULT " in line and " UND " not in line
    ]
    assert shown == ["PyInit__cuda"]


def test_without_a_card_a_launch_is_an_error_and_no_crash(native):
    code = """
import sys
from pathlib import Path
from flexpose.cuda.load import load_module
m = load_module(Path(sys.argv[1]))
if m.driver_version():
    sys.exit(0)
try:
    m.filter(dtype="float32", taps=1, up=1, down=1, before=0, x_shape=(1, 1, 1, 1), out_size=(1, 1), gain=1.0,
             x=16, y=16, epilogue=m.Epilogue(), stream=0)
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, native], capture_output=True, text=True, check=True)
    assert done.stdout == "" or "flexpose._cuda: CUDA driver version is insufficient" in done.stdout
