"""Networks as other packages have them: nothing here knows what quantizes them.

The first joins its branches by `+=` and calls functions instead of layers, the second is one for sounds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 — as everybody writes it
from torch import nn


class Branch(nn.Module):
    """Two convolutions whose result is added to their input in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, channels, h, w]`, and as many out."""
        out = F.relu(self.first_norm(self.first(x)), inplace=True)
        out = self.second_norm(self.second(out))
        out += x
        return F.relu(out)


class PictureNet(nn.Module):
    """A stem, two branches and a head on pictures of three colours.

    Args:
        num_classes: of the head.
        width: channels.
    """

    def __init__(self, num_classes: int = 3, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.branches = nn.Sequential(Branch(width), Branch(width))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures to logits."""
        x = self.branches(F.relu(self.norm(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class SoundNet(nn.Module):
    """Convolutions along time, with a way around the second, and a head on `[n, 1, samples]`.

    Args:
        num_classes: of the head.
        width: channels.
    """

    def __init__(self, num_classes: int = 3, width: int = 8) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, width, 16, stride=4)
        self.norm = nn.BatchNorm1d(width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """Sounds to the logarithm of probabilities."""
        x = F.max_pool1d(F.relu(self.norm(self.filters(wave))), 2)
        x = x + F.hardtanh(self.mix(x))
        return F.log_softmax(self.head(x.mean(dim=-1)), dim=1)
