"""Refuse what must never be in the tree: code from data, unsafe loaders, machine paths, wrong install lines.

Usage: python tools/deny.py [ROOT]. Prints one line a finding, exits 1 if there is any. Needs no package.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_CALLS = {
    "eval": "runs code from a string",
    "exec": "runs code from a string",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "pickle.load": "runs code from a file",
    "yaml.load": "runs code from a file: use safe_load",
    "yaml.unsafe_load": "runs code from a file: use safe_load",
}
_TEXT = {
    re.compile(r"(?<![\w.~*}\])/-])/(?:work|root|home|Users|farm)/\w"): "names a machine's own path",
    re.compile(r"pip3? install (?:-U |--upgrade )?flexpose(?!-pda)\b"): "the distribution is flexpose-pda",
}
_BINARY = {".png", ".npz", ".npy", ".safetensors", ".so", ".whl", ".gz", ".tar"}


def _files(root: Path) -> list[Path]:
    """Tracked files and new ones that git does not ignore."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [root / name for name in listed.split("\0") if name and (root / name).is_file()]


def _keyword(call: ast.Call, name: str) -> object:
    """The constant that `call` gives for the keyword `name`; None if it gives none."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else "a variable"
    return None


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _in_python(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        for module in _imported(node):
            if module.split(".")[0] in _MODULES:
                yield node.lineno, f"imports {module}: runs code from a file"  # type: ignore[attr-defined]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in _CALLS:
            yield node.lineno, f"{name}() {_CALLS[name]}"
        if name == "torch.load" and _keyword(node, "weights_only") is not True:
            yield node.lineno, "torch.load() without weights_only=True"
        if _keyword(node, "allow_pickle") not in {None, False}:
            yield node.lineno, "allow_pickle must be False"
        if name in {"np.load", "numpy.load"} and _keyword(node, "allow_pickle") is not False:
            yield node.lineno, f"{name}() must say allow_pickle=False"
        if _keyword(node, "shell") not in {None, False}:
            yield node.lineno, "shell must be False"


def findings(root: Path) -> Iterator[str]:
    """Every forbidden thing under `root`, as ``path:line: reason``."""
    itself = Path(__file__).resolve()
    for path in _files(root):
        if path.suffix in _BINARY or path.name.endswith(".lock") or path.resolve() == itself:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        where = path.relative_to(root).as_posix()
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, reason in _TEXT.items():
                if pattern.search(line):
                    yield f"{where}:{number}: {reason}"
        # Tests make hostile files and copy objects between processes; they read what they wrote themselves.
        if path.suffix in {".py", ".pyi"} and not where.startswith("tests/"):
            try:
                yield from (f"{where}:{number}: {reason}" for number, reason in _in_python(text))
            except SyntaxError as error:
                yield f"{where}:{error.lineno}: is no Python: {error.msg}"


def main() -> int:
    """Print the findings under the given root."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
    found = list(findings(root))
    print(*found or ["deny list: nothing found"], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
