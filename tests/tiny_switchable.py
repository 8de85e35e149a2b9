"""Small networks whose layers compute on integer codes of a width that can be switched: a chain, and a residual one."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from quantbench.arrays import INPUT
from quantbench.data.cache import CachedSide
from quantbench.data.source import Normalization
from quantbench.data.splits import Split
from quantbench.errors import QuantizationError
from quantbench.quant.switchable import Switchable

CHOICES = (2, 3, 4, 8)


class CodesConv(Switchable, nn.Module):
    """A convolution of integer codes by integer codes in float32: exact, so its bits do not depend on the batch."""

    def __init__(self, inputs, outputs, signed=False, clip=2.0, kernel=3):
        super().__init__()
        self.signed, self.clip, self.width = signed, clip, 4
        self.register_buffer("codes", torch.randint(-7, 8, (outputs, inputs, kernel, kernel)).float())
        # Keeps the spread of what it gives near that of what it is given.
        self.scale = 1.2 / (4.3 * (inputs * kernel * kernel) ** 0.5)

    @property
    def bits(self):
        return self.width

    @bits.setter
    def bits(self, bits):
        if bits not in CHOICES:
            raise QuantizationError(f"{bits} bits")
        self.width = bits

    @property
    def bit_choices(self):
        return CHOICES

    def forward(self, x):
        steps = 2 ** (self.width - self.signed) - 1
        step = self.clip / steps
        codes = torch.round(x.clamp(-self.clip * self.signed, self.clip) / step)
        padding = self.codes.shape[-1] // 2
        return nn.functional.conv2d(codes, self.codes, padding=padding) * (step * self.scale)


class Chain(nn.Module):
    """Four convolutions on `[n, 1, 8, 8]`, pooled in the middle, and an exact head."""

    def __init__(self, width=6, n_classes=4):
        super().__init__()
        self.conv0 = CodesConv(1, width, signed=True)
        self.conv1 = CodesConv(width, width)
        self.conv2 = CodesConv(width, width)
        self.conv3 = CodesConv(width, n_classes, clip=3.0)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.register_buffer("offset", torch.zeros(n_classes))

    def forward(self, x):
        x = self.relu(self.conv0(x))
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        # Summed pixel by pixel: a mean's order of additions may depend on the batch.
        x = self.conv3(x)
        return (x[:, :, 0, 0] + x[:, :, 0, 1]) + (x[:, :, 1, 0] + x[:, :, 1, 1]) - self.offset


class Residual(nn.Module):
    """A stem, a block with a convolution on each of its two ways, and a last convolution, on `[n, 1, 8, 8]`."""

    def __init__(self, width=6, n_classes=4):
        super().__init__()
        self.stem = CodesConv(1, width, signed=True)
        self.main1 = CodesConv(width, width)
        self.main2 = CodesConv(width, width)
        self.way_around = CodesConv(width, width, kernel=1)
        self.last = CodesConv(width, n_classes, clip=3.0)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(4)
        self.register_buffer("offset", torch.zeros(n_classes))

    def forward(self, x):
        x = self.relu(self.stem(x))
        main = self.main2(self.relu(self.main1(x)))
        x = self.pool(self.relu(main + self.way_around(x)))
        x = self.last(x)
        return (x[:, :, 0, 0] + x[:, :, 0, 1]) + (x[:, :, 1, 0] + x[:, :, 1, 1]) - self.offset


def built(kind, seed=0, **params):
    """One of the networks, in eval mode, with weights of its own, which says every class about as often."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(**params).eval()
        with torch.inference_mode():
            offset = model(torch.randint(-8, 8, (500, 1, 8, 8)) / 4).median(0).values
        model.offset.copy_(offset)
        return model


def labelled_split(model, n=300, wrong=0.1, seed=0):
    """Random images, labelled by what the model says of them, but for a share labelled at random."""
    random = np.random.default_rng(seed)
    inputs = random.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    unlabelled = _split(inputs, np.zeros(n, np.int64))
    with torch.inference_mode():
        labels = torch.cat([model(torch.from_numpy(x[INPUT])) for x in unlabelled.batches(64)]).argmax(1).numpy()
    return _split(inputs, np.where(random.random(n) < wrong, random.integers(0, 4, n), labels).astype(np.int64))


def _split(inputs, labels):
    digests = np.arange(len(labels) * 16, dtype=np.uint8).reshape(-1, 16)
    return Split("search", CachedSide(inputs, labels, digests), None, Normalization(255.0, (0.5,), (0.25,)))
