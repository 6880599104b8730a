"""Install the built wheel into an environment of its own and use it there.

The environment holds the wheel and the distributions that its metadata asks for, nothing else. They are
linked from the environment that runs this script, so that torch is not downloaded twice; a dependency that
is used but not declared is therefore not there. Neither is a compiler: the PATH holds that environment alone.

A wheel is of one of two kinds, told apart by its tags: for every Python without the kernels for NVIDIA cards, or for
one Python with them.

Usage: python tools/check_wheel.py DIST_FOLDER
"""

from __future__ import annotations

import json
import os
import re
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
    "flexpose/cuda/csrc/flexpose_cuda.h",
    "flexpose/cuda/csrc/kernels.cuh",
}
CUDA_MODULE = f"flexpose/_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"


def fail(message: str) -> None:
    """Stop with a message."""
    sys.exit(f"check_wheel: {message}")


def has_kernels(wheel: Path) -> bool:
    """Whether the wheel's tags say that it has the kernels."""
    return "-cp311-abi3-" not in wheel.name


def check_platform(wheel: Path) -> None:
    """The platform tag must be what auditwheel finds, so that the wheel runs wherever it can be installed."""
    if not sys.platform.startswith("linux"):
        return
    text = run(sys.executable, "-m", "auditwheel", "show", wheel, cwd=wheel.parent)
    found = re.search(r'tag:\s+"(manylinux_\w+)"', text)
    if found is None or not wheel.stem.endswith(found[1]):
        fail(f"{wheel.name} is not what auditwheel says:\n{text}")


def check_contents(wheel: Path) -> list[str]:
    """Check name, size and files of the wheel; give the requirements of its metadata."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"][
        "version"
    ]
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    kinds = tuple(f"flexpose_pda-{version}-{tags}-" for tags in ("cp311-abi3", f"{here}-{here}"))
    if not wheel.name.startswith(kinds):
        fail(f"the wheel must be of version {version}, abi3 or of {here}, got {wheel.name}")
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        fail(f"the wheel must be below {MAX_WHEEL_BYTES} bytes, got {wheel.stat().st_size}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(archive.read(info).decode())
    if missing := NEEDED - names:
        fail(f"the wheel lacks {', '.join(sorted(missing))}")
    if {name for name in names if name.startswith("flexpose/_cuda")} != (
        {CUDA_MODULE} if has_kernels(wheel) else set()
    ):
        fail("a wheel for one Python must have the kernels, and one for all must not")
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


def run(*command: str | Path, cwd: Path, path: Path | None = None, code: int = 0) -> str:
    """Run a command, on a PATH of one folder if it is given; stop with its output unless it ends with `code`."""
    environment = dict(os.environ)
    if path is not None:
        environment = {
            "PATH": str(path),
            "HOME": str(cwd),
            "XDG_CACHE_HOME": str(cwd / "cache"),
            "NO_COLOR": "1",
        }
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != code:
        line = " ".join(str(part) for part in command)
        fail(f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if code else "")


def check_kernels(wheel: Path, python: Path, flexpose: Path, folder: Path) -> None:
    """The kernels are found where the wheel has them; where not, or without a card, the reason says what to do."""
    code = "import json, flexpose.cuda; print(json.dumps(flexpose.cuda.available()))"
    usable, reason = json.loads(run(python, "-c", code, cwd=folder, path=flexpose.parent))
    if has_kernels(wheel):
        code = "import flexpose._cuda as m; print(m.ARCHES, m.driver_version())"
        *arches, driver = run(python, "-c", code, cwd=folder, path=flexpose.parent).split()
        if arches != ["80", "86", "89", "90", "100", "120"]:
            fail(f"the kernels must be for all cards, got {arches}")
        if not usable and not re.search("NVIDIA driver|GPU|without CUDA|compute capability", reason):
            fail(f"the kernels are not found: {reason} (driver {driver})")
        return
    if usable or "flexpose build-cuda" not in reason:
        fail(f"a wheel without kernels must say how to make them, got: {reason}")
    said = run(flexpose, "build-cuda", "--arch", "90", cwd=folder, path=flexpose.parent, code=5)
    if "flexpose-pda[cuda-build]" not in said:
        fail(f"build-cuda must say what it needs, got: {said}")


def main() -> None:
    """Check the one wheel of the folder."""
    wheels = sorted(Path(sys.argv[1]).glob("*.whl"))
    if len(wheels) != 1:
        fail(f"{sys.argv[1]} must hold one wheel, got {len(wheels)}")
    wheel = wheels[0].resolve()
    requirements = check_contents(wheel)
    check_platform(wheel)
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
        check_kernels(wheel, python, flexpose, folder)
        doctor = json.loads(run(flexpose, "doctor", "--json", cwd=folder, path=scripts))
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
