"""Whether the kernels can run, and the reason with the command that mends it; never an exception."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from flexpose.cuda import load
from flexpose.cuda.cache import Build, cache_folder
from flexpose.errors import DeviceError


@pytest.fixture(autouse=True)
def _undecided(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    decisions = (load.find, load.available)  # a test may put something else into their place
    for decision in decisions:
        decision.cache_clear()
    yield
    for decision in decisions:
        decision.cache_clear()


@pytest.fixture
def found(monkeypatch):
    """A module that was found, and a torch that is built for CUDA."""
    module = SimpleNamespace(ARCHES="80 90", driver_version=lambda: 13000)
    monkeypatch.setattr(load, "find", lambda: load.Found(module, "flexpose._cuda of a test"))
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    return module


def card(monkeypatch, *capabilities):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device}")


def test_without_a_module_the_command_that_makes_it_is_named(monkeypatch):
    monkeypatch.setattr(load.importlib.util, "find_spec", lambda name: None)
    usable, reason = load.available()
    assert not usable
    assert "flexpose build-cuda" in reason
    with pytest.raises(DeviceError, match="flexpose build-cuda"):
        load.kernels()


def test_a_damaged_build_is_a_reason_and_not_loaded():
    build = Build.publish(cache_folder(), ("90",), b"no module")
    build.module.write_bytes(b"cut")
    reason = load.find().reason
    assert "is not what was built" in reason
    assert "flexpose build-cuda --force" in reason


def test_a_build_that_is_no_module_is_a_reason():
    Build.publish(cache_folder(), ("90",), b"no module")
    assert load.find().module is None
    assert "flexpose build-cuda --force" in load.find().reason


def test_each_obstacle_has_its_reason(monkeypatch, found):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in load.available()[1]
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    load.available.cache_clear()
    found.driver_version = lambda: 0
    assert "no NVIDIA driver" in load.available()[1]
    load.available.cache_clear()
    found.driver_version = lambda: 13000
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no usable GPU" in load.available()[1]


@pytest.mark.parametrize(
    ("arches", "capability", "runs"),
    [
        ("80 90", (9, 0), True),
        ("80", (8, 9), True),  # machine code of the same generation
        ("86", (8, 0), False),
        ("80", (9, 0), True),  # from the PTX
        ("80 120", (9, 0), False),  # the PTX is too new
        ("80", (7, 5), False),
    ],
)
def test_machine_code_and_ptx_decide_which_cards_are_served(monkeypatch, found, arches, capability, runs):
    found.ARCHES = arches
    card(monkeypatch, capability)
    usable, reason = load.available()
    assert usable is runs
    if not runs and capability >= (8, 0):
        assert f"flexpose build-cuda --arch {capability[0]}{capability[1]}" in reason


def test_every_card_of_the_machine_counts(monkeypatch, found):
    card(monkeypatch, (9, 0), (7, 0))
    assert load.available() == (
        False,
        "card 1 has compute capability 7.0; the kernels need 8.0 or above",
    )


def test_importing_the_package_loads_neither_torch_nor_the_module():
    code = "import sys, flexpose.cuda, flexpose.cuda.build; print(sys.modules.keys() & {'torch', 'flexpose._cuda'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
