"""The one place from which models take quantization's building blocks, so that replacing upstream's touches one file.

`torch.ao.quantization` is announced to be removed (pytorch/ao#2259); these names are what a model needs of it. Where it
is gone they are `quantbench.models.stand_ins`: stubs that change nothing, and sums that are sums. Backends that export
a model need no more of them.

Example:
    >>> import torch
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.quant, self.dequant = QuantStub(), DeQuantStub()
    ...         self.conv, self.add = nn.Conv2d(3, 3, 3, padding=1), FloatFunctional()
    ...     def forward(self, x):
    ...         x = self.quant(x)
    ...         return self.dequant(self.add.add(x, self.conv(x)))
    >>> Net()(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 8, 8])
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

try:
    from torch.ao.nn.quantized import FloatFunctional
    from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules, fuse_modules_qat
except ImportError:
    from quantbench.models.stand_ins import (  # type: ignore[assignment]
        DeQuantStub,
        FloatFunctional,
        QuantStub,
        fuse_modules,
        fuse_modules_qat,
    )


def fuse(model: nn.Module, groups: Sequence[Sequence[str]], is_qat: bool) -> None:
    """Fuses each group of submodule names in place, for inference or for quantization-aware training.

    Args:
        model: in eval mode for inference, in train mode for `is_qat`.
        groups: names such as `["conv1", "bn1", "relu1"]`; none leave the model as it is.
        is_qat: keep batch norm trainable beside the convolution.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> fuse(model, [["0", "1", "2"]], is_qat=False)
        >>> [type(module).__name__ for module in model]
        ['ConvReLU2d', 'Identity', 'Identity']
    """
    if groups:
        (fuse_modules_qat if is_qat else fuse_modules)(model, [list(group) for group in groups], inplace=True)


__all__ = ["DeQuantStub", "FloatFunctional", "QuantStub", "fuse"]
