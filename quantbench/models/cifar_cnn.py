"""CifarCNN: a small CNN of Conv-BN-ReLU triples for 32×32 images."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse

CHANNELS = (32, 32, 64, 64, 128, 128)


class CifarCNN(nn.Module):
    """Six 3×3 Conv-BN-ReLU triples, 3→32→32→64→64→128→128, max-pooled by 2 after the second and the fourth, global
    average pooling and a linear head; quantization stubs at both ends.

    Args:
        n_classes: size of the head.
    """

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        self.quant = QuantStub()
        inputs = 3
        for i, outputs in enumerate(CHANNELS, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
            self.add_module(f"relu{i}", nn.ReLU())
            inputs = outputs
        self.pool = nn.MaxPool2d(2)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, n_classes)
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, 3, 32, 32]` float32 → logits `[n, n_classes]`."""
        x = self.quant(x)
        for i in range(1, len(CHANNELS) + 1):
            for part in ("conv", "bn", "relu"):
                x = getattr(self, f"{part}{i}")(x)
            if i in (2, 4):
                x = self.pool(x)
        x = self.global_pool(x).flatten(1)
        logits: torch.Tensor = self.dequant(self.fc(x))
        return logits

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses every Conv-BN-ReLU triple in place."""
        fuse(self, [[f"conv{i}", f"bn{i}", f"relu{i}"] for i in range(1, len(CHANNELS) + 1)], is_qat)


def cifar_cnn(n_classes: Annotated[int, Field(ge=2)] = 10) -> CifarCNN:
    """The CifarCNN of the quantization explorer.

    Args:
        n_classes: size of the head; set from the data.

    Example:
        >>> cifar_cnn(n_classes=10)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return CifarCNN(n_classes)
