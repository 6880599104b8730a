"""Pack a run folder of train-beta and pretrain as a source of the zoo, with its card.

    python tools/pack_zoo.py RUN NAME --quality FIGURES.json

`FIGURES` is what benchmarks/source_quality.py wrote for the packed source; without it the card has no figures yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from flexpose.pretrain import save_source

ZOO = Path(__file__).resolve().parents[1] / "python/flexpose/zoo"
LARGEST = 10_000_000
DATA = {
    "name": "COCO 2017 train, persons with the nose and the 12 body joints labelled",
    "file": "person_keypoints_train2017_body13.json",
    "attribution": "COCO Consortium, annotations of COCO 2017 (cocodataset.org), CC BY 4.0; no image was used",
}


def main() -> None:
    """Write the source file and its card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--quality", type=Path)
    given = parser.parse_args()
    file = ZOO / f"{given.name}.safetensors"
    header = save_source(file, given.run)
    size = file.stat().st_size
    if size > LARGEST:
        file.unlink()
        raise SystemExit(f"{given.name}: expected at most {LARGEST} bytes, got {size}")
    generator, beta = header["generator"], header["beta"]
    preset = given.name.removeprefix("coco-")
    card: dict[str, Any] = {
        "skeleton": generator["drawing"]["skeleton_name"],
        "size_px": generator["drawing"]["size_px"],
        "licence": "CC BY 4.0",
        "data": DATA
        | {"poses": generator["facts"]["num_poses"], "content_hash": generator["facts"]["poses"]},
        "commands": [
            f"flexpose train-beta {DATA['file']} RUN --preset {preset}",
            f"flexpose pretrain {DATA['file']} RUN --preset {preset}",
            f"python tools/pack_zoo.py RUN {given.name}",
        ],
        "images_shown": int(1000 * generator["facts"]["kimg"]),
        "generator_config": generator["facts"]["config"],
        "beta_config": beta["facts"]["config"],
        "generator_hash": generator["hash"],
        "beta_hash": beta["hash"],
        "bytes": size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    if given.quality is not None:
        found = json.loads(given.quality.read_text(encoding="utf-8"))
        if found["hashes"] != {"generator": generator["hash"], "beta": beta["hash"]}:
            raise SystemExit(f"{given.quality}: is about another source")
        names = ("samples", "held_out_poses", "draws", "generator", "training_poses", "beta_error_px")
        card["figures"] = {name: found[name] for name in names}
    file.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(f"{file.name}: {size} bytes, sha256 {card['sha256']}")


if __name__ == "__main__":
    main()
