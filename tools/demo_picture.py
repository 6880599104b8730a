"""Make the README's picture: guide poses above a line, and below it what is sampled after adapting to them.

    python tools/demo_picture.py SHOTS.json assets/demo.png

The first 8 guide poses of different actions are shown (without labels the first 8), and the first 24 samples.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from flexpose._atomic import atomic_write
from flexpose.adapt import AdaptConfig, adapt
from flexpose.drawing import Drawing
from flexpose.poses import PoseSet, read_poses
from flexpose.raster import encode_png, image_grid
from flexpose.sample import SampleConfig, sample

COLUMNS, ROWS, SIDE, LINE = 8, 3, 111, 6
GRAY = 160


def shown(shots: PoseSet) -> PoseSet:
    """One guide pose of each action, `COLUMNS` at most."""
    if shots.labels is None:
        return shots[:COLUMNS]
    first = {label: row for row, label in reversed(list(enumerate(shots.labels)))}
    return shots[np.array(sorted(first.values())[:COLUMNS])]


def main() -> None:
    """Adapt, sample, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shots", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    shots = read_poses(given.shots)
    with tempfile.TemporaryDirectory() as run:
        adapt(shots, AdaptConfig(), run)
        sampled = sample(run, SampleConfig(n=COLUMNS * ROWS))
    drawing = Drawing(sampled.skeleton, SIDE, line_width_px=2.5, joint_radius_px=3.0)
    above, below = (
        image_grid(drawing.images(drawing.framed(poses).normalized, layout="nhwc"), COLUMNS)
        for poses in (shown(shots), sampled)
    )
    line = np.full((LINE, above.shape[1], 3), GRAY, np.uint8)
    atomic_write(given.out, encode_png(np.concatenate([above, line, below])))


if __name__ == "__main__":
    main()
