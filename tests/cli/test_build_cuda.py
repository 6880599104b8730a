"""The command `flexpose build-cuda`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from flexpose.cli import app
from flexpose.cuda import build as build_module
from flexpose.cuda.build import ARCHES

pytestmark = pytest.mark.usefixtures("_cache")


@pytest.fixture
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def built(monkeypatch):
    calls = []

    def compile_(arches, **options):
        calls.append((arches, options))
        return (
            b"module",
            "ptxas info    : Compiling entry function 'main' for 'sm_90'\nptxas info    : Used 8 registers\n",
        )

    monkeypatch.setattr(build_module, "_compile", compile_)
    return calls


def test_options_reach_the_build(built, tmp_path):
    done = CliRunner().invoke(
        app,
        [
            "build-cuda",
            "--arch",
            "90,80",
            "--arch",
            "86",
            "-j",
            "2",
            "--strict",
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert built == [(("80", "86", "90"), {"jobs": 2, "strict": True, "verbose": False})]
    assert [path.name.split(".")[0] for path in (tmp_path / "out").iterdir()] == ["_cuda"]


def test_without_a_card_all_arches_are_built(built, monkeypatch):
    monkeypatch.setattr(build_module, "native_arch", lambda: None)
    assert CliRunner().invoke(app, ["build-cuda"]).exit_code == 0
    assert built[0][0] == ARCHES
    monkeypatch.setattr(build_module, "native_arch", lambda: "89")
    assert CliRunner().invoke(app, ["build-cuda"]).exit_code == 0
    assert built[1][0] == ("89",)


def test_statistics_build_again_and_are_printed(built):
    for _ in range(2):
        done = CliRunner().invoke(app, ["build-cuda", "--arch", "90", "--ptxas-stats"])
        assert "| main | 8 |" in done.output
    assert len(built) == 2


def test_a_wrong_arch_is_wrong_usage(built):
    done = CliRunner().invoke(app, ["build-cuda", "--arch", "70"])
    assert done.exit_code == 2
    assert "compute capabilities of 8.0 and above" in done.output


def test_without_nvcc_the_exit_code_is_that_of_devices(monkeypatch):
    from flexpose.cuda import toolkit

    monkeypatch.setattr(toolkit, "_candidates", list)
    done = CliRunner().invoke(app, ["build-cuda", "--arch", "90"])
    assert done.exit_code == 5
    assert "flexpose-pda[cuda-build]" in done.output
