"""Codes of a few bits packed into bytes without gaps, as checkpoints hold them."""

from __future__ import annotations

import numpy as np
import torch

from quantbench.errors import QuantizationError
from quantbench.quant.power_of_two import Codes


def packed_bytes(n: int, bits: int) -> int:
    """Bytes that n codes take: n · bits / 8, rounded up."""
    return -(-n * bits // 8)


def pack(codes: torch.Tensor, allowed: Codes) -> torch.Tensor:
    """Integers of any shape → uint8 `[packed_bytes]`: how far each is above the lowest, the first in the lowest bits.

    Four codes of 2 bits or two of 4 share a byte; those of other widths may straddle two. Unused bits at the end are 0.

    Raises:
        QuantizationError: if one is not among the allowed codes, or is NaN.
    """
    lowest, highest = (float(each) for each in torch.aminmax(codes)) if codes.numel() else (allowed.low, allowed.low)
    if not allowed.low <= lowest <= highest <= allowed.high:
        raise QuantizationError(
            f"codes from {lowest:g} to {highest:g} do not fit into {allowed.bits} bits: allowed are {allowed.low} to "
            f"{allowed.high}"
        )
    above = (codes.reshape(-1, 1) - allowed.low).to(torch.uint8).numpy()
    bits = (above >> np.arange(allowed.bits, dtype=np.uint8)) & 1
    return torch.from_numpy(np.packbits(bits, bitorder="little"))


def unpack(packed: torch.Tensor, allowed: Codes, shape: torch.Size) -> torch.Tensor:
    """Inverts `pack`: codes as int64, of that shape.

    Raises:
        QuantizationError: if the bytes are more or fewer than such codes take, or hold one that is not allowed.
    """
    n, width = shape.numel(), allowed.bits
    if packed.dtype != torch.uint8 or packed.shape != (packed_bytes(n, width),):
        found = f"{packed.dtype} {list(packed.shape)}".removeprefix("torch.")
        raise QuantizationError(
            f"{n:,} codes of {width} bits take uint8 [{packed_bytes(n, width)}], but there is {found}"
        )
    bits = np.unpackbits(packed.numpy(), count=n * width, bitorder="little").reshape(n, width)
    codes = torch.from_numpy(bits @ (1 << np.arange(width))).reshape(shape) + allowed.low
    if n and int(codes.max()) > allowed.high:
        raise QuantizationError(
            f"a packed code is {int(codes.max())}, and {width} bits hold {allowed.low} to {allowed.high}: damaged"
        )
    return codes
