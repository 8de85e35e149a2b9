"""Recipes: what to quantize and how to calibrate or train it, in no library's words.

A backend maps them to its library; `quantbench.recipes.lowering` says which backend runs which kind.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from quantbench.quant.limits import LARGEST_MAX_SHIFT

# Samples that observers see by default; 32 is enough for a smoke test, beyond 1,024 there is little gain.
DEFAULT_CALIBRATION_N = 256
CalibrationN = Annotated[int, Field(gt=0)]
MaxShift = Annotated[int, Field(ge=0, le=LARGEST_MAX_SHIFT)]
# The width of what is left in floating point.
FP32_BITS = 32


@dataclass(frozen=True)
class Quantizer:
    """The mapping of a tensor's values to 8-bit integers.

    Attributes:
        range: how the ends of the range are found. `minmax`: the smallest and largest value seen; `moving_average`:
            moving averages of them over batches; `histogram`: the range of the least squared error, which clips
            outliers.
        dtype: of the integers.
        granularity: one scale per tensor, or one per output channel.
        scheme: `affine` has a zero point; `symmetric` has none.
        reduce_range: one bit is left free, so that 16-bit sums of products cannot saturate; None for what the
            processor's kernels need.
        max_shift: scales are powers of two, 2^-n with 0 ≤ n ≤ max_shift; None for any scale.

    Example:
        >>> Quantizer("minmax", "int8", "per_channel", "symmetric").granularity
        'per_channel'
    """

    range: Literal["minmax", "moving_average", "histogram"]
    dtype: Literal["uint8", "int8"]
    granularity: Literal["per_tensor", "per_channel"]
    scheme: Literal["affine", "symmetric"]
    reduce_range: bool | None = None
    max_shift: int | None = None


class Recipe:
    """Base of all recipes: frozen dataclasses, whose fields decide the result.

    Attributes:
        kind: names the class in documents and to backends.

    Example:
        >>> @dataclass(frozen=True)
        ... class Int4Weights(Recipe):
        ...     kind: ClassVar[str] = "int4_weights"
        ...     group_size: int = 128
        >>> describe(Int4Weights(group_size=32))
        {'kind': 'int4_weights', 'group_size': 32}
    """

    kind: ClassVar[str]


class Trained(Recipe):
    """Base of recipes whose weights are fine-tuned from the baseline, and committed.

    Attributes:
        epochs: of fine-tuning.
        lr: peak learning rate; far below the baseline's, since the weights are only nudged.
        frozen_epochs: the last epochs, in which batch-norm statistics and observers stand still.
    """

    epochs: int
    lr: float
    frozen_epochs: int


@dataclass(frozen=True)
class Fp32(Recipe):
    """No quantization."""

    kind: ClassVar[str] = "fp32"


@dataclass(frozen=True)
class ReadyMade(Recipe):
    """No quantization here: the candidate was made elsewhere, and this is its file.

    Attributes:
        path: as the workload file names it.
    """

    kind: ClassVar[str] = "ready_made"

    path: str


@dataclass(frozen=True)
class Function(Recipe):
    """The user's own function makes the candidate.

    Attributes:
        function: its import path.
        params: name and value of each parameter that it is called with beside the model and the calibration batches.
        structure: import path of a function fp32 model → module of the structure that the candidate's state dict fits;
            None for the structure of the fp32 model.
    """

    kind: ClassVar[str] = "function"

    function: str
    params: tuple[tuple[str, Any], ...] = ()
    structure: str | None = None


@dataclass(frozen=True)
class DynamicInt8(Recipe):
    """Weights quantized once, activations batch by batch; no calibration.

    Attributes:
        layers: types of the layers that are quantized, such as `Linear`.
    """

    kind: ClassVar[str] = "dynamic_int8"

    layers: tuple[str, ...]


@dataclass(frozen=True)
class WeightOnly(Recipe):
    """Weights quantized once, symmetric about 0; activations and arithmetic stay in floating point. No calibration.

    Attributes:
        bits: of a weight, 4 or 8.
        layers: types of the layers that are quantized, such as `Linear`.
        block_size: weights that share a scale, along the inputs of a layer; None for one scale per output channel.
    """

    kind: ClassVar[str] = "weight_only"

    bits: int
    layers: tuple[str, ...]
    block_size: int | None = None


@dataclass(frozen=True)
class StaticInt8(Recipe):
    """Post-training quantization: fuse, prepare, calibrate, convert.

    Attributes:
        activation: of activations, or None together with `weight` for the processor's default.
        weight: of weights.
        calibration_n: unaugmented training-side samples that the observers see.
        layers: those that are quantized, by the names that the model gives in its `layer_groups`, the rest staying
            fp32; None for the whole model.
    """

    kind: ClassVar[str] = "static_int8"

    activation: Quantizer | None
    weight: Quantizer | None
    calibration_n: int
    layers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class QatInt8(Trained):
    """Quantization-aware training: fine-tune with fake quantization, then convert.

    Attributes:
        activation: fake quantizer of activations.
        weight: fake quantizer of weights.
        epochs: see `Trained`.
        lr: see `Trained`.
        frozen_epochs: see `Trained`; the network converges on the very scales that it will be converted with
            (Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2). The batch norms of layers that stay fp32 go on.
        layers: those that are quantized, while the whole network is fine-tuned; None for all of it, and none at all for
            a control that shows what the fine-tuning alone does.
    """

    kind: ClassVar[str] = "qat_int8"

    activation: Quantizer
    weight: Quantizer
    epochs: int
    lr: float
    frozen_epochs: int
    layers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class LowBit(Trained):
    """Fine-tune from the baseline with learned ranges of a few bits, then pack the weights' codes.

    Attributes:
        weight_bits: of every convolution and linear layer, 2 to 8.
        activation_bits: of the input of each.
        quantizer: `pact` learns where activations and normalized weights are clipped, `lsq` the size of a step.
        epochs: see `Trained`.
        lr: see `Trained`.
        frozen_epochs: see `Trained`; learned ranges go on.
        first_bits: of weights and input of the first layer instead; 32 leaves it in fp32, None is as all others.
        last_bits: of the last linear layer, likewise.
    """

    kind: ClassVar[str] = "low_bit"

    weight_bits: int
    activation_bits: int
    quantizer: Literal["pact", "lsq"]
    epochs: int
    lr: float
    frozen_epochs: int
    first_bits: int | None = None
    last_bits: int | None = None


def leaves_fp32(recipe: Recipe) -> bool:
    """True if a recipe quantizes nothing on purpose: fp32, or a control of which no part is quantized.

    Example:
        >>> leaves_fp32(Fp32()), leaves_fp32(DynamicInt8(("Linear",)))
        (True, False)
    """
    return isinstance(recipe, Fp32) or getattr(recipe, "layers", None) == ()


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON (lists, no tuples): its kind and every field that is not at its default.

    A default goes without saying, so that a field that is added later changes nothing that was accepted.

    Example:
        >>> describe(DynamicInt8(("Linear",)))
        {'kind': 'dynamic_int8', 'layers': ['Linear']}
    """
    return {"kind": recipe.kind, **_description(recipe)}


def _description(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults."""
    description: dict[str, Any] = {}
    for field in fields(value):
        held = getattr(value, field.name)
        if held != field.default:
            description[field.name] = _description(held) if is_dataclass(held) else _without_tuples(held)
    return description


def _without_tuples(value: Any) -> Any:
    return [_without_tuples(each) for each in value] if isinstance(value, tuple) else value


PER_TENSOR_ACTIVATION = Quantizer("minmax", "uint8", "per_tensor", "affine")
HISTOGRAM_ACTIVATION = Quantizer("histogram", "uint8", "per_tensor", "affine")
MOVING_AVERAGE_ACTIVATION = Quantizer("moving_average", "uint8", "per_tensor", "affine")
PER_TENSOR_WEIGHT = Quantizer("minmax", "int8", "per_tensor", "symmetric")
PER_CHANNEL_WEIGHT = Quantizer("minmax", "int8", "per_channel", "symmetric")
MOVING_AVERAGE_WEIGHT = Quantizer("moving_average", "int8", "per_channel", "symmetric")
