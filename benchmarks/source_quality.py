"""How good a source is: its generator against held-out poses of its own training set, and what its beta misreads.

    FLEXPOSE_DATA=... python benchmarks/source_quality.py [SOURCE] [POSES]

`SOURCE` is a run folder, a source file or a name of the zoo (the default). Samples, the poses that training never saw
and their mirror images are compared in frame coordinates; the same is done with as many poses that training saw, which
is the floor that no generator gets below. Results go to ``benchmarks/results/source_quality.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from flexpose._threads import compute_dtype
from flexpose.metrics import frechet_distance, mmd2, precision_recall
from flexpose.poses import read_poses
from flexpose.pretrain.beta import read_images
from flexpose.pretrain.data import holdout_split
from flexpose.runs import versions
from flexpose.sample.loop import Sampler, load_sampler
from flexpose.zoo import DEFAULT, source_file
from harness import machine

RESULTS = Path(__file__).resolve().parent / "results"
POSES, TARGETS = (
    "person_keypoints_train2017_body13.json",
    ("lab_cmu.npz", "lab_bandai.npz", "penn_action.npz"),
)
SEEDS = 5


def figures(fake: Any, real: Any) -> dict[str, float]:
    precision, recall = precision_recall(real, fake, k=5)
    return {
        "fd": frechet_distance(fake, real),
        "mmd2": mmd2(fake, real),
        "precision": precision,
        "recall": recall,
    }


def spread(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Mean and standard deviation of each figure over the draws."""
    return {
        name: [float(np.mean(values)), float(np.std(values, ddof=1))]
        for name in rows[0]
        for values in [[row[name] for row in rows]]
    }


def reading_error(sampler: Sampler, poses: Any, dtype: Any) -> float:
    """Mean distance in pixels between joints and what beta reads of their drawing."""
    read = read_images(sampler.beta, sampler.drawing.images(poses), dtype=dtype)
    return float(np.linalg.norm(read - poses, axis=-1).mean() * sampler.drawing.size_px / 2)


def main() -> None:
    data = Path(os.environ["FLEXPOSE_DATA"])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", nargs="?", default=DEFAULT)
    parser.add_argument("poses", nargs="?", type=Path, default=data / POSES)
    parser.add_argument("--out", type=Path, default=RESULTS / "source_quality")
    given = parser.parse_args()
    name = Path(given.source).name  # and no folder of this machine
    sampler = load_sampler(source_file(given.source))
    dtype: Any = compute_dtype("auto")
    poses = sampler.drawing.framed(read_poses(given.poses)).normalized.astype(np.float64)
    shown, held = holdout_split(len(poses), 0.05, 0)
    mirrored = poses[:, sampler.drawing.skeleton.flip_index] * np.array([-1.0, 1.0])
    real = np.concatenate([poses[held], mirrored[held]])
    rows, floor = [], []
    for seed in range(SEEDS):
        drawn, _ = sampler.draw(len(real), seed + 100, dtype=dtype)
        rows.append(figures(sampler.drawing.reframed(drawn), real))
        seen = np.random.default_rng(seed).choice(shown, len(real), replace=False)
        floor.append(figures(np.concatenate([poses[seen][::2], mirrored[seen][1::2]]), real))
    errors = {"held-out source": reading_error(sampler, poses[held].astype(np.float32), dtype)}
    for file in TARGETS:
        if (data / file).is_file():
            target = sampler.drawing.framed(read_poses(data / file)).normalized
            some = np.random.default_rng(0).choice(len(target), min(2000, len(target)), replace=False)
            errors[Path(file).stem] = reading_error(sampler, target[some], dtype)
    found = {
        "source": name,
        "hashes": sampler.hashes,
        "samples": len(real),
        "held_out_poses": len(held),
        "draws": SEEDS,
        "generator": spread(rows),
        "training_poses": spread(floor),
        "beta_error_px": errors,
        "versions": versions(),
        "machine": machine(),
    }
    given.out.with_suffix(".json").write_text(
        json.dumps(found, indent=2, default=str) + "\n", encoding="utf-8"
    )
    lines = [
        f"# {name}",
        "",
        f"`python benchmarks/source_quality.py {name}`, {given.poses.name}: {len(real)} samples against {len(held)} "
        f"held-out poses and their mirror images, {SEEDS} draws, mean +- standard deviation. Training poses: as many "
        "poses that training saw.",
        "",
        "| | FD | MMD2 | P | R |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, row in (("generator", found["generator"]), ("training poses", found["training_poses"])):
        cells = [f"{row[key][0]:.4f} +- {row[key][1]:.4f}" for key in ("fd", "mmd2", "precision", "recall")]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += ["", "| beta reads | mean error, px |", "| --- | --- |"]
    lines += [f"| {what} | {error:.3f} |" for what, error in errors.items()]
    lines += ["", f"Machine: {found['machine']}. Versions: {found['versions']}."]
    given.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
