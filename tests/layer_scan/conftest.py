"""A tiny source, and a generator in which one layer alone draws what a code says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from flexpose.drawing import Drawing
from flexpose.layer_scan.tasks import Networks, Task
from flexpose.models import Generator, Regressor, RegressorConfig
from flexpose.sample.draw import draw_images, latents, map_codes, read_keypoints
from flexpose.skeleton import load_skeleton

from .. import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator and a beta."""
    return tiny.train_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def only_layer() -> Callable[[int], tuple[Networks, Task]]:
    """Networks whose layer of this number alone is told the code, and a task that is solved there alone.

    The poses asked for are what beta reads in the pictures of the wanted codes, so a perfect tau has error 0.
    """

    def make(number: int) -> tuple[Networks, Task]:
        torch.manual_seed(3)
        generator = Generator(
            size_px=16, z_dim=4, w_dim=6, mapping_layers=2, channel_base=128, channel_max=8
        ).eval()
        with torch.no_grad():
            for index, affine in enumerate(generator.affine):
                if index != number - 1:
                    affine.weight.zero_()  # type: ignore[operator]
                else:
                    affine.weight.mul_(4)  # type: ignore[operator]
        generator.requires_grad_(False)
        skeleton = load_skeleton("body13")
        beta = Regressor(RegressorConfig(size_px=16, num_keypoints=13, width=8)).eval().requires_grad_(False)
        networks = Networks(generator, beta, Drawing(skeleton, 16), torch.float32)
        codes, wanted = (
            map_codes(generator, latents(6, generator.config.z_dim, seed)).clone() for seed in (1, 2)
        )
        images = draw_images(generator, wanted)
        asked = read_keypoints(beta, images)
        assert np.abs(asked - networks.read(codes)).max() > 1e-4
        return networks, Task(codes, asked, images, wanted)

    return make
