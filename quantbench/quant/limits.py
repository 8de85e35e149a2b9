"""Bounds on what can be asked for; no torch, so that recipes can check their parameters against them."""

from __future__ import annotations

# One bit has no room for a sign, and codes of more than eight are not what int8 kernels hold.
MIN_BITS, MAX_BITS = 2, 8
# The finest scale is 2^-8 unless told otherwise, as the published observer has it.
DEFAULT_MAX_SHIFT = 8
# A scale of 2^-30 is a billionth; beyond that a bias no longer fits the 32 bits of an accumulator.
LARGEST_MAX_SHIFT = 30
