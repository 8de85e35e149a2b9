"""Training in bf16, and the parts of it that must stay float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

# What `--amp`, or precision: bf16, did to a training, for its card.
AMP = "torch.autocast: forward and backward in bfloat16 where it is safe; weights, optimizer and loss in float32"


@contextmanager
def float32_fake_quantizers(model: nn.Module) -> Iterator[None]:
    """Hands float32 to every fake quantizer of a model, whatever the layer before it computes in.

    Autocast has no rule for their kernel (`fused_moving_avg_obs_fake_quant`), which takes float32 only.
    """

    def cast(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(each.float() for each in inputs)

    quantizers = [module for module in model.modules() if hasattr(module, "fake_quant_enabled")]
    handles = [quantizer.register_forward_pre_hook(cast) for quantizer in quantizers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
