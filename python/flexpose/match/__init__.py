"""Picture-pose matching: an annotator from pictures without labels and poses without pictures."""

from .annotate import annotate, score_annotations
from .config import MATCH_PRESETS, MatchConfig
from .files import load_annotator
from .loop import match, placement
from .pictures import Pictures, read_pictures
from .soft_lines import soft_lines

__all__ = [
    "MATCH_PRESETS",
    "MatchConfig",
    "Pictures",
    "annotate",
    "load_annotator",
    "match",
    "placement",
    "read_pictures",
    "score_annotations",
    "soft_lines",
]
