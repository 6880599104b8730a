"""The package as a whole: what importing it costs, its version, its public names, what must not be in it."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flexpose
from flexpose import errors

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "python" / "flexpose"
IN_REPOSITORY = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout")


def loaded_by(code: str) -> set[str]:
    """The top-level modules in memory after `code` ran in a fresh interpreter."""
    script = (
        f"{code}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import flexpose", {"torch", "scipy", "numpy", "typer"}),
        (
            "import flexpose.skeleton, flexpose.poses, flexpose.raster, flexpose.metrics, flexpose.shards",
            {"torch"},
        ),
        ("import flexpose.cli", {"torch", "scipy", "numpy", "pydantic"}),
        (
            "import flexpose; flexpose.rasterize, flexpose.PoseSet, flexpose.load_skeleton('body13')",
            {"torch"},
        ),
    ],
)
def test_importing_loads_no_more_than_it_needs(code: str, absent: set[str]) -> None:
    assert not loaded_by(code) & absent


def test_version_is_written_once() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"][
        "version"
    ]
    assert flexpose.__version__ == cargo
    assert importlib.metadata.version("flexpose-pda") == cargo
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{cargo}]" in changelog


@pytest.mark.parametrize("name", flexpose.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(flexpose, name) is not None
    assert name in dir(flexpose)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rasterise'"):
        _ = flexpose.rasterise  # type: ignore[attr-defined]


def test_licence_is_in_the_tree_and_in_the_metadata() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert importlib.metadata.metadata("flexpose-pda")["License-Expression"] == "Apache-2.0"


def test_package_is_typed() -> None:
    assert (SOURCES / "py.typed").is_file()
    assert (SOURCES / "_rust.pyi").is_file()


@pytest.mark.parametrize(
    ("kind", "code", "also"),
    [
        (errors.UsageError, 2, ValueError),
        (errors.ConfigError, 2, ValueError),
        (errors.DataError, 3, ValueError),
        (errors.ResourceError, 4, OSError),
        (errors.DeviceError, 5, RuntimeError),
        (errors.Interrupted, 130, errors.FlexposeError),
    ],
)
def test_errors_carry_their_exit_code(
    kind: type[errors.FlexposeError], code: int, also: type[Exception]
) -> None:
    error = kind("what was wrong")
    assert error.exit_code == code
    assert isinstance(error, (also, errors.FlexposeError))
    assert str(error) == "what was wrong"


LAYERS = (
    {"errors"},
    {"skeleton"},
    {"poses", "raster", "metrics"},
    {"ops", "shards"},
    {"models"},
    {"pretrain", "adapt", "sample", "evaluate"},
    {"match"},
    {"cli"},
)


def imported_parts(path: Path) -> set[str]:
    """Which parts of flexpose a file imports when it runs; imports for the type checker do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = [ast.Pass()]
    package = ["flexpose", *path.relative_to(SOURCES).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return {name.split(".")[1] for name in names if name.startswith("flexpose.")}


def test_imports_go_one_way() -> None:
    """A lower layer never runs code of a higher one, not even by an import inside a function."""
    rank = {name: level for level, names in enumerate(LAYERS) for name in names}
    wrong = []
    for path in sorted(SOURCES.rglob("*.py")):
        own = path.relative_to(SOURCES).with_suffix("").parts[0]
        if own in rank:
            higher = [part for part in imported_parts(path) if rank.get(part, 0) > rank[own]]
            wrong += [f"{path.relative_to(SOURCES)} imports {part}" for part in higher]
    assert not wrong


def run_deny(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "deny.py"), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@IN_REPOSITORY
def test_nothing_forbidden_is_in_the_tree() -> None:
    done = run_deny(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load('x')",
        "eval('1')",
        "where = '" + "/".join(["", "root", "data"]) + "'",
        "# " + " ".join(["pip", "install", "flexpose"]),
    ],
)
def test_deny_list_bites(planted: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "hostile.py").write_text("import pickle\n", encoding="utf-8")
    (tmp_path / "good.py").write_text("model.eval()\nnp.load('x', allow_pickle=False)\n", encoding="utf-8")
    assert run_deny(tmp_path).returncode == 0
    (tmp_path / "bad.py").write_text(planted + "\n", encoding="utf-8")
    done = run_deny(tmp_path)
    assert done.returncode == 1
    assert "bad.py:" in done.stdout
    assert "good.py" not in done.stdout
