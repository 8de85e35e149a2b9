"""A chain of four layers, one of which int8 ruins, and samples that the network itself has labelled."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from quantbench.data.cache import CachedSide
from quantbench.data.source import Normalization
from quantbench.data.splits import Split

BAD = "second"
# Of the filter that no sample ever reaches, against all others: one scale for both leaves these no codes.
TOO_LARGE = 400.0


class Planted(nn.Module):
    """`[n, 3, 8, 8]` → logits `[n, 3]`; the filters of the second layer meet a channel that is always zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 8, 3, 2, 1)
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = nn.functional.relu(self.first(x))
        x = nn.functional.relu(self.second(x))
        x = nn.functional.relu(self.third(x))
        logits: torch.Tensor = self.last(torch.amax(x, (2, 3)))
        return logits


def planted() -> Planted:
    """A factory."""
    return Planted()


def wider() -> Planted:
    """A factory of another network, whose second layer has larger filters."""
    model = planted()
    model.second = nn.Conv2d(6, 6, 5, padding=2)
    return model


class Twice(nn.Module):
    """A convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, 3, 8, 8]` → logits `[n, 3]`."""
        logits: torch.Tensor = self.last(self.same(nn.functional.relu(self.same(x))).mean((2, 3)))
        return logits


def twice() -> Twice:
    """A factory."""
    return Twice()


def filled() -> Planted:
    """The network with its weights, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = planted().eval()
    with torch.no_grad():
        for layer in (model.first, model.second, model.third, model.last):
            nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(layer.weight.numel()))
        # Below zero for every sample, so that the channel is zero after its ReLU.
        model.first.weight[0], model.first.bias[0] = 0.0, -1.0
        model.second.weight[:, 0] *= TOO_LARGE
        middle = model(images()).median(0).values
        model.last.bias -= middle
    return model


def images(n: int = 240) -> torch.Tensor:
    """Random images, as a model takes them."""
    return split_of(np.zeros(n, np.int64)).normalization(torch.from_numpy(_pixels(n)))


def split_of(labels: np.ndarray) -> Split:
    """The same images with these labels."""
    digests = np.arange(len(labels) * 16, dtype=np.uint8).reshape(-1, 16)
    return Split(
        "search", CachedSide(_pixels(len(labels)), labels, digests), None, Normalization(255.0, (0.5,), (0.25,))
    )


def labelled(model: nn.Module, n: int = 240) -> Split:
    """Images labelled by what a model says of them."""
    with torch.inference_mode():
        return split_of(model(images(n)).argmax(1).numpy().astype(np.int64))


def _pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8)).astype(np.uint8)
