"""The whole path on real poses: COCO to a motion-capture studio from 16 guide poses, by the commands of the README.

    FLEXPOSE_DATA=... python benchmarks/real_path.py WORK

`WORK` keeps the runs; a second call goes on where the first stopped. The table, the commands and the curves go to
``benchmarks/results/real_path.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flexpose.runs import versions
from harness import machine

RESULTS = Path(__file__).resolve().parent / "results"
SOURCE, SHOTS, TARGET = "person_keypoints_train2017_body13.json", "lab_cmu_shots16.json", "lab_cmu.npz"


def commands(work: str, data: str, samples: int) -> list[tuple[str, list[str]]]:
    """(what it is, arguments of flexpose)."""
    source, adapted = f"{work}/coco", f"{work}/lab_cmu"
    poses = f"{data}/{SOURCE}"
    out = [part for ending in ("md", "json") for part in ("--out", f"{work}/report.{ending}")]
    return [
        ("train-beta", ["train-beta", poses, source, "--preset", "cpu-hour", "--resume"]),
        ("pretrain", ["pretrain", poses, source, "--preset", "cpu-hour", "--resume"]),
        ("adapt", ["adapt", f"{data}/{SHOTS}", adapted, "--source", source, "--resume"]),
        ("sample", ["sample", adapted, "-n", str(samples), "--out", f"{work}/sampled.json"]),
        ("sample the source", ["sample", source, "-n", str(samples), "--out", f"{work}/source_sampled.json"]),
        (
            "evaluate",
            [
                "evaluate",
                f"{work}/sampled.json",
                f"{data}/{TARGET}",
                "--shots",
                f"{data}/{SHOTS}",
                "--source",
                poses,
                "--beta",
                source,
                *out,
            ],
        ),
        (
            "evaluate the source generator",
            [
                "evaluate",
                f"{work}/source_sampled.json",
                poses,
                "--no-baselines",
                "--out",
                f"{work}/source.md",
            ],
        ),
    ]


def last_records(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The last value of each key in a JSON lines file."""
    found: dict[str, Any] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            found |= {key: record[key] for key in keys if key in record}
    return found


def seconds_of_training(path: Path) -> float:
    """Time of a run from the rates in its statistics, also where it was broken and resumed."""
    total, before = 0.0, 0
    for line in path.read_text().splitlines():
        record = json.loads(line)
        rate = record.get("steps_per_s")
        if rate:
            total += (record["step"] - before) / rate
            before = record["step"]
    return round(total, 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--samples", type=int, default=50_000)
    options = parser.parse_args()
    data = os.environ.get("FLEXPOSE_DATA")
    if not data:
        parser.error("FLEXPOSE_DATA must name the folder of the real poses")
    options.work.mkdir(parents=True, exist_ok=True)
    seconds_file = options.work / "seconds.json"
    seconds: dict[str, float] = json.loads(seconds_file.read_text()) if seconds_file.exists() else {}
    shown = []
    for name, arguments in commands(str(options.work), data, options.samples):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-m", "flexpose", *arguments], check=True)
        # A run that was finished before is only looked at again, and keeps the time that it took.
        seconds[name] = max(round(time.monotonic() - begin, 1), seconds.get(name, 0.0))
        seconds_file.write_text(json.dumps(seconds))
        line = shlex.join(["flexpose", *arguments])
        shown.append(line.replace(data, "$FLEXPOSE_DATA").replace(str(options.work), "work"))
    coco = options.work / "coco"
    for verb in ("train-beta", "pretrain"):
        seconds[verb] = seconds_of_training(coco / verb / "stats.jsonl")
    training = last_records(
        coco / "pretrain" / "stats.jsonl",
        ("kimg", "loss_flow", "mapping_rmse_px", "loss_drawing", "error_px"),
    )
    beta = last_records(
        coco / "train-beta" / "stats.jsonl", ("held_out_mean_px", "held_out_median_px", "held_out_p95_px")
    )
    report = (options.work / "report.md").read_text()
    source_report = (options.work / "source.md").read_text()
    facts = {
        "versions": versions(),
        "machine": machine(),
        "seconds": seconds,
        "pretrain": training,
        "beta": beta,
    }
    RESULTS.mkdir(exist_ok=True)
    record = facts | {"commands": shown, "report": json.loads((options.work / "report.json").read_text())}
    (RESULTS / "real_path.json").write_text(json.dumps(record, indent=2) + "\n")
    text = [
        "# COCO to lab_cmu from 16 guide poses",
        "",
        "Made by `benchmarks/real_path.py`. The target's rows that are guide poses are left out.",
        "",
        "```",
        *shown,
        "```",
        "",
        f"Machine: {json.dumps(facts['machine'])}. Versions: {json.dumps(facts['versions'])}.",
        "",
        "Seconds of each command (a shared machine: the order of magnitude counts): "
        + json.dumps(seconds)
        + ".",
        "",
        f"beta on held-out COCO poses: {json.dumps(beta)}.",
        "",
        "## Adapted poses against the target",
        "",
        report,
        "",
        "## The source generator against COCO",
        "",
        source_report,
    ]
    (RESULTS / "real_path.md").write_text("\n".join(text).rstrip() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
