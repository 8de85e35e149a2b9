"""The forms in which an fp32 model may run faster than as it was written: what int8 must beat to be worth it."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from quantbench.backends.interface import Predictor
from quantbench.backends.module import ChannelsLastPredictor, ModulePredictor
from quantbench.errors import FormLeftOutWarning
from quantbench.foreign import cause_of, passes


def fp32_forms(model: nn.Module) -> dict[str, nn.Module]:
    """A model in eval mode as it was written and in other forms, by name; the same function each, up to float rounding.

    `fused` has its Conv-BN-ReLU groups folded, where the model can; channels last is the layout that oneDNN's kernels
    prefer, which 1-D convolutions reach as 2-D ones of height 1.
    """
    forms = {"as written": model}
    try:
        fused = _fused(model)
    except BaseException as error:  # A model that cannot be copied or fused is timed as it was written.
        if passes(error):
            raise
        warnings.warn(
            f"the forms of {type(model).__name__} in fp32 that may be faster are not timed: it cannot be fused "
            f"({cause_of(error)})",
            FormLeftOutWarning,
            stacklevel=2,
        )
        return forms
    forms["fused"] = fused
    if any(isinstance(module, nn.Conv2d) for module in fused.modules()):
        forms["fused, channels last"] = copy.deepcopy(fused).to(memory_format=torch.channels_last)
    if any(_is_plain_conv1d(module) for module in fused.modules()):
        forms["fused, as 2-D channels last"] = _as_2d(copy.deepcopy(fused))
    return forms


def _fused(model: nn.Module) -> nn.Module:
    """A copy with its groups folded, where the model can."""
    fused = copy.deepcopy(model)
    if callable(getattr(fused, "fuse_model", None)):
        fused.fuse_model(is_qat=False)  # type: ignore[operator]
    return fused


def predictors(model: nn.Module, threads: int) -> dict[str, Predictor]:
    """The same forms as predictors; all but the model as it was written prefer images in channels-last layout."""
    forms = fp32_forms(model)
    return {
        name: ModulePredictor(form, threads) if form is model else ChannelsLastPredictor(form, threads)
        for name, form in forms.items()
    }


def _is_plain_conv1d(module: nn.Module) -> bool:
    return type(module) is nn.Conv1d and isinstance(module.padding, tuple) and module.padding_mode == "zeros"


class _Conv1dAs2d(nn.Module):
    """A 1-D convolution as a 2-D one of height 1."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            (1, conv.kernel_size[0]),
            (1, conv.stride[0]),
            (0, int(conv.padding[0])),
            (1, conv.dilation[0]),
            conv.groups,
            conv.bias is not None,
        )
        self.conv.weight = nn.Parameter(conv.weight.detach().unsqueeze(2))
        if conv.bias is not None:
            self.conv.bias = nn.Parameter(conv.bias.detach())
        self.conv.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, channels, samples]` → `[n, channels, samples]`."""
        result: torch.Tensor = self.conv(x.unsqueeze(2).contiguous(memory_format=torch.channels_last)).squeeze(2)
        return result


class _MaxPool1dAs2d(nn.Module):
    """A 1-D max pooling as a 2-D one, which keeps the layout of channels."""

    def __init__(self, pool: nn.MaxPool1d) -> None:
        super().__init__()
        sizes = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        size, stride, padding, dilation = (each[0] if isinstance(each, tuple) else each for each in sizes)
        self.pool = nn.MaxPool2d((1, size), (1, stride), (0, padding), (1, dilation), ceil_mode=pool.ceil_mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, channels, samples]` → `[n, channels, samples]`."""
        result: torch.Tensor = self.pool(x.unsqueeze(2)).squeeze(2)
        return result


def _as_2d(model: nn.Module) -> nn.Module:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _is_plain_conv1d(child):
                setattr(parent, name, _Conv1dAs2d(child))  # type: ignore[arg-type]
            elif type(child) is nn.MaxPool1d and not child.return_indices:
                setattr(parent, name, _MaxPool1dAs2d(child))
    return model.eval()
