"""A residual network as somebody else writes it: no stubs, `+=`, `F.relu`, a shortcut that pads; and a 1-D one."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions and a shortcut that takes every other pixel and pads with channels of zeros."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.stride, self.more = stride, made - given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, given, h, w]` → `[n, made, h / stride, w / stride]`."""
        out = nn.functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x
        if self.stride > 1:
            shortcut = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        out += shortcut
        return nn.functional.relu(out)


class Residual(nn.Module):
    """`[n, 3, 8, 8]` → logits `[n, 3]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.block = Block(8, 16, 2)
        self.fc = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.fc(self.block(nn.functional.relu(self.stem(x))).mean((2, 3)))
        return logits


class Waves(nn.Module):
    """1-D convolutions in named groups: `[n, 1, 64]` → logits `[n, 3]`."""

    layer_groups = {"first": ("conv1", "bn1", "relu1", "pool1"), "second": ("conv2",), "head": ("fc",)}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = nn.Conv1d(1, 8, 9, 2), nn.BatchNorm1d(8), nn.ReLU()
        self.pool1 = nn.MaxPool1d(2)
        self.conv2 = nn.Conv1d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        logits: torch.Tensor = self.fc(nn.functional.relu(self.conv2(x)).mean(-1))
        return logits


def settled(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A network with statistics in its batch norms, in eval mode."""
    torch.manual_seed(0)
    for each in module.modules():
        if isinstance(each, nn.Conv1d | nn.Conv2d | nn.Linear):
            each.reset_parameters()
    module.train()(torch.randn(32, *shape))
    return module.eval()


def residual() -> Residual:
    """A factory."""
    return Residual()


def waves() -> Waves:
    """A factory."""
    return Waves()
