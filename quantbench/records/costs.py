"""Costs of a configuration of bit widths: average bits, bytes and bit operations, as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantbench.records.search import LayerCost

# A layer at this width is in floating point, its weights too.
FP32_BITS = 32


class Measure(StrEnum):
    """Cost measure of a configuration, summed over the switchable layers; whatever else a model holds never changes.

    `BITS`: widths, summed; divided by the number of layers the average that people read.
    `BYTES`: what one sample's forward reads: each layer's weights and its input, at their widths. For low-bit layers
        the weights are a constant and the inputs change; for layers in int8 or fp32 both do.
    `BIT_OPERATIONS`: multiply-accumulates × bits of the weight × bits of the activation.

    Source:
        Bit operations: van Baalen et al. 2020, Bayesian Bits (arXiv:2005.07093). Baskin et al. 2018, UNIQ
        (arXiv:1804.10969), who made the word common, add the bits that the accumulator takes; these are left out, as
        in the former.
    """

    BITS = "average bits"
    BYTES = "bytes"
    BIT_OPERATIONS = "bit operations"


@dataclass(frozen=True)
class Configuration:
    """One bit width for each layer, with what it loses.

    Attributes:
        bits: in the order of the layers.
        drop_pp: accuracy lost against all layers high, percentage points, measured or predicted.
    """

    bits: tuple[int, ...]
    drop_pp: float


def layer_cost(layer: LayerCost, bits: int, measure: Measure) -> int:
    """Cost of one layer at that width: bits, bits (eighths of a byte), or bit operations."""
    weight_bits = FP32_BITS if bits == FP32_BITS else layer.weight_bits
    match measure:
        case Measure.BITS:
            return bits
        case Measure.BYTES:
            return layer.weights * weight_bits + layer.inputs * bits
        case Measure.BIT_OPERATIONS:
            return layer.macs * weight_bits * bits


def cost(layers: Sequence[LayerCost], bits: Sequence[int], measure: Measure) -> int:
    """Cost of a configuration, in the unit of `layer_cost`: exact, and so fit for comparing."""
    return sum(layer_cost(layer, width, measure) for layer, width in zip(layers, bits, strict=True))


def shown(layers: Sequence[LayerCost], bits: Sequence[int], measure: Measure) -> float:
    """The same in the unit that people read: bits per layer, bytes, bit operations."""
    return cost(layers, bits, measure) / unit(layers, measure)


def unit(layers: Sequence[LayerCost], measure: Measure) -> int:
    """Number of units of `layer_cost` in one of those that people read."""
    return {Measure.BITS: len(layers), Measure.BYTES: 8, Measure.BIT_OPERATIONS: 1}[measure]


def figure(value: float, measure: Measure) -> str:
    """A cost with its unit: `2.62 bits`, `41,216 bytes`, `1.31e+08 bit operations`."""
    match measure:
        case Measure.BITS:
            return f"{value:.2f} bits on average"
        case Measure.BYTES:
            return f"{value:,.0f} bytes"
        case Measure.BIT_OPERATIONS:
            return f"{value:.3g} bit operations"
