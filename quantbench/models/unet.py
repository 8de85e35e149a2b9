"""A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597): a class for each pixel. It knows nothing of quantizing."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

Positive = Annotated[int, Field(ge=1)]


def _convolved(before: int, after: int) -> nn.Sequential:
    """Twice Conv2d → BatchNorm2d → ReLU."""
    return nn.Sequential(*(
        layer
        for channels in (before, after)
        for layer in (nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
    ))  # fmt: skip


class UNet(nn.Module):
    """Logits of a class for each pixel.

    Deviations from the paper: padded convolutions with batch norm, two levels instead of four, and nearest neighbours
    instead of transposed convolutions on the way up.

    Args:
        n_classes: of a pixel.
        width: channels of the first level, doubled in each level below.
    """

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.down1, self.down2 = _convolved(3, width), _convolved(width, 2 * width)
        self.bottom = _convolved(2 * width, 4 * width)
        self.up2, self.up1 = _convolved(6 * width, 2 * width), _convolved(3 * width, width)
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, 3, height, width]` with sides that 4 divides → logits `[n, n_classes, height, width]`."""
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        x = self.bottom(functional.max_pool2d(second, 2))
        x = self.up2(torch.cat([functional.interpolate(x, scale_factor=2.0), second], 1))
        x = self.up1(torch.cat([functional.interpolate(x, scale_factor=2.0), first], 1))
        return self.head(x)


def unet(n_classes: Annotated[int, Field(ge=2)] = 11, width: Positive = 16) -> UNet:
    """A U-Net of two levels; 120 thousand parameters.

    Example:
        >>> unet(n_classes=3, width=2)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """
    return UNet(n_classes, width)
