"""Sampling: poses of a generator, adapted or not."""

from .draw import draw_images, latents, read_keypoints
from .loop import SampleConfig, load_sampler, sample

__all__ = ["SampleConfig", "draw_images", "latents", "load_sampler", "read_keypoints", "sample"]
