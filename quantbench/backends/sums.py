"""Operators by what they do with products of earlier ones: multiply anew, add up, move, or take them in unseen."""

from __future__ import annotations

import math
from typing import Any

import torch

from quantbench.backends.no_products import MOVES, QUANTIZED_NO_PRODUCTS
from quantbench.backends.operators import ATEN, QUANTIZED, name_of

# Pooling, by its number of dimensions.
POOLS = {
    "avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3, "_adaptive_avg_pool2d": 2, "_adaptive_avg_pool3d": 3,
}  # fmt: skip
# Kind → names.
# fmt: off
_KINDS: dict[str, frozenset[str]] = {
    "product": frozenset({"mul", "div", "xlogy", "special_xlog1py"}),
    "fused": frozenset({"addcmul", "addcdiv", "lerp"}),
    "add": frozenset({"add", "sub", "rsub"}),
    "sum": frozenset({"sum", "mean", "cumsum", *POOLS}),
    "copy": frozenset({"copy"}),
    "join": frozenset({"cat", "stack"}),
    "norm": frozenset({"linalg_vector_norm", "norm", "std", "std_mean", "var", "var_mean"}),
    # They add as well, in ways that are not followed.
    "other sum": frozenset({
        "col2im", "index_add", "index_reduce", "logcumsumexp", "logsumexp", "nansum", "scatter_add", "scatter_reduce",
        "segment_reduce",
    }),
}
# fmt: on
# Writes that may add.
_PUTS = frozenset({"index_put", "_index_put_impl", "put"})


def kind_of(func: Any, operands: list[Any]) -> str:
    """Kind of an operator; empty where the products in its operands end there, or are counted by a formula.

    Args:
        func: the operator.
        operands: of it.
    """
    namespace, name = name_of(func)
    if namespace in QUANTIZED:
        if name.startswith(("mul", "add")):
            return "product" if name.startswith("mul") else "add"
        return "join" if name.startswith("cat") else "move" if name.startswith(QUANTIZED_NO_PRODUCTS) else ""
    if namespace not in ATEN:
        return ""
    if name == "pow" and isinstance(operands[0], torch.Tensor) and operands[1] == 2:
        return "square"
    if name in _PUTS and any(each is True for each in operands):
        return "other sum"
    found = next((kind for kind, names in _KINDS.items() if name in names), "")
    return found or ("move" if name in MOVES or torch.Tag.pointwise in func.tags else "")


def keeps_values(func: Any, operands: list[Any]) -> bool:
    """True if each value of the result is made of one of each operand."""
    return kind_of(func, operands) in ("add", "copy", "move")


def summed(name: str, operands: list[Any]) -> tuple[list[int], float]:
    """Dimensions of the first operand that an operator of kind `sum` adds up; values in each result, at most."""
    n = operands[0].dim()
    if name in POOLS:
        kernel = operands[1] if name.startswith("avg") else None
        sizes = [kernel] if isinstance(kernel, int) else list(kernel or ())
        window = math.prod(sizes * POOLS[name] if len(sizes) == 1 else sizes) if sizes else math.inf
        return list(range(n - POOLS[name], n)), window
    dims = operands[1] if len(operands) > 1 and not isinstance(operands[1], torch.dtype) else None
    dims = [dims] if isinstance(dims, int) else list(dims or range(n))
    return [dim % n for dim in dims if n], math.inf
