"""The one place from which models take quantization's building blocks, so that replacing upstream's touches one file.

`torch.ao.quantization` is announced to be removed (pytorch/ao#2259); these names are what a model needs of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules, fuse_modules_qat


def fuse(model: nn.Module, groups: Sequence[Sequence[str]], is_qat: bool) -> None:
    """Fuses each group of submodule names in place, for inference or for quantization-aware training.

    Args:
        model: in eval mode for inference, in train mode for `is_qat`.
        groups: names such as `["conv1", "bn1", "relu1"]`; none leave the model as it is.
        is_qat: keep batch norm trainable beside the convolution.
    """
    if groups:
        (fuse_modules_qat if is_qat else fuse_modules)(model, [list(group) for group in groups], inplace=True)


__all__ = ["DeQuantStub", "FloatFunctional", "QuantStub", "fuse"]
