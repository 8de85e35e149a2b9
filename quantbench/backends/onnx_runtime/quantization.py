"""Recipes run by ONNX Runtime's quantization tools, on a message of ONNX; equal inputs give equal bytes."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.file_predictor import Binding, FilePredictor
from quantbench.backends.interface import Calibration, Observers
from quantbench.backends.onnx_runtime.calibration import Activations, Range, ranges_of
from quantbench.backends.onnx_runtime.processor import saturates
from quantbench.backends.onnx_runtime.recipes import DYNAMIC, describe_quantizer, quantizers
from quantbench.backends.onnx_runtime.session import FATAL, SessionRunner, Settings, open_session
from quantbench.backends.onnx_runtime.watched import Watched
from quantbench.backends.onnx_runtime.weight_only import compressed, described
from quantbench.errors import QuantizationError
from quantbench.files import printable
from quantbench.foreign import first_line
from quantbench.recipes.spec import DynamicInt8, Fp32, Quantizer, Recipe, StaticInt8, WeightOnly
from quantbench.registry import unknown_name
from quantbench.temporary import temporary_folder

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# The runtime's own level outside of these steps.
WARNING = 2
# Operators whose second input is a weight, and the axis of its output channels.
WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}
# As layers are written whose activations are quantized batch by batch.
DYNAMIC_FORMS = ("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
DYNAMIC_QUANTIZERS = "dynamic uint8 per_tensor affine", "minmax int8 per_tensor symmetric"
Groups = Mapping[str, Sequence[str]]


def quantized(
    fp32: ModelProto, recipe: Recipe, calibration: Calibration, binding: Binding, groups: Groups | None = None
) -> tuple[ModelProto, Observers]:
    """A quantized copy, and the quantizers that each of its layers has.

    Args:
        fp32: the model, with all its values.
        recipe: one that is supported.
        calibration: data.
        binding: how the model is called.
        groups: name of a group of layers → its layers; None where a layer is named by itself.

    Raises:
        QuantizationError: if nothing was quantized, a layer is not there, or upstream cannot work on the model.
    """
    match recipe:
        case DynamicInt8():
            return _dynamic(fp32, recipe)
        case StaticInt8(layers=()):
            return fp32, {}
        case StaticInt8():
            return _static(fp32, recipe, calibration, binding, groups)
        case Fp32():
            return fp32, {}
        case WeightOnly():
            return _weight_only(fp32, recipe)
        case _:
            raise QuantizationError(f"onnxruntime makes nothing by a recipe of kind {recipe.kind}")


def _dynamic(fp32: ModelProto, recipe: DynamicInt8) -> tuple[ModelProto, Observers]:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    operators = [each for layer in recipe.layers for each in DYNAMIC[layer]]
    with _working("quantize_dynamic") as folder:
        path = folder / "quantized.onnx"
        quantize_dynamic(
            _preprocessed(fp32, folder),
            path,
            op_types_to_quantize=operators,
            weight_type=QuantType.QInt8,
            reduce_range=saturates(),
        )
        found = _read(path)
    return found, _observers(found, f"{' or '.join(operators)} with a constant weight", None, DYNAMIC_QUANTIZERS)


def _weight_only(fp32: ModelProto, recipe: WeightOnly) -> tuple[ModelProto, Observers]:
    with _working("its tool for weights of few bits") as folder:
        found = _read(_preprocessed(fp32, folder))
        layers = compressed(found, recipe)
    if not layers:
        raise QuantizationError(
            f"onnxruntime: nothing was quantized: there is no {' or '.join(recipe.layers)} with a constant weight"
        )
    return found, dict.fromkeys(layers, described(recipe))


def _static(
    fp32: ModelProto, recipe: StaticInt8, calibration: Calibration, binding: Binding, groups: Groups | None
) -> tuple[ModelProto, Observers]:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import save_tensors_data

    activation, weight = quantizers(recipe)
    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    with _working("quantize_static") as folder:
        prepared = _preprocessed(fp32, folder)
        model = _read(prepared)
        ranges = ranges_of(_activations(model, prepared, calibration, binding), activation.range)
        cache = folder / "ranges.json"
        save_tensors_data(_tensors_data(ranges), cache)
        path = folder / "quantized.onnx"
        quantize_static(
            prepared,
            path,
            calibration_data_reader=None,
            calibration_cache_path=cache,
            quant_format=QuantFormat.QDQ,
            per_channel=weight.granularity == "per_channel",
            reduce_range=_reduces(activation, weight),
            activation_type=kinds[activation.dtype],
            weight_type=kinds[weight.dtype],
            nodes_to_quantize=_nodes_of(model, recipe.layers, groups),
            extra_options={
                "ActivationSymmetric": activation.scheme == "symmetric",
                "WeightSymmetric": weight.scheme == "symmetric",
                **_overrides(model, ranges, activation, weight),
            },
        )
        found = _read(path)
    described = describe_quantizer(activation), describe_quantizer(weight)
    return found, _observers(found, "Conv, MatMul or Gemm with a constant weight", recipe.layers, described)


def _reduces(activation: Quantizer, weight: Quantizer) -> bool:
    """True if a bit of the weights is left free, as upstream does it; by the processor where the recipe leaves it."""
    told = [each.reduce_range for each in (activation, weight) if each.reduce_range is not None]
    return any(told) if told else saturates()


@contextlib.contextmanager
def _working(step: str) -> Iterator[Path]:
    """A folder for a step of upstream's, whose warnings and hints are for who calls it by hand.

    Raises:
        QuantizationError: whatever it raises, in one line.
    """
    import onnxruntime

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(FATAL)
    try:
        with warnings.catch_warnings(), temporary_folder() as folder:
            warnings.simplefilter("ignore")
            yield Path(folder)
    except QuantizationError:
        raise
    except Exception as error:
        raise QuantizationError(
            f"onnxruntime: {step} cannot work on this model: {printable(first_line(error))}"
        ) from error
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(WARNING)


def prepared(fp32: ModelProto) -> ModelProto:
    """The model as upstream's tools quantize it: batch norms are folded, and names are those of the quantized one.

    Raises:
        QuantizationError: if upstream cannot work on the model.
    """
    with _working("quant_pre_process") as folder:
        return _read(_preprocessed(fp32, folder))


def _preprocessed(fp32: ModelProto, folder: Path) -> Path:
    """The model after upstream's own preparation: types are inferred, constants folded, batch norms fused."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, path = folder / "fp32.onnx", folder / "prepared.onnx"
    onnx.save(fp32, source)
    # Its symbolic inference needs more libraries, gives other results without them, and only types are needed.
    quant_pre_process(source, path, skip_symbolic_shape=True)
    prepared = _read(path)
    _flatten_biases(prepared)
    onnx.save(prepared, path)
    return path


def _flatten_biases(model: ModelProto) -> None:
    """Gives biases `[1, n]` of Gemm the shape `[n]`, which means the same and which upstream's tool can quantize."""
    users = Counter(name for node in model.graph.node for name in node.input)
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    for tensor in model.graph.initializer:
        if tensor.name in biases and users[tensor.name] == 1 and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _read(path: Path) -> ModelProto:
    import onnx

    return onnx.load(path)


def _activations(model: ModelProto, path: Path, calibration: Calibration, binding: Binding) -> Activations:
    """Forwards that give all activations which upstream may quantize."""
    import onnx
    from onnxruntime.quantization.calibrate import CalibraterBase

    names, kinds = CalibraterBase(path).select_tensors_to_calibrate(model)
    own = {each.name for each in model.graph.input}
    watched = type(model)()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend([kinds[name] for name in sorted(names - own)])
    content = watched.SerializeToString()
    if not watched.graph.output or len(content) > onnx.checker.MAXIMUM_PROTOBUF:
        raise QuantizationError("onnxruntime: no activation of this model has a known type; nothing can be calibrated")
    settings = Settings(graph_optimization="none")
    runner = Watched(SessionRunner(open_session(content, settings, path), path), sorted(names & own))
    predictor = FilePredictor(runner, path.name, Binding(binding.layout, None, binding.constants))

    def activations() -> Iterator[Mapping[str, NDArray[np.float32]]]:
        for batch in calibration.batches():
            runner.seen.clear()
            predictor(batch)
            yield from runner.seen

    return activations


def _tensors_data(ranges: Mapping[str, Range]) -> Any:
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

    found = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, found)


def _nodes_of(model: ModelProto, layers: tuple[str, ...] | None, groups: Groups | None) -> list[str] | None:
    """Names of the nodes that are quantized; None for all."""
    if layers is None:
        return None
    names: list[str] = []
    for layer in layers:
        members = groups[layer] if groups is not None and layer in groups else (layer,)
        found = [each.name for each in model.graph.node if _is_of(each.name, members)]
        if not found:
            known = [*(groups or ()), *(each.name for each in model.graph.node if each.op_type in WEIGHT_AXIS)]
            raise QuantizationError(f"onnxruntime: {unknown_name('layer of the model', layer, known)}")
        names += found
    return names


def _is_of(node: str, layers: Sequence[str]) -> bool:
    return any(node == layer or node.startswith((f"{layer}/", f"{layer}.")) for layer in layers)


def _overrides(
    model: ModelProto, ranges: Mapping[str, Range], activation: Quantizer, weight: Quantizer
) -> dict[str, Any]:
    """Scales that are powers of two, where the recipe asks for them."""
    if activation.max_shift is None or weight.max_shift is None:
        return {}
    from onnx import numpy_helper

    found = {name: [_parameters(*each, activation)] for name, each in ranges.items()}
    constants = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in WEIGHT_AXIS or node.input[1] not in constants:
            continue
        values, axis = numpy_helper.to_array(constants[node.input[1]]), _channels(node)
        if weight.granularity == "per_tensor":
            found[node.input[1]] = [_parameters(values.min(), values.max(), weight)]
            continue
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        found[node.input[1]] = [
            {"axis": axis % values.ndim, **_parameters(row.min(), row.max(), weight)} for row in rows
        ]
    return {"TensorQuantOverrides": found}


def _parameters(low: float, high: float, quantizer: Quantizer) -> dict[str, Any]:
    """Scale and zero point of a range, as `quantbench.quant.power_of_two` has them."""
    first, last = (0, 255) if quantizer.dtype == "uint8" else (-128, 127)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if quantizer.scheme == "symmetric":
        scale, zero_point = max(-low, high) / 127, (first + last + 1) // 2
    else:
        scale = (high - low) / (last - first)
        zero_point = round(min(max(first - low / scale, first), last)) if scale else first
    most = quantizer.max_shift or 0
    shift = round(min(max(-math.log2(scale), 0), most)) if scale else most
    dtype = np.uint8 if quantizer.dtype == "uint8" else np.int8
    return {"scale": np.array(2.0**-shift, np.float32), "zero_point": np.array(zero_point, dtype)}


def _channels(node: NodeProto) -> int:
    """Axis of a weight's output channels."""
    is_transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return 0 if node.op_type == "Gemm" and is_transposed else WEIGHT_AXIS[node.op_type]


def _observers(found: ModelProto, what: str, layers: tuple[str, ...] | None, described: tuple[str, str]) -> Observers:
    """The quantizers of each layer whose weight is int8 now.

    Raises:
        QuantizationError: if there is none.
    """
    constants = {each.name for each in found.graph.initializer}
    codes = {each.output[0] for each in found.graph.node
             if each.op_type == "DequantizeLinear" and each.input[0] in constants}  # fmt: skip
    names = [
        each.name.removesuffix("_quant").removesuffix("_MatMul")
        for each in found.graph.node
        if (each.op_type in WEIGHT_AXIS and each.input[1] in codes) or each.op_type in DYNAMIC_FORMS
    ]
    if not names:
        inside = f" in {', '.join(layers)}" if layers else ""
        raise QuantizationError(f"onnxruntime: nothing was quantized: there is no {what}{inside}")
    activation, weight = described
    return {name: {"activation": activation, "weight": weight} for name in names}
