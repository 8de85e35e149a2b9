"""What a recipe can say, independent of any backend."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
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
class ObserverSpec:
    """How a tensor's range is found and mapped to integers.

    Attributes:
        observer: class name of the observer, such as `MinMaxObserver`.
        dtype: of the quantized values; quint8 for activations, qint8 for weights.
        qscheme: `per_tensor_affine`, `per_tensor_symmetric` or `per_channel_symmetric` (output channels).
        max_shift: scales are powers of two, 2^-n with 0 ≤ n ≤ max_shift; None for any scale.
    """

    observer: str
    dtype: Literal["quint8", "qint8"]
    qscheme: Literal["per_tensor_affine", "per_tensor_symmetric", "per_channel_symmetric"]
    max_shift: int | None = None


@dataclass(frozen=True)
class Fp32:
    """No quantization."""

    backend: ClassVar[str | None] = None


@dataclass(frozen=True)
class DynamicInt8:
    """Weights of the named layer types quantized once, their activations on the fly; no calibration."""

    backend: ClassVar[str | None] = "eager"

    layers: tuple[str, ...]


@dataclass(frozen=True)
class StaticInt8:
    """Fuse, prepare, calibrate, convert.

    Attributes:
        activation: observer of activations, or None together with `weight` for the processor's default qconfig.
        weight: observer of weights.
        calibration_n: unaugmented training-side samples that the observers see.
        blocks: the model's blocks that are quantized, the rest staying fp32; None for the whole model.
        full_range: activations use all 8 bits on every engine; with the processor's default observers only.
    """

    backend: ClassVar[str | None] = "eager"

    activation: ObserverSpec | None
    weight: ObserverSpec | None
    calibration_n: int
    blocks: tuple[str, ...] | None = None
    full_range: bool = False


@dataclass(frozen=True)
class QatInt8:
    """Fine-tune from the baseline with fake quantization, then convert.

    Attributes:
        activation: observer inside the fake quantizer of activations.
        weight: observer inside the fake quantizer of weights.
        epochs: of fine-tuning.
        lr: peak learning rate; far below the baseline's, since the weights are only nudged.
        frozen_epochs: the last epochs, in which the observers and the batch-norm statistics of quantized layers stand
            still, so that the network converges on the very scales it will be converted with (Krishnamoorthi 2018,
            arXiv:1806.08342, section 3.2.2). The batch norms of blocks that stay fp32 go on.
        blocks: the model's blocks that are quantized, while the whole network is fine-tuned; None for all of it, and
            none at all for a control that shows what the fine-tuning alone does.
    """

    backend: ClassVar[str | None] = "eager"

    activation: ObserverSpec
    weight: ObserverSpec
    epochs: int
    lr: float
    frozen_epochs: int
    blocks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class LowBit:
    """Fine-tune from the baseline with learned ranges of a few bits, then pack the weights' codes.

    Attributes:
        weight_bits: of every convolution and linear layer, 2 to 8.
        activation_bits: of the input of each.
        quantizer: `clipping` learns where activations and normalized weights are clipped, `lsq` the size of a step.
        epochs: of fine-tuning.
        lr: peak learning rate.
        frozen_epochs: the last epochs, in which batch-norm statistics stand still.
        first_bits: of weights and input of the first layer instead; 32 leaves it in fp32, None is as all others.
        last_bits: of the last linear layer, likewise.
    """

    backend: ClassVar[str | None] = "low_bit"

    weight_bits: int
    activation_bits: int
    quantizer: Literal["clipping", "lsq"]
    epochs: int
    lr: float
    frozen_epochs: int
    first_bits: int | None = None
    last_bits: int | None = None


# `backend` of each: the one of ours that runs such recipes; None for any.
Recipe = Fp32 | DynamicInt8 | StaticInt8 | QatInt8 | LowBit
# Those whose weights are fine-tuned, and committed.
Trained = QatInt8 | LowBit


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON (lists, no tuples): its kind and everything that decides its result."""
    described: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    # The usual goes without saying, as in goldens that were accepted before anything else could be asked for.
    if described.get("blocks", ...) is None:
        del described["blocks"]
    if described.get("full_range") is False:
        del described["full_range"]
    for observer in (described.get("activation"), described.get("weight")):
        if observer is not None and observer["max_shift"] is None:
            del observer["max_shift"]
    return {"kind": type(recipe).__name__, **described}


PER_TENSOR_ACTIVATION = ObserverSpec("MinMaxObserver", "quint8", "per_tensor_affine")
PER_TENSOR_WEIGHT = ObserverSpec("MinMaxObserver", "qint8", "per_tensor_symmetric")
PER_CHANNEL_WEIGHT = ObserverSpec("PerChannelMinMaxObserver", "qint8", "per_channel_symmetric")
HISTOGRAM_ACTIVATION = ObserverSpec("HistogramObserver", "quint8", "per_tensor_affine")
