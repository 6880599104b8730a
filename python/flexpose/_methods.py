"""The methods of `flexpose adapt --method`: their names and what they are, without loading any of them."""

from __future__ import annotations

__all__ = ["METHOD_SUMMARIES"]

METHOD_SUMMARIES = {
    "flexpose": "a linear change of the style codes, solved or trained",
    "affine-layers": "the same by the paper's gradient descent, all layers free",
    "lora": "changes of low rank in all layers",
    "full-delta": "the mapping network and all affine layers fine-tuned",
    "freezed": "FreezeD: the whole GAN fine-tuned, the fine layers of its judge frozen",
    "adagan": "scales, shifts and embeddings (batch statistics adaptation)",
    "none": "the source as it is",
    "mixup": "no network: random points between two guide poses",
    "gaussian": "no network: a normal distribution on the guide poses",
    "kde": "no network: guide poses with noise",
    "ot-affine": "no network: the source's poses under an affine map",
    "residuals": "no network: mixed guide poses that vary as the source does",
}
"""One line for each, in the order of the help."""
