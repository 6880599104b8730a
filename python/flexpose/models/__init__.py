"""The networks: generator, discriminator, keypoint regressor (beta) and transfer (tau)."""

from .discriminator import Discriminator
from .generator import Generator, GeneratorConfig
from .mapping import MappingNetwork
from .synthesis import NoiseMode, SynthesisNetwork

__all__ = [
    "Discriminator",
    "Generator",
    "GeneratorConfig",
    "MappingNetwork",
    "NoiseMode",
    "SynthesisNetwork",
]
