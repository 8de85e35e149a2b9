"""Prepare → calibrate → convert of a graph, and the names that its constants have in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from quantbench.arrays import Inputs
from quantbench.backends.exported.graphs import few, graph_of, layer_of, tensors_of
from quantbench.backends.exported.layers import Groups
from quantbench.backends.finite import is_finite
from quantbench.backends.interface import Observers
from quantbench.backends.pt2e.constants import delete_constant, get_constant, set_constant
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError, SampleError
from quantbench.recipes.spec import DynamicInt8, StaticInt8

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.fx import GraphModule

# Ends of the names that torchao gives to folded biases, and of those that constants have in the file.
FOLDED_BIAS, BIAS = ".weight_bias", ".bias"


# Recipe, names of the model's layers and its groups → a quantizer of torchao.
MakeQuantizer = Callable[[DynamicInt8 | StaticInt8, set[str], Groups | None], Any]


def quantized(
    module: nn.Module,
    recipe: DynamicInt8 | StaticInt8,
    batches: Iterable[Inputs],
    samples: Inputs,
    quantizer_of: MakeQuantizer,
) -> tuple[GraphModule, Observers]:
    """Post-training quantization.

    Args:
        module: in eval mode.
        recipe: one that is not refused.
        batches: of calibration data; none are asked for by a dynamic recipe.
        samples: a few normalized inputs.
        quantizer_of: makes the backend's quantizer.

    Returns: The converted graph, and the observers that chose its scales.

    Raises:
        QuantizationError: if the model cannot be exported, has no such layers, or nothing was quantized.
        SampleError: if a sample gives NaN or infinity.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    name = type(module).__name__
    graph = graph_of(module, samples)
    layers = {layer_of(node) for node in graph.graph.nodes if node.op == "call_function"} - {""}
    quantizer = quantizer_of(recipe, layers, groups_of(module))
    with quiet():
        prepared = prepare_pt2e(graph, quantizer)
        # A dynamic recipe needs no data; its weights are watched by observers all the same.
        calibrate(prepared, batches if isinstance(recipe, StaticInt8) else [few(samples)])
    return converted(prepared, name)


def groups_of(module: nn.Module) -> Groups | None:
    """The model's groups of layers, where it names some."""
    return getattr(module, "layer_groups", None)


def calibrate(prepared: GraphModule, batches: Iterable[Inputs]) -> None:
    """Shows batches to the observers of a prepared graph.

    Raises:
        QuantizationError: if there is no sample.
        SampleError: naming the first sample that gives NaN or infinity.
    """
    import torch

    seen = 0
    with torch.no_grad():
        for batch in batches:
            tensors = tensors_of(batch)
            if not all(is_finite(each) for each in tensors):
                raise SampleError("is NaN or infinity, which no scale fits", seen + _first_not_finite(tensors))
            given = prepared(*tensors)
            outputs = _tensors(given)
            if not all(is_finite(each) for each in outputs):
                raise SampleError(
                    "the model gives NaN or infinity, which no scale fits; take the sample out",
                    seen + _first_not_finite(outputs),
                )
            seen += len(tensors[0])
    if seen == 0:
        raise QuantizationError("calibration saw no sample; its observers would give every scale 1.0")


def _tensors(values: Any) -> tuple[torch.Tensor, ...]:
    import torch
    from torch.utils._pytree import tree_leaves

    return tuple(each for each in tree_leaves(values) if isinstance(each, torch.Tensor))


def _first_not_finite(tensors: Iterable[Any]) -> int:
    import torch

    for tensor in tensors:
        bad = ~torch.isfinite(tensor.reshape(len(tensor), -1)).all(1)
        if bool(bad.any()):
            return int(bad.nonzero()[0])
    return 0


def converted(prepared: GraphModule, name: str) -> tuple[GraphModule, Observers]:
    """Converts a calibrated graph.

    Args:
        prepared: from torchao's `prepare_pt2e`.
        name: of the model, for messages.

    Raises:
        QuantizationError: if nothing was quantized, or an observer saw no data.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    _check_seen(prepared)
    found = observers_of(prepared)
    with quiet():
        graph = convert_pt2e(prepared)
    _repeat_scales(graph)
    _name_constants(graph)
    check_quantized([str(node.target) for node in graph.graph.nodes if node.op == "call_function"], name)
    return graph, found


def _check_seen(prepared: GraphModule) -> None:
    for name, each in prepared.named_modules():
        seen = getattr(each, "max_val", None)
        if seen is not None and not (seen.numel() and is_finite(seen)):
            watching = name.removesuffix(".activation_post_process")
            raise QuantizationError(f"convert: '{watching}' has seen no data, and its scale would be 1.0; train first")


def check_quantized(names: Iterable[str], name: str) -> None:
    """Refuses a model of which nothing was quantized.

    Args:
        names: of what it calls.
        name: of the model, for messages.
    """
    if not any("quant" in each for each in names):
        raise QuantizationError(
            f"{name}: nothing was quantized: torchao found no 2-D convolution or linear layer among those that the "
            "recipe names; set backend: eager, or name other layers"
        )


def observers_of(prepared: GraphModule) -> Observers:
    """Every quantized layer's activation and weight observer: class, dtype, scheme and integer range."""
    found: Observers = {}
    # One observer may watch several nodes, under a name each.
    modules = dict(prepared.named_modules(remove_duplicate=False))
    # What depends on samples is no weight, though a batch norm may scale it.
    of_samples: set[Any] = set()
    for node in prepared.graph.nodes:
        if node.op == "placeholder" or not of_samples.isdisjoint(node.all_input_nodes):
            of_samples.add(node)
        layer = layer_of(node)
        if node.op != "call_function" or not layer:
            continue
        for watching in (each for each in node.all_input_nodes if each.op == "call_module"):
            observer = modules[str(watching.target)]
            # A batch norm in training is a module too.
            if hasattr(observer, "dtype"):
                kind = "activation" if watching in of_samples else "weight"
                found.setdefault(layer, {}).setdefault(kind, _described(observer))
    # A pooling or sum that keeps its input's scale has no weight and is no layer.
    return {layer: kinds for layer, kinds in found.items() if "weight" in kinds}


def _described(observer: Any) -> str:
    inner = getattr(observer, "activation_post_process", None)
    inside = f"{type(inner).__name__}, " if inner is not None else ""
    scheme, dtype = (str(each).removeprefix("torch.") for each in (getattr(observer, "qscheme", None), observer.dtype))
    shift = getattr(inner if inner is not None else observer, "max_shift", None)
    finest = "" if shift is None else f", scale ≥ 2^-{shift}"
    return f"{type(observer).__name__}({inside}{dtype}, {scheme}, {observer.quant_min}..{observer.quant_max}{finest})"


def _repeat_scales(graph: GraphModule) -> None:
    """Gives weights of one scale that scale once per output channel: inductor's int8 kernels take no others."""
    import torch

    decomposed = torch.ops.quantized_decomposed
    for node in list(graph.graph.nodes):
        source: Any = node.args[0] if node.args else None
        if node.target != decomposed.dequantize_per_tensor.default or getattr(source, "op", "") != "get_attr":
            continue
        codes, (scale, zero_point, *rest) = get_constant(graph, str(source.target)), node.args[1:]
        names = [f"{str(source.target).replace('.', '_')}_{what}" for what in ("scales", "zero_points")]
        set_constant(graph, names[0], torch.full((len(codes),), scale, dtype=torch.float32))
        set_constant(graph, names[1], torch.full((len(codes),), zero_point, dtype=torch.int64))
        with graph.graph.inserting_before(node):
            repeated = [graph.graph.get_attr(name) for name in names]
            new = graph.graph.call_function(
                decomposed.dequantize_per_channel.default, (source, *repeated, 0, *rest), dict(node.kwargs)
            )
        new.meta = node.meta
        node.replace_all_uses_with(new)
        graph.graph.erase_node(node)
    graph.recompile()


def _name_constants(graph: GraphModule) -> None:
    """Names integer weights, their scales and folded biases after their layers; drops what nothing uses."""
    for node in list(graph.graph.nodes):
        target = str(node.target)
        if node.op == "call_function" and "dequantize_per" in target and node.args[0].op == "get_attr":
            layer = next(filter(None, map(layer_of, _users(node))), "")
            names = ("weight", "weight_scale", "weight_zero_point")
            for argument, last in zip(node.args, names, strict=False):
                if getattr(argument, "op", "") == "get_attr":
                    _move(graph, argument, f"{layer}.{last}" if layer else last)
        elif node.op == "get_attr" and target.endswith(FOLDED_BIAS):
            _move(graph, node, target.removesuffix(FOLDED_BIAS) + BIAS)
    graph.graph.eliminate_dead_code()
    _drop_unused(graph)
    graph.recompile()


def _users(node: Any) -> list[Any]:
    """Nodes that use a node's values, transposed or not."""
    return [each for user in node.users for each in ([user] if layer_of(user) else [user, *user.users])]


def _move(graph: GraphModule, node: Any, name: str) -> None:
    """Gives the constant of a node another name, or that name with a number where another node's has it."""
    if node.target == name:
        return
    used = {str(each.target) for each in graph.graph.nodes if each.op == "get_attr" and each is not node}
    shared, free, n = str(node.target) in used, name, 1
    while free in used:
        n += 1
        free = f"{name}_{n}"
    value = get_constant(graph, str(node.target))
    if not shared:
        delete_constant(graph, str(node.target))
    set_constant(graph, free, value.detach())
    node.target = free


def _drop_unused(graph: GraphModule) -> None:
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    names = [*dict(graph.named_parameters(remove_duplicate=False)), *dict(graph.named_buffers(remove_duplicate=False))]
    for name in set(names) - used:
        delete_constant(graph, name)
