"""The kernels that inductor chose for a program, read off the graph that it turns into code.

A quantized program is a wish: inductor writes each convolution or matrix product between a dequantize and a quantize as
one int8 kernel of oneDNN where a pattern of its own fits, and computes in floating point where none does. Its graph
after all passes names the operator of each product; the work follows from shapes. What the program multiplies, counted
from the program itself, must come out again as the sum over these.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from quantbench.backends.coverage import Coverage
from quantbench.backends.operators import does_no_products, macs_of, name_of
from quantbench.errors import MeasurementError

if TYPE_CHECKING:
    from torch.fx import Graph

# Operators of oneDNN as inductor calls them, and the places of their values and weights.
INT8 = {"qconv_pointwise": (0, 3), "qconv2d_pointwise": (0, 3), "qlinear_pointwise": (0, 3)}
FLOATING = {"_convolution_pointwise": (0, 1), "_linear_pointwise": (0, 1), "_mkl_linear": (0, 2)}
# Products of torch as inductor has them.
TAKEN_APART = ("addmm", "baddbmm", "bmm", "convolution", "mm", "_convolution_transpose_pointwise")
ONEDNN = ("onednn", "mkldnn", "mkl")
# What packs weights, and what a program is quantized with.
NO_PRODUCTS = ("prepack", "reorder", "pack_weight", "quantize_per", "choose_qparams")
# Of torch before it is taken apart: those that multiply, and the places of their values and weights.
WHOLE = {"conv1d": (0, 1), "conv2d": (0, 1), "conv3d": (0, 1), "linear": (0, 1)}
# Inductor's own operators, and torch's before they are taken apart, that do no sums of products.
HARMLESS = (
    "_low_memory_max_pool", "adaptive_avg_pool", "avg_pool", "batch_norm", "convert_element_type", "device_put",
    "dropout", "flatten", "iota", "inductor_", "layer_norm", "log_softmax", "max_pool", "pad", "relu6", "softmax",
    "fma",
)  # fmt: skip
# Batches for which the work is counted; it must grow by the same for each sample.
BATCHES = (2, 3, 5)
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Product:
    """One operator that multiplies.

    Attributes:
        layer: of the model, or the operator where none is known.
        operator: as inductor calls it.
        computes: `int8`, `float` or `unknown`.
        per_sample: multiply-accumulates of each sample.
        fixed: the same of a batch of any size.
    """

    layer: str
    operator: str
    computes: str
    per_sample: int = 0
    fixed: int = 0

    def macs(self, n: int) -> int:
        """Multiply-accumulates of a batch of `n`."""
        return self.per_sample * n + self.fixed


def products_of(graph: Graph, expected: Sequence[Product] = ()) -> list[Product]:
    """The operators of a graph that multiply, or might, in their order.

    Args:
        graph: of a program, or of inductor after all its passes.
        expected: of the program, whose layers tell the work of operators that inductor merged with others.
    """
    found: list[Product | None] = []
    free = list(expected)
    for node in graph.nodes:
        if node.op == "call_function":
            merged = _merged(node)
            found += [_of_merged(each, node, free) for each in merged] if merged else [_product(node)]
    return [each for each in found if each is not None]


def _merged(node: Any) -> Sequence[Any]:
    """The operators that inductor merged into a node, by the match of its pattern that the node holds."""
    target = node.target
    match = target.args[0] if isinstance(target, functools.partial) and target.args else None
    nodes = getattr(match, "nodes", ())
    return nodes if isinstance(nodes, list) else ()


def _of_merged(inner: Any, node: Any, free: list[Product]) -> Product | None:
    """The work of an operator that was taken out of the graph; None where it does none.

    It has lost its operands, and often its layer: it stands for the next layer of the program of the same work.

    Args:
        inner: the operator.
        node: it was merged into, which has the weights.
        free: layers that no operator stands for so far; the one that is found is taken out.
    """
    from quantbench.backends.exported.graphs import layer_of

    if isinstance(inner.target, str) or not (
        hasattr(inner.target, "_schema") or hasattr(inner.target, "_overload_names")
    ):
        return None
    namespace, name = _name_of(inner.target)
    if name not in INT8 and name not in FLOATING and name not in TAKEN_APART:
        return None
    layer, works = layer_of(inner), _works(inner, node, name)
    taken = _take(free, lambda other: bool(layer) and other.layer == layer and other.macs(1) in works)
    taken = taken or _take(free, lambda other: other.macs(1) in works)
    operator = f"{namespace}::{name}"
    if taken is None:
        return Product(layer, operator, UNKNOWN)
    return replace(taken, operator=operator, computes="int8" if name in INT8 else "float")


def _works(inner: Any, node: Any, name: str) -> set[int]:
    """Multiply-accumulates of one sample with each of the constants that may be the weights."""
    try:
        sizes = _Values(1).sizes(inner.meta["val"])
    # Of no tensor, or of a size that depends on values.
    except (AttributeError, KeyError, TypeError, ValueError):
        return set()
    channels = sizes[-1] if "linear" in name or "mm" in name else sizes[1]
    weights = [_constant(each) for each in node.all_input_nodes if _is_constant(each)]
    return {prod(sizes) * (prod(each.shape) // channels) for each in weights if each.dim() > 1}


def _product(node: Any) -> Product | None:
    """The work of a node; None where it does none."""
    from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket

    from quantbench.backends.exported.graphs import layer_of

    if not isinstance(node.target, OpOverload | OpOverloadPacket | HigherOrderOperator):
        # Arithmetic of sizes, and the choice of one of several results.
        return None
    layer, namespace, name = layer_of(node), *_name_of(node.target)
    operator = f"{namespace}::{name}"
    if any(part in name for part in NO_PRODUCTS):
        return None
    if namespace in ONEDNN or name in WHOLE:
        computes, places = ("int8", INT8.get(name)) if name in INT8 else ("float", (FLOATING | WHOLE).get(name))
        counted = None if places is None else _counts(lambda values: _of_weights(node, values, places))
    elif name.startswith(HARMLESS):
        return None
    else:
        computes, counted = _of_torch(node)
        if counted == (0, 0):
            return None
    if counted is None:
        return Product(layer, operator, UNKNOWN)
    return Product(layer, operator, computes, *counted)


def _name_of(target: Any) -> tuple[str, str]:
    """Namespace and name of an operator, of all its overloads, or of one of a higher order."""
    if hasattr(target, "_qualified_op_name"):
        namespace, _, name = str(target._qualified_op_name).rpartition("::")
        return namespace, name
    return name_of(target) if hasattr(target, "_schema") else ("higher_order", str(target))


def _of_torch(node: Any) -> tuple[str, tuple[int, int] | None]:
    """Precision and work of one of torch's own operators: 0 where it multiplies nothing, None where nobody knows."""
    import torch

    kinds: set[str] = set()

    def macs(values: Any) -> int | None:
        args, kwargs = values(node.args), values(node.kwargs)
        found = macs_of(node.target, args, kwargs, values(node))
        if found is None:
            takes_weights = any(_is_constant(each) for each in node.all_input_nodes)
            return 0 if does_no_products(node.target, args, kwargs, takes_weights) else None
        kinds.update(kind for kind, n in (("int8", found.int8), ("float", found.floating)) if n)
        return found.int8 + found.floating

    # Products of constants are computed when the program is compiled.
    with torch.no_grad():
        counted = _counts(macs)
    return (kinds.pop() if len(kinds) == 1 else UNKNOWN), counted


def _is_constant(node: Any) -> bool:
    return bool(node.op == "get_attr")


def _constant(node: Any) -> Any:
    """The tensor of a graph's attribute, which may be one of a module in it."""
    module = node.graph.owning_module
    return getattr(module, node.target) if hasattr(module, node.target) else attrgetter(node.target)(module)


def _counts(macs: Any) -> tuple[int, int] | None:
    """Work of each sample and of a batch of any size; None where it is not of that form, or no shape tells."""
    try:
        found = [macs(_Values(n)) for n in BATCHES]
    # Shapes that are of no tensor, or depend on values.
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RuntimeError, AssertionError):
        return None
    if None in found:
        return None
    first, second, third = found
    per_sample = second - first
    if third != second + per_sample * (BATCHES[2] - BATCHES[1]):
        return None
    return per_sample, first - per_sample * BATCHES[0]


class _Values:
    """Operands of a node as tensors without values, for a batch of that size.

    Args:
        n: every size that is open is that of the batch.
    """

    def __init__(self, n: int) -> None:
        self._n = n

    def __call__(self, given: Any) -> Any:
        from torch.fx.node import map_arg

        return map_arg(given, self._tensor)

    def _tensor(self, node: Any) -> Any:
        import torch

        value = node.meta.get("val")
        if value is None and node.op == "get_attr":
            value = _constant(node)
        if isinstance(value, list | tuple):
            return type(value)(self._like(each) for each in value)
        return self._like(value) if isinstance(value, torch.Tensor) else value

    def _like(self, value: Any) -> Any:
        import torch

        return torch.empty(self.sizes(value), dtype=value.dtype, device="meta")

    def sizes(self, value: Any) -> list[int]:
        """Sizes of a tensor for this batch."""
        return [size if isinstance(size, int) else self._size(size) for size in value.shape]

    def _size(self, size: Any) -> int:
        expression = size.node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, self._n)))


def _of_weights(node: Any, values: _Values, places: tuple[int, int]) -> int:
    """Every output element takes one product per weight of its output channel."""
    weight = values(node.args[places[1]])
    output = values(node)
    name = _name_of(node.target)[1]
    # Packed linear weights lie transposed.
    channels = output.shape[-1] if "linear" in name else output.shape[1]
    return int(prod(output.shape) * (prod(weight.shape) // channels))


def coverage_of(
    products: Sequence[Product], expected: Sequence[Product], batches: Sequence[int], file: str
) -> Coverage:
    """Multiply-accumulates of batches.

    Args:
        products: of the compiled program.
        expected: of the program as it was given.
        batches: samples of each.
        file: for messages.

    Raises:
        MeasurementError: if nothing was found that multiplies, or might.
    """
    done: dict[str, Counter[str]] = {"int8": Counter(), "float": Counter()}
    uncounted = [f"{each.layer or 'the model'} ({each.operator})" for each in products if each.computes == UNKNOWN]
    for each in _named(products, expected):
        if each.computes != UNKNOWN:
            done[each.computes][each.layer] += sum(map(each.macs, batches))
    total = sum(sum(map(each.macs, batches)) for each in expected if each.computes != UNKNOWN)
    counted = sum(done["int8"].values()) + sum(done["float"].values())
    if counted < total and not uncounted:
        uncounted.append(f"{total - counted:,} of {total:,} multiply-accumulates, in no kernel that inductor names")
    if not products and not expected:
        raise MeasurementError(f"{file}: no convolution or matrix product was seen in its graph")
    int8, floating = dict(done["int8"]), dict(done["float"])
    return Coverage(sum(int8.values()), sum(floating.values()), floating, int8, tuple(dict.fromkeys(uncounted)))


def _named(products: Sequence[Product], expected: Sequence[Product]) -> list[Product]:
    """Products with the layers of the program: those that lost theirs stand for the next one of the same work."""
    free = list(expected)
    for each in products:
        if each.layer:
            _take(free, lambda other, each=each: other.layer == each.layer)
    found = []
    for each in products:
        layer = each.layer
        if not layer:
            taken = _take(free, lambda other, each=each: other.macs(1) == each.macs(1))
            layer = (taken.layer if taken is not None else "") or each.operator
        found.append(replace(each, layer=layer))
    return found


def _take(free: list[Product], fits: Any) -> Product | None:
    at = next((i for i, other in enumerate(free) if fits(other)), None)
    return None if at is None else free.pop(at)
