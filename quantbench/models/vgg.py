"""VGG16 for 32×32 images: thirteen 3×3 convolutions with batch norm, and one linear layer."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse

# Of the convolutions at width 1, configuration D of the paper.
CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
# Convolutions after which the image is halved.
POOLED_AFTER = (1, 3, 6, 9, 12)


class VGG16(nn.Module):
    """Thirteen Conv-BN-ReLU triples, max-pooled by 2 after each of the five stages, and a linear head on what is left,
    one value per channel; quantization stubs at both ends.

    Args:
        n_classes: size of the head.
        width: factor on all channels.

    Source:
        Simonyan & Zisserman 2015, arXiv:1409.1556, table 1, configuration D. Deviations, as is usual for 32×32 images:
        batch norm after each convolution, and one linear layer in place of three, since 1×1 pixels are left.
    """

    def __init__(self, n_classes: int = 10, width: float = 1.0) -> None:
        super().__init__()
        self.quant = QuantStub()
        channels = [max(1, round(width * each)) for each in CHANNELS]
        for i, (inputs, outputs) in enumerate(pairwise([3, *channels])):
            self.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
            self.add_module(f"relu{i}", nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(channels[-1], n_classes)
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, 3, 32, 32]` float32 → logits `[n, n_classes]`."""
        x = self.quant(x)
        for i in range(len(CHANNELS)):
            for part in ("conv", "bn", "relu"):
                x = getattr(self, f"{part}{i}")(x)
            if i in POOLED_AFTER:
                x = self.pool(x)
        logits: torch.Tensor = self.dequant(self.fc(x.flatten(1)))
        return logits

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses every Conv-BN-ReLU triple in place."""
        fuse(self, [[f"conv{i}", f"bn{i}", f"relu{i}"] for i in range(len(CHANNELS))], is_qat)


def vgg16(n_classes: Annotated[int, Field(ge=2)] = 10, width: Annotated[float, Field(gt=0, le=4)] = 1.0) -> VGG16:
    """VGG16 with batch norm and one linear layer.

    Args:
        n_classes: size of the head; set from the data.
        width: factor on all channels, 1 for 64 to 512.

    Example:
        >>> vgg16(n_classes=10, width=0.25)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return VGG16(n_classes, width)
