"""Multiply-accumulates of one operator, from its operands; and the operators that are known to do none.

An operator that is neither counted nor on a list here is not taken for harmless: its caller has to say that it was not
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from quantbench.backends.no_products import (
    NO_PRODUCTS,
    NO_PRODUCTS_BEGIN,
    NO_PRODUCTS_END,
    QUANTIZED_NO_PRODUCTS,
    UNARY_PRODUCTS,
    VISION_NO_PRODUCTS,
)
from quantbench.backends.quantized_tensors import INT8

ATEN, QUANTIZED = ("aten",), ("quantized", "_quantized")
# Layouts whose every element takes part in a product.
DENSE = (torch.strided, torch._mkldnn)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one operator, by the precision that they are done in."""

    int8: int = 0
    floating: int = 0


def name_of(func: Any) -> tuple[str, str]:
    """Namespace and name of an operator, without its overload and the mark of one that works in place."""
    full: str = func.name()
    namespace, _, name = full.rpartition("::")
    return namespace, name.partition(".")[0].rstrip("_")


def tensors_of(values: Any) -> list[torch.Tensor]:
    """Every tensor among nested operands."""
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


def packed_of(values: Any) -> list[torch.ScriptObject]:
    """Every packed weight among nested operands."""
    return [each for each in tree_leaves(values) if isinstance(each, torch.ScriptObject)]


def macs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Macs | None:
    """Multiply-accumulates of an operator; None where there is no formula for it."""
    if isinstance(func, torch._ops.HigherOrderOperator):
        count = flop_registry.get(func)
        return None if count is None else Macs(floating=count(*args, **kwargs, out_val=result) // 2)
    namespace, name = name_of(func)
    operands = _in_order(func, args, kwargs)
    if namespace in QUANTIZED and (packed := packed_of(operands)) and not name.endswith(("prepack", "unpack")):
        return _packed_macs(name, operands, packed, result)
    if name == "mul" and namespace in ATEN + QUANTIZED:
        return _outer_macs(operands, result)
    if namespace in QUANTIZED and name == "matmul":
        return Macs(int8=result.numel() * operands[0].shape[-1])
    if namespace not in ATEN or any(each.layout not in DENSE for each in tensors_of(operands)):
        return None
    if name == "_int_mm":
        return Macs(int8=result.numel() * operands[0].shape[-1])
    if name in CELLS:
        return _packed_macs(name, operands, [part for cell in packed_of(operands) for part in _cell(cell)], result)
    if name in FORMULAS:
        return Macs(floating=FORMULAS[name](operands, result))
    count = flop_registry.get(getattr(torch.ops.aten, name, None))
    return None if count is None else Macs(floating=count(*operands, out_val=result) // 2)


def does_no_products(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], takes_weights: bool) -> bool:
    """True if an operator without a formula is known to multiply nothing.

    Args:
        func: the operator.
        args: its operands.
        kwargs: more of them; `out` is none.
        takes_weights: some operand is a parameter or buffer of the model, or made of such alone.
    """
    if isinstance(func, torch._ops.HigherOrderOperator):
        return False
    operands = [*args, *(value for key, value in kwargs.items() if key != "out")]
    tensors, packed = tensors_of(operands), packed_of(operands)
    if not tensors and not packed:
        return True
    namespace, name = name_of(func)
    if namespace in QUANTIZED:
        # Packing, and questions to what is packed, give no tensor of values.
        asks = name.startswith(("conv", "linear", "make_", "embedding_bag")) and name.endswith(("prepack", "unpack"))
        return asks or name.startswith(QUANTIZED_NO_PRODUCTS)
    if namespace == "torchvision":
        return name in VISION_NO_PRODUCTS
    if namespace not in ATEN:
        return False
    if torch.Tag.pointwise in func.tags or func.is_view or name in NO_PRODUCTS:
        return True
    if name.startswith(NO_PRODUCTS_BEGIN) or name.endswith(NO_PRODUCTS_END):
        return True
    if packed or takes_weights or name.startswith(UNARY_PRODUCTS):
        return False
    return sum(each.dtype is not torch.bool for each in tensors) < 2


def _in_order(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Operands as positional ones, in the order of the operator's schema."""
    rest = [each for each in func._schema.arguments[len(args) :] if not each.kwarg_only]
    return [*args, *(kwargs.get(each.name, each.default_value) for each in rest)]


def _packed_macs(name: str, operands: list[Any], packed: list[Any], result: Any) -> Macs | None:
    """Of an operator with packed weights; those packed as float16 are unpacked as floating point."""
    if not name.startswith(("conv", "linear", "quantized_")) or not tensors_of(result):
        return None
    weights = [each.unpack()[0] for each in packed]
    given = operands[0]
    if name.startswith("quantized_"):
        # Every time step of every sample meets each weight once.
        macs = given.numel() // given.shape[-1] * sum(weight.numel() for weight in weights)
    else:
        macs = _weighted_macs(weights[0], given, result, transposed="transpose" in name)
    return Macs(int8=macs) if all(weight.dtype in INT8 for weight in weights) else Macs(floating=macs)


def _weighted_macs(weight: torch.Tensor, given: torch.Tensor, result: torch.Tensor, transposed: bool) -> int:
    """Every output element takes one product per weight of its output channel; transposed, every input element gives
    one per weight of its input channel."""
    return int((given if transposed else result).numel() * weight[0].numel())


def _cell(params: Any) -> Iterator[Any]:
    """Packed weights of one layer and direction of a recurrent network."""
    (_, _, _, _, packed), _ = params.__getstate__()
    yield from packed


def _outer_macs(operands: list[Any], result: Any) -> Macs | None:
    """One product for each element, where the result is larger than each operand: otherwise it is a scale."""
    first, second = operands[:2]
    if not isinstance(second, torch.Tensor) or result.numel() <= max(first.numel(), second.numel()):
        return None
    return Macs(int8=result.numel()) if result.dtype in INT8 else Macs(floating=result.numel())


def _attention_macs(operands: list[Any], result: Any) -> int:  # noqa: ARG001
    """Scores of every query with every key, and the values that they weigh: `[…, queries, width]` each."""
    query, key, value = operands[:3]
    return int(query.numel() * key.shape[-2] + query.numel() // query.shape[-1] * key.shape[-2] * value.shape[-1])


def _trilinear_macs(operands: list[Any], result: Any) -> int:  # noqa: ARG001
    """One for each element of the product of all three before it is summed."""
    shapes = []
    for tensor, expanded in zip(operands[:3], operands[3:6], strict=True):
        for dim in expanded:
            tensor = tensor.unsqueeze(dim)
        shapes.append(tensor.shape)
    return math.prod(torch.broadcast_shapes(*shapes))


def _recurrent_macs(operands: list[Any], result: Any) -> int:  # noqa: ARG001
    """Every time step of every sample meets each weight of its input and of its state once."""
    given, of_input, of_state = operands[:3]
    return int(given.numel() // given.shape[-1] * (of_input.numel() + of_state.numel()))


CELLS = ("quantized_lstm", "quantized_gru")
FORMULAS: dict[str, Callable[[list[Any], Any], int]] = {
    "mv": lambda operands, _: operands[0].numel(),
    "addmv": lambda operands, _: operands[1].numel(),
    "dot": lambda operands, _: operands[0].numel(),
    "vdot": lambda operands, _: operands[0].numel(),
    "addbmm": lambda operands, _: operands[1].numel() * operands[2].shape[-1],
    "addr": lambda _, result: result.numel(),
    "addcmul": lambda _, result: result.numel(),
    "addcdiv": lambda _, result: result.numel(),
    "lerp": lambda _, result: result.numel(),
    "_trilinear": _trilinear_macs,
    "mkldnn_rnn_layer": _recurrent_macs,
    "_scaled_dot_product_flash_attention_for_cpu": _attention_macs,
    "_scaled_dot_product_attention_math": _attention_macs,
    "_scaled_dot_product_fused_attention_overrideable": _attention_macs,
}
