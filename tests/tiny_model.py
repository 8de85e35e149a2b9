"""A model small enough to train in a second, reached as a user's own: `tiny_model:tiny_cnn`."""

from __future__ import annotations

import torch
from torch import nn

from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse


class TinyCNN(nn.Module):
    """One Conv-BN-ReLU triple, global pooling and a linear head on `[n, 3, 8, 8]`."""

    def __init__(self, n_classes: int, channels: int) -> None:
        super().__init__()
        self.quant = QuantStub()
        self.conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, n_classes)
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits `[n, n_classes]`."""
        x = self.relu(self.bn(self.conv(self.quant(x))))
        logits: torch.Tensor = self.dequant(self.fc(self.pool(x).flatten(1)))
        return logits

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses the triple."""
        fuse(self, [["conv", "bn", "relu"]], is_qat)


def tiny_cnn(n_classes: int = 3, channels: int = 8) -> TinyCNN:
    """A factory as a user would write it."""
    return TinyCNN(n_classes, channels)
