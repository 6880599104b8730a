"""Install the built wheel into an environment of its own and use it there.

The environment holds the wheel and the distributions that its metadata asks for, nothing else. They are
linked from the environment that runs this script, so that torch is not downloaded twice; a dependency that
is used but not declared is therefore not there.

Usage: python tools/check_wheel.py DIST_FOLDER
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
MAX_WHEEL_BYTES = 20_000_000
NEEDED = {
    "flexpose/py.typed",
    "flexpose/_rust.pyi",
    "flexpose/_rust.abi3.so",
    "flexpose/skeleton/definitions/body13.toml",
}


def fail(message: str) -> None:
    """Stop with a message."""
    sys.exit(f"check_wheel: {message}")


def check_contents(wheel: Path) -> list[str]:
    """Check name, size and files of the wheel; give the requirements of its metadata."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"][
        "version"
    ]
    if not wheel.name.startswith(f"flexpose_pda-{version}-cp311-abi3-"):
        fail(f"the wheel must be of version {version} and abi3, got {wheel.name}")
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        fail(f"the wheel must be below {MAX_WHEEL_BYTES} bytes, got {wheel.stat().st_size}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(archive.read(info).decode())
    if missing := NEEDED - names:
        fail(f"the wheel lacks {', '.join(sorted(missing))}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        fail("the wheel lacks the licence")
    strangers = {name.split("/")[0] for name in names} - {"flexpose"}
    if any(not name.endswith((".dist-info", ".libs")) for name in strangers):
        fail(f"the wheel holds more than the package: {', '.join(sorted(strangers))}")
    return about.get_all("Requires-Dist") or []


def closure(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """The installed distributions that the requirements need, directly or not."""
    found: dict[str, metadata.Distribution] = {}
    todo = [(Requirement(text), "") for text in requirements]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        extras = ["", *requirement.extras]
        if name in found and not requirement.extras:
            continue
        found[name] = metadata.distribution(name)
        todo += [(Requirement(text), extra) for text in found[name].requires or [] for extra in extras]
    return found


def link(distributions: dict[str, metadata.Distribution], folder: Path) -> None:
    """Link the top-level files and folders of the distributions into `folder`."""
    for distribution in distributions.values():
        base = Path(str(distribution.locate_file("")))
        for top in {file.parts[0] for file in distribution.files or []} - {".."}:
            if not (folder / top).exists():
                (folder / top).symlink_to(base / top)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command; stop with its output if it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        line = " ".join(str(part) for part in command)
        fail(f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Check the one wheel of the folder."""
    wheels = sorted(Path(sys.argv[1]).glob("*.whl"))
    if len(wheels) != 1:
        fail(f"{sys.argv[1]} must hold one wheel, got {len(wheels)}")
    wheel = wheels[0].resolve()
    requirements = check_contents(wheel)
    with tempfile.TemporaryDirectory(prefix="flexpose-wheel-") as name:
        folder = Path(name).resolve()
        venv.create(folder / "venv", with_pip=False)
        base = str(folder / "venv")
        paths = sysconfig.get_paths(vars={"base": base, "platbase": base})
        scripts, packages = Path(paths["scripts"]), Path(paths["purelib"])
        link(closure(requirements), packages)
        python = scripts / "python"
        pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
        run(*pip, "check", cwd=folder)
        where = run(python, "-c", "import flexpose; print(flexpose.__file__)", cwd=folder).strip()
        if not Path(where).is_relative_to(packages):
            fail(f"flexpose must come from the wheel, got {where}")
        flexpose = scripts / "flexpose"
        doctor = json.loads(run(flexpose, "doctor", "--json", cwd=folder))
        if doctor["problems"] or not doctor["torch"]["available"]:
            fail(f"the doctor found: {doctor['problems']}")
        run(flexpose, "poses", "synth", "poses.json", "-n", "20", "--seed", "1", cwd=folder)
        run(flexpose, "poses", "convert", "poses.json", "poses.npz", cwd=folder)
        run(flexpose, "render", "poses.npz", "poses.tar", "--size", "64", cwd=folder)
        run(flexpose, "render", "poses.json", "grid.png", "--grid", cwd=folder)
        if not (folder / "grid.png").read_bytes().startswith(b"\x89PNG"):
            fail("the grid is no PNG")
        for command in ("pretrain", "train-beta", "adapt", "sample", "evaluate"):
            run(flexpose, command, "--help", cwd=folder)
        modules = "flexpose.pretrain, flexpose.adapt, flexpose.sample, flexpose.evaluate, flexpose.metrics"
        run(python, "-W", "error", "-c", f"import {modules}", cwd=folder)
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, installs, imports and runs on its own")


if __name__ == "__main__":
    main()
