"""The corpus of malformed COCO files: each in a process of its own, with its seconds and its memory.

    python tests/long/corpus.py [--huge-mb 200] [--brackets-mb 2048] [--folder DIR]

Every file must give a DataError within 2 seconds of the processor and 200 MB of address space.
The huge files are written one at a time to the folder; Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flexpose.poses import read_poses
from hostile.corpus import HUGE, corpus, huge
from hostile.judge import LIMIT_MB, Verdict, judge

MAX_SECONDS = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--huge-mb", type=int, default=200, help="size of each huge file")
    parser.add_argument("--brackets-mb", type=int, default=2048, help="size of the file of brackets")
    parser.add_argument("--folder", type=Path, help="where the files are written; default: a temporary one")
    options = parser.parse_args()
    verdicts: dict[str, list[tuple[str, Verdict]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "poses.json"
        for case in corpus():
            path.write_bytes(case.data)
            verdicts[case.group].append((case.name, judge(read_poses, path)))
        for name in HUGE:
            size = options.brackets_mb if name == "brackets" else options.huge_mb
            with path.open("wb") as stream:
                stream.writelines(huge(name, size << 20))
            verdicts["huge files"].append((name, judge(read_poses, path)))
    print(f"{'group':16s} {'files':>5s} {'DataError':>9s} {'max s':>8s} {'max MB':>7s}")
    wrong = []
    for group, found in [*verdicts.items(), ("all", [one for part in verdicts.values() for one in part])]:
        typed = sum(verdict.error == "DataError" for _, verdict in found)
        seconds = max(verdict.seconds for _, verdict in found)
        grown = max(verdict.grown_mb for _, verdict in found)
        print(f"{group:16s} {len(found):5d} {typed:9d} {seconds:8.3f} {grown:7.1f}")
    for name, verdict in (one for part in verdicts.values() for one in part):
        if verdict.error != "DataError" or verdict.seconds > MAX_SECONDS or verdict.grown_mb > LIMIT_MB:
            wrong.append(f"{name}: {verdict}")
    print(
        "\n".join(wrong) if wrong else "every file was refused with its place, in time and in little memory"
    )
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
