"""A quantizer of their own: weights rounded to few bits."""

import torch


def quantize(model: torch.nn.Module, batches: object, bits: int = 8) -> torch.nn.Module:
    """Rounds each weight to one of 2^bits levels."""
    with torch.no_grad():
        for weight in model.parameters():
            step = (weight.abs().max() / (2 ** (bits - 1) - 1)).clamp(min=1e-9)
            weight.copy_((weight / step).round() * step)
    return model
