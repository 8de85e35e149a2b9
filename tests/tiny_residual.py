"""Small networks with one residual junction each: some that int8 has a kernel for, and many that it has none for."""

from __future__ import annotations

import torch
from torch import nn

from quantbench.models.quantizable import DeQuantStub, FloatFunctional, QuantStub, fuse


class Block(nn.Module):
    """Two convolutions and a way around them; `join` is what the subclasses differ in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.functional = FloatFunctional()
        self.relu = nn.ReLU()
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, channels, h, w]`, and as many out."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.join(out, x)

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The junction."""
        return self.functional.add_relu(out, x)

    def fuse_model(self, is_qat: bool) -> None:
        """Fuses both convolutions."""
        fuse(self, [["conv1", "bn1", "relu1"], ["conv2", "bn2"]], is_qat)


class Plus(Block):
    """A plain sum."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has no kernel."""
        return self.relu(out + x)


class SharedRelu(Block):
    """A ReLU that is fused with the first convolution and called once more."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Is the identity once the ReLU is fused."""
        return self.relu1(self.functional.add(out, x))


class PlusInPlace(Block):
    """A sum written to its first operand."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has no kernel."""
        out += x
        return out


class PlusNumber(Block):
    """A number is added."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has no kernel."""
        return self.functional.add(out + 1.5, x)


class Times(Block):
    """A plain product."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has no kernel."""
        return out * x


class TimesNumber(Block):
    """The tensor is multiplied by a number."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has no kernel."""
        return self.functional.add(2 * out, x)


class Cat(Block):
    """Channels side by side, of which the first half goes on."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has a kernel for tensors of one scale only."""
        return torch.cat([out, x], dim=1)[:, : x.shape[1]]


class Activation(Block):
    """A layer without an int8 form."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Has no kernel."""
        return self.functional.add(self.act(out), x)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(x)


class Helper(Block):
    """A function outside any class does what has no kernel."""

    def join(self, out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Calls it."""
        return self.functional.add(_doubled(out), x)


class Residual(nn.Module):
    """A stem, one block, global average pooling and a head on `[n, 3, 8, 8]`.

    Args:
        block: the kind of junction.
        n_classes: size of the head.
        after_dequant: a plain sum outside the quantized part.
    """

    def __init__(self, block: type[Block] = Block, n_classes: int = 3, after_dequant: bool = False) -> None:
        super().__init__()
        self.quant = QuantStub()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.layers = nn.Sequential(block(4))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, n_classes)
        self.dequant = DeQuantStub()
        self.after_dequant = after_dequant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits `[n, n_classes]`."""
        x = self.layers(self.relu(self.bn(self.conv(self.quant(x)))))
        logits: torch.Tensor = self.dequant(self.fc(self.pool(x).flatten(1)))
        return logits + 1 if self.after_dequant else logits

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses the stem and the block."""
        fuse(self, [["conv", "bn", "relu"]], is_qat)
        for block in self.layers:
            block.fuse_model(is_qat)


def residual_with_plus(n_classes: int = 3) -> Residual:
    """A factory as a user would write it, with the mistake that users make."""
    return Residual(Plus, n_classes)
