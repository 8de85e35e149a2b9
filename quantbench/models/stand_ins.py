"""Stand-ins for torch.ao's building blocks of models, where torch has them no more: the same in floating point."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from quantbench.errors import QuantizationError


class QuantStub(nn.Identity):
    """The place where a model's input is quantized.

    Args:
        qconfig: ignored.
    """

    def __init__(self, qconfig: Any = None) -> None:  # noqa: ARG002
        super().__init__()


class DeQuantStub(QuantStub):
    """The place where a model's output is in floating point again."""


class FloatFunctional(nn.Module):
    """Operations between tensors, as methods of a layer.

    Example:
        >>> FloatFunctional().add_relu(torch.tensor([-3.0, 1.0]), torch.ones(2))
        tensor([0., 2.])
    """

    def forward(self, x: torch.Tensor) -> NoReturn:  # noqa: ARG002
        """Raises, as torch.ao's does."""
        raise RuntimeError("FloatFunctional is called by its methods: self.add.add(x, y)")

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """`x + y`."""
        return torch.add(x, y)

    def add_scalar(self, x: torch.Tensor, y: float) -> torch.Tensor:
        """`x + y`."""
        return torch.add(x, y)

    def mul(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """`x · y`."""
        return torch.mul(x, y)

    def mul_scalar(self, x: torch.Tensor, y: float) -> torch.Tensor:
        """`x · y`."""
        return torch.mul(x, y)

    def cat(self, x: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
        """One tensor of several."""
        return torch.cat(list(x), dim=dim)

    def add_relu(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """`max(x + y, 0)`."""
        return torch.relu(torch.add(x, y))

    def matmul(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The product of matrices."""
        return torch.matmul(x, y)


def fuse_modules(model: nn.Module, groups: Sequence[Sequence[str]], inplace: bool = False) -> nn.Module:
    """Folds the batch norm of each group into the layer before it; a ReLU stays a layer of its own.

    Args:
        model: in eval mode.
        groups: names of layers that follow each other.
        inplace: change the model, and no copy.

    Example:
        >>> layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> [type(layer).__name__ for layer in fuse_modules(layers, [["0", "1", "2"]])]
        ['Conv2d', 'Identity', 'ReLU']
    """
    fused = model if inplace else copy.deepcopy(model)
    for first, second, *_ in groups:
        layer: Any = fused.get_submodule(first)
        norm = fused.get_submodule(second)
        if isinstance(norm, _BatchNorm):
            fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
            fused.set_submodule(first, fuse(layer, norm))
            fused.set_submodule(second, nn.Identity())
    return fused


def fuse_modules_qat(model: nn.Module, groups: Sequence[Sequence[str]], inplace: bool = False) -> NoReturn:  # noqa: ARG001
    """Raises QuantizationError: layers are fused for training by the backends that export a model."""
    raise QuantizationError(
        f"{type(model).__name__}: layers are fused for training by torch.ao.quantization, which this torch has not; "
        "set backend: pt2e, which needs no fusing"
    )
