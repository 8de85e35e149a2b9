"""Fusing all of a model, or some of its blocks, which then stand between stubs of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.states import FUSED_FOR
from quantbench.backends.torch_ao.steps import fuse
from quantbench.errors import QuantizationError
from quantbench.registry import unknown_name


def fused_with_qconfig(
    model: nn.Module, qconfig: ao.QConfig, blocks: tuple[str, ...] | None, is_qat: bool
) -> nn.Module:
    """A copy, fused, with its qconfig: on all of it, or on the named blocks, the others being left as they were.

    Args:
        model: fp32; in train mode for `is_qat`, else in eval mode.
        qconfig: observers or fake quantizers.
        blocks: names that the model gives its blocks; None for all of it.
        is_qat: fuse for training.

    Raises:
        QuantizationError: if the model cannot be fused, or has no such blocks.
    """
    fused = fuse(model, is_qat)
    if blocks is None:
        fused.qconfig = qconfig  # type: ignore[assignment]
        return fused
    mixed = copy.deepcopy(model)
    parts, boundaries = _blocks_of(mixed, blocks)
    for block in blocks:
        for name in parts[block]:
            module = getattr(fused, name)
            module.qconfig = qconfig
            setattr(mixed, name, module)
    # Where precision changes between neighbours, and at both ends, which are fp32.
    is_int8 = [False, *(block in blocks for block in parts), False]
    for name, before, after in zip(boundaries, is_int8, is_int8[1:], strict=False):
        if before != after:
            setattr(mixed, name, ao.QuantStub(qconfig) if after else ao.DeQuantStub(qconfig))
        else:
            setattr(mixed, name, nn.Identity())
    setattr(mixed, FUSED_FOR, getattr(fused, FUSED_FOR))
    return mixed


def _blocks_of(model: nn.Module, chosen: tuple[str, ...]) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """A model's blocks in the order of its forward, and the modules that stand between and around them."""
    blocks, boundaries = getattr(model, "blocks", None), getattr(model, "boundaries", None)
    if not isinstance(blocks, Mapping) or not isinstance(boundaries, Sequence) or len(boundaries) != len(blocks) + 1:
        raise QuantizationError(
            f"{type(model).__name__} names no blocks to quantize one at a time: give it `blocks`, the submodules of "
            "each in the order of its forward, and `boundaries`, the modules around them, one more; M5 shows how"
        )
    for block in chosen:
        if block not in blocks:
            raise QuantizationError(unknown_name(f"block of {type(model).__name__}", block, list(blocks)))
    return blocks, boundaries
