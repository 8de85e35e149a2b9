"""Static post-training quantization by NNCF: the recipe's words in NNCF's, and what differs.

NNCF decides by itself which activations are quantized, and differs from torch.ao in this: symmetric weights use
−127..127; the range of weights, not of activations, is halved for processors whose sums saturate; branches that meet
share one scale. Its correction of biases, which no recipe knows, is off unless the backend is asked for it: on small
networks it costs more accuracy than it saves.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from quantbench.arrays import Inputs
from quantbench.backends.openvino_runtime.library import nncf
from quantbench.backends.openvino_runtime.reading import name_of, reason_of
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import HISTOGRAM_ACTIVATION, PER_CHANNEL_WEIGHT, Quantizer, StaticInt8

# Ranges of the recipe → the set of NNCF's estimators. The mean over all samples stands for a moving average.
RANGES = {"minmax": "MINMAX", "moving_average": "MEAN_MINMAX", "histogram": "HISTOGRAM"}


def refusal(recipe: StaticInt8) -> str | None:
    """The reason why NNCF cannot quantize as a recipe asks; None if it can."""
    if recipe.layers is not None:
        return (
            "quantizes whole models: its graph no longer has the layers that a model names in layer_groups; set "
            "backend: eager, or name a recipe of all layers"
        )
    activation, weight = recipe.activation or HISTOGRAM_ACTIVATION, recipe.weight or PER_CHANNEL_WEIGHT
    if activation.max_shift is not None or weight.max_shift is not None:
        return "has no scales that are powers of two; set backend: eager"
    if activation.granularity == "per_channel":
        return "quantizes activations per tensor; set activation.granularity: per_tensor"
    if weight.dtype != "int8":
        return f"has int8 weights only, no {weight.dtype}; set weight.dtype: int8"
    if weight.range != "minmax":
        return f"takes the range of weights from their ends, not by {weight.range}; set weight.range: minmax"
    return None


def quantize(model: Any, recipe: StaticInt8, batches: Iterable[Inputs], bias_correction: bool, path: Path) -> Any:
    """A quantized copy of an `openvino.Model`.

    Args:
        model: in floating point.
        recipe: one that is not refused.
        batches: of calibration data.
        bias_correction: NNCF's own, which shifts biases by the mean error that quantization causes.
        path: of the reference, for messages.

    Raises:
        QuantizationError: if NNCF cannot, or finds nothing to quantize.
    """
    library = nncf()
    samples = list(_one_by_one(model, batches))
    with quiet():
        try:
            quantized = library.quantize(
                model,
                library.Dataset(samples),
                target_device=library.TargetDevice.CPU,
                subset_size=len(samples),
                advanced_parameters=_parameters(library, recipe, bias_correction),
            )
        except Exception as error:
            raise QuantizationError(f"{path}: nncf cannot quantize it ({reason_of(error)})") from error
    if not any(op.get_type_name() == "FakeQuantize" for op in quantized.get_ops()):
        raise QuantizationError(
            f"{path}: nncf quantized nothing: it found no convolution, matrix product or other layer that it quantizes"
        )
    return quantized


def _one_by_one(model: Any, batches: Iterable[Inputs]) -> Iterator[dict[str, Any]]:
    """Samples one by one, so that no statistic depends on how the data was cut; batches for a model of a fixed one."""
    names = [name_of(port) for port in model.inputs]
    first = model.inputs[0].partial_shape[0]
    size = 1 if first.is_dynamic else first.get_length()
    for batch in batches:
        arrays = [batch[name] for name in names] if set(names) <= set(batch) else list(batch.values())
        # What is left over of a fixed batch is not used.
        for start in range(0, len(arrays[0]) - size + 1, size):
            yield {name: array[start : start + size] for name, array in zip(names, arrays, strict=True)}


def _parameters(library: Any, recipe: StaticInt8, bias_correction: bool) -> Any:
    activation, weight = recipe.activation or HISTOGRAM_ACTIVATION, recipe.weight or PER_CHANNEL_WEIGHT
    fixes = {None: "ENABLE", True: "ENABLE", False: "DISABLE"}
    # torch.ao leaves a bit of activations free, and NNCF one of weights; either word asks for it.
    reduced = activation.reduce_range if activation.reduce_range is not None else weight.reduce_range
    ranges = importlib.import_module("nncf.quantization.range_estimator").RangeEstimatorParametersSet
    estimator = getattr(ranges, RANGES[activation.range])
    return library.AdvancedQuantizationParameters(
        overflow_fix=library.OverflowFix[fixes[reduced]],
        disable_bias_correction=not bias_correction,
        activations_quantization_params=_quantizer(activation),
        weights_quantization_params=_quantizer(weight),
        activations_range_estimator_params=estimator,
    )


def _quantizer(wanted: Quantizer) -> Any:
    parameters = _advanced().QuantizationParameters
    mode = _advanced().QuantizationMode["SYMMETRIC" if wanted.scheme == "symmetric" else "ASYMMETRIC"]
    return parameters(num_bits=8, mode=mode, per_channel=wanted.granularity == "per_channel")


def _advanced() -> Any:
    return importlib.import_module("nncf.quantization.advanced_parameters")
