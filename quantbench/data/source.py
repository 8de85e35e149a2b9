"""What a data set provides: decoded samples once, and how stored integers become model input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

# Called with (done, total) while samples are made or decoded.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Arrays:
    """Decoded samples.

    Attributes:
        inputs: `[n, channels, height, width]` uint8 for images.
        labels: `[n]` int64 class indices.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """A whole data set, decoded: its two published sides and the names of its classes."""

    train: Arrays
    test: Arrays
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Normalization:
    """Stored integers → model input: `(x / full_scale − mean) / std`, per channel.

    Attributes:
        full_scale: the stored value that stands for 1.0 (255 for uint8 images).
        mean: one value per channel.
        std: one value per channel.
    """

    full_scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, stored: torch.Tensor) -> torch.Tensor:
        """Normalizes `[n, channels, …]` integers to float32 of the same shape."""
        import torch

        shape = (1, -1) + (1,) * (stored.dim() - 2)
        scale = torch.tensor([1.0 / (self.full_scale * std) for std in self.std]).view(shape)
        shift = torch.tensor([mean / std for mean, std in zip(self.mean, self.std, strict=True)]).view(shape)
        return stored.to(torch.float32).mul_(scale.to(stored.device)).sub_(shift.to(stored.device))


class Source(ABC):
    """A registered data set. Constructing one is cheap and reads nothing."""

    normalization: Normalization

    @abstractmethod
    def fingerprint(self) -> str:
        """A string that changes when the decoded content would.

        Raises:
            DataMissingError: if the data is not on this machine; the text says how to get it.
        """

    @abstractmethod
    def decode(self, progress: Progress) -> Decoded:
        """Makes or decodes every sample.

        Raises:
            DataError: naming the file that is damaged, or what is missing.
        """
