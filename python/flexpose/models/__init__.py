"""The networks: generator, discriminator, keypoint regressor (beta) and transfer (tau)."""

from .discriminator import Discriminator
from .generator import Generator, GeneratorConfig
from .mapping import MappingNetwork
from .pose_encoder import PoseEncoder
from .prefix import Prefix
from .regressor import Keypoints, Regressor, RegressorConfig
from .synthesis import NoiseMode, SynthesisNetwork
from .transfer import Transfer, TransferForm

__all__ = [
    "Discriminator",
    "Generator",
    "GeneratorConfig",
    "Keypoints",
    "MappingNetwork",
    "NoiseMode",
    "PoseEncoder",
    "Prefix",
    "Regressor",
    "RegressorConfig",
    "SynthesisNetwork",
    "Transfer",
    "TransferForm",
]
