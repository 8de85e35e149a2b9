"""The reference that every delta is taken from."""

from __future__ import annotations

from quantbench.recipes.spec import Fp32


def fp32_baseline() -> Fp32:
    """The committed weights, untouched.

    Example:
        >>> fp32_baseline()
        Fp32()
    """
    return Fp32()
