"""Warnings of upstream libraries about their own future, kept from users who can do nothing about them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Deprecations of modules that quantbench keeps behind one folder (pytorch/ao#2259, pytorch/pytorch#184982), and the
# notice about ranges never observed that building a model's structure without calibration must cause.
MESSAGES = (
    ".*torch.ao.quantization is deprecated.*",
    ".*quantized tensors?.*",
    ".*must run observer before calling calculate_qparams.*",
    ".*reduce_range will be deprecated.*",
    ".*Please use quant_min and quant_max to specify the range.*",
    ".*TypedStorage is deprecated.*",
    r".*`torch\.jit\.\w+` is deprecated.*",
)


@contextmanager
def silenced() -> Iterator[None]:
    """Silences `MESSAGES` and nothing else."""
    with warnings.catch_warnings():
        for message in MESSAGES:
            warnings.filterwarnings("ignore", message=message)
        yield
