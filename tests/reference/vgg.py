"""VGG16's activations and LPIPS by plain loops in float64, from their papers' and LPIPS 0.1's definitions."""

from __future__ import annotations

import numpy as np
import torch

LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
"""Configuration D of VGG: channels of the 3x3 convolutions, M for the maximum over 2x2."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS' own, of pictures in [-1, 1]."""


def thin_vgg16(seed=0, share=16):
    """A VGG16 with a part of its channels, heads, and what else is in such files."""
    rng = torch.Generator().manual_seed(seed)
    weights = {"classifier.6.weight": torch.ones(10, 4), "classifier.6.bias": torch.ones(10)}
    before, number, tap = 3, 0, 0
    for layer in (*LAYERS, "M"):
        if isinstance(layer, str):
            weights[f"lin{tap}.model.1.weight"] = torch.rand(1, before, 1, 1, generator=rng)
            number, tap = number + 1, tap + 1
            continue
        width = layer // share
        spread = (2 / (9 * before)) ** 0.5
        weights[f"features.{number}.weight"] = torch.randn(width, before, 3, 3, generator=rng) * spread
        weights[f"features.{number}.bias"] = torch.randn(width, generator=rng) * 0.1
        before, number = width, number + 2
    return weights


def convolutions(picture, weights):
    """The taps [C, H, W] of one picture [3, S, S] in [-1, 1]; `weights` are arrays by torchvision's names."""
    x = np.stack([(picture[c].astype(np.float64) - SHIFT[c]) / SCALE[c] for c in range(3)])
    taps, number = [], 0
    for layer in LAYERS:
        if layer == "M":
            taps.append(x)
            half = np.zeros((len(x), x.shape[1] // 2, x.shape[2] // 2))
            for i in range(half.shape[1]):
                for j in range(half.shape[2]):
                    half[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2))
            x, number = half, number + 1
            continue
        weight = weights[f"features.{number}.weight"].astype(np.float64)
        bias = weights[f"features.{number}.bias"].astype(np.float64)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        y = np.zeros((len(weight), *x.shape[1:]))
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                y[:, i, j] = np.tensordot(weight, padded[:, i : i + 3, j : j + 3], 3) + bias
        x, number = np.maximum(y, 0), number + 2  # a convolution and its ReLU
    return [*taps, x]


def lpips(a, b, weights):
    """LPIPS of two pictures [3, S, S] in [-1, 1]; the heads by LPIPS' names."""
    total = 0.0
    for tap, (x, y) in enumerate(zip(convolutions(a, weights), convolutions(b, weights), strict=True)):
        head = weights[f"lin{tap}.model.1.weight"].astype(np.float64).ravel()
        places = x.shape[1] * x.shape[2]
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                one, other = x[:, i, j], y[:, i, j]
                one = one / (np.sqrt((one**2).sum()) + 1e-10)
                other = other / (np.sqrt((other**2).sum()) + 1e-10)
                total += (head * (one - other) ** 2).sum() / places
    return total
