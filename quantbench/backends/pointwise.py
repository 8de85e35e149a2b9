"""Convolutions and matrix products written by hand: products of values, element by element, that are added up later.

A scale and a shift multiply each value once; a convolution adds several products into each value. So products are
followed until a sum takes them up. Those of more than `FEW` in one sum are multiply-accumulates. Others that were added
to something stay loose, and are told where they are many: a gate and a residual sum look like a tap of a convolution.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from quantbench.backends.layouts import Dims, are_same, carried, common, distinct, meets, rank
from quantbench.backends.operators import ATEN, Macs, name_of, tensors_of
from quantbench.backends.quantized_tensors import INT8
from quantbench.backends.storages import Storages, storage_key
from quantbench.backends.sums import keeps_values, kind_of, summed

# A gated cell of a recurrent network adds two products: what it forgets and what it takes in.
FEW = 2
# Shares of all multiply-accumulates in ordinary networks, at most: of gates, masks and sums over few; of these and of
# scales by a number or a vector; of squares, in norms.
GATES, SCALES, SQUARES = 0.05, 0.25, 1.0
# Share of a storage from which a tensor is taken for all of it.
WHOLE = 0.999


@dataclass
class _Product:
    """Element-wise products of one operator."""

    layer: str
    macs: Macs
    # Share of all multiply-accumulates that such products are in ordinary networks, at most.
    usual: float
    # Two activations, each of whose values meets one of the other.
    is_gate: bool = False
    was_added: bool = False
    was_counted: bool = False


@dataclass(frozen=True)
class _Values:
    """Products that went into the values of a storage.

    Attributes:
        depth: products in a row that the values depend on.
        level: depth of the products that they are a sum of; others came before, as in a chain of residual sums.
        density: products that each value is a sum of, on average.
        products: their operators.
        dims: along which both factors vary; None where it is not known.
        is_spread: each value of an operand is in several of them, as in differences of all rows with all rows.
    """

    depth: int = 0
    level: int = 0
    density: float = 0.0
    products: frozenset[int] = frozenset()
    dims: Dims | None = ()
    is_spread: bool = False


# Tensors with what is known of them.
_Pairs = list[tuple[torch.Tensor, _Values]]


class PointwiseProducts:
    """Follows element-wise products through one forward.

    Args:
        is_weight: tells of a tensor whether it is the model's, or made of such alone.
    """

    def __init__(self, is_weight: Callable[[torch.Tensor], bool]) -> None:
        self._is_weight = is_weight
        self._values: Storages[_Values] = Storages()
        self._products: list[_Product] = []

    def note(
        self, func: Any, operands: list[Any], result: Any, layer: str, is_counted: bool
    ) -> Iterator[tuple[str, Macs]]:
        """Follows one operator; gives multiply-accumulates that turn out to be such, each with its layer.

        Args:
            func: the operator.
            operands: of it, those of the schema's order first.
            result: of it.
            layer: that called it.
            is_counted: its own products are counted already.
        """
        made, given = _strided(result), _strided(operands)
        if not made or not given or not isinstance(func, torch._ops.OpOverload):
            return
        keys = {storage_key(each) for each in given}
        if not func._schema.is_mutable and any(storage_key(each) in keys for each in made):
            # A view has what its storage has.
            return
        found = self._after(func, operands, made[0], layer, is_counted)
        is_spread = any(self._of(each).is_spread for each in given) or made[0].numel() > max(map(distinct, given))
        found = replace(found, is_spread=is_spread and keeps_values(func, operands))
        for each in made:
            self._write(each, found)
        if found.density > FEW:
            for product in (self._products[key] for key in found.products):
                if not product.was_counted:
                    product.was_counted = True
                    yield product.layer, product.macs

    def loose(self, macs: int) -> Counter[str]:
        """Products in floating point that were added to something and are in no count, by layer, where they are many.

        Args:
            macs: that were counted.
        """
        for usual in (GATES, SCALES):
            found: Counter[str] = Counter()
            for each in self._products:
                if each.was_added and not each.was_counted and each.usual <= usual:
                    found[each.layer] += each.macs.floating
            if found.total() > usual * (macs + found.total()):
                return found
        return Counter()

    def _after(self, func: Any, operands: list[Any], made: torch.Tensor, layer: str, is_counted: bool) -> _Values:
        """Products in an operator's result."""
        pairs = [(each, self._of(each)) for each in _strided(operands)]
        depth = max(values.depth for _, values in pairs)
        match kind_of(func, operands):
            case "product":
                return self._multiplied(operands, pairs, made, layer, is_counted)
            case "square":
                return self._squared(operands[0], made, layer)
            case "fused":
                # Operators that add a product to a value have a formula, which counts them.
                return self._added([pairs[0], (made, _Values(depth + 1, depth + 1, 1.0))], made)
            case "add":
                # The third operand of a quantized sum is the scale of its codes.
                factor = operands[2] if name_of(func)[0] in ATEN and len(operands) > 2 else 1
                if factor not in (1, -1) and len(pairs) > 1 and not pairs[1][1].density:
                    added, values = pairs[1]
                    pairs[1] = (added, self._new(made, layer, values.depth, (), SCALES))
                return self._added(pairs, made)
            case "sum":
                return self._reduced(*pairs[0], made, *summed(name_of(func)[1], operands))
            case "copy":
                return _joined(pairs[-1:], made)
            case "join":
                along = int(operands[1]) if len(operands) > 1 else 0
                return replace(_joined(pairs, made), dims=((made.stride(along), made.size(along)),))
            case "move":
                return _joined(pairs, made)
            case "norm":
                if pairs[0][1].is_spread:
                    self._mark_added([self._new(pairs[0][0], layer, depth, None, GATES)])
                self._mark_added(values for _, values in pairs)
            case "other sum":
                self._mark_added(values for _, values in pairs)
        return _Values(depth)

    def _of(self, tensor: torch.Tensor) -> _Values:
        return self._values.get(tensor) or _Values()

    def _write(self, tensor: torch.Tensor, values: _Values) -> None:
        """Gives a storage its products; where a part of it is written the rest stays."""
        before = self._values.get(tensor)
        share = tensor.numel() * tensor.element_size() / max(1, tensor.untyped_storage().nbytes())
        if share < WHOLE:
            old = before or _Values()
            density = old.density * (1 - share) + values.density * share
            depth, level = max(old.depth, values.depth), max(old.level, values.level)
            products = old.products | values.products
            values = _Values(depth, level, density, products, None, old.is_spread or values.is_spread)
        if before is not None or values.depth or values.is_spread:
            self._values.put(tensor, values)

    def _multiplied(
        self, operands: list[Any], pairs: _Pairs, made: torch.Tensor, layer: str, is_counted: bool
    ) -> _Values:
        """Products that are the result of two factors: new ones, but for values that are only scaled."""
        first, second = operands[0], operands[1]
        depth = max(values.depth for _, values in pairs)
        if are_same(first, second):
            return self._squared(first, made, layer)
        are_numbers = [not isinstance(each, torch.Tensor) or each.numel() == 1 for each in (first, second)]
        scaled = [(each, values) for each, values in pairs if values.density and each.numel() == made.numel()]
        if scaled and any(are_numbers):
            return replace(_joined(scaled[:1], made), depth=depth)
        if is_counted:
            return _Values(depth + 1, depth + 1, 1.0)
        is_scale = any(are_numbers) or min(rank(first), rank(second)) < 2
        is_gate = not any(are_numbers) and not any(self._is_reused(each, made) for each in (first, second))
        return self._new(made, layer, depth, common(first, second, made), SCALES if is_scale else GATES, is_gate)

    def _is_reused(self, factor: torch.Tensor, made: torch.Tensor) -> bool:
        """True of a weight, and of an activation whose values are in several products."""
        return self._of(factor).is_spread or distinct(factor) < made.numel() or self._is_weight(factor)

    def _squared(self, given: torch.Tensor, made: torch.Tensor, layer: str) -> _Values:
        """Squares: of values as they are, part of a norm; of the differences of all with all, of a distance."""
        values = self._of(given)
        return self._new(made, layer, values.depth, None, GATES if values.is_spread else SQUARES)

    def _new(
        self, made: torch.Tensor, layer: str, depth: int, dims: Dims | None, usual: float, is_gate: bool = False
    ) -> _Values:
        # Whole numbers of 64 bits are indices.
        if made.dtype in (torch.bool, torch.int64):
            return _Values(depth)
        macs = Macs(int8=made.numel()) if made.dtype in INT8 else Macs(floating=made.numel())
        self._products.append(_Product(layer, macs, usual, is_gate))
        return _Values(depth + 1, depth + 1, 1.0, frozenset({len(self._products) - 1}), dims)

    def _added(self, pairs: _Pairs, made: torch.Tensor) -> _Values:
        """Products of a sum: those of one level add up."""
        if len(pairs) > 1:
            self._mark_added(values for _, values in pairs)
        found, density = _joined(pairs, made), sum(values.density for _, values in _topmost(pairs))
        # Parts of one product that all have the same number as their factor are scaled, and not more.
        return replace(found, density=min(density, len(found.products)) if found.dims == () else density)

    def _reduced(
        self, given: torch.Tensor, values: _Values, made: torch.Tensor, along: list[int], window: float
    ) -> _Values:
        """Products of a sum along dimensions.

        Args:
            given: the operand.
            values: what is known of it.
            made: the result.
            along: dimensions that are summed.
            window: values that go into each result, at most.
        """
        if not values.density:
            return values
        if values.dims is None:
            self._mark_added([values])
            many = min(len(values.products), given.numel() / max(1, made.numel()))
            return replace(values, density=values.density * many if many > FEW else values.density)
        varying = [given.size(dim) for dim in along if meets(given, dim, values.dims)]
        if not varying:
            # One factor for all that is summed, as of a batch norm that is averaged, is no more than a scale.
            kept = [dim for dim in range(given.dim()) if made.dim() == given.dim() or dim not in along]
            return replace(values, dims=carried(values.dims, given, made, kept))
        self._mark_added([values])
        if all(self._products[key].is_gate for key in values.products):
            return replace(values, dims=None)
        return replace(values, density=values.density * min(math.prod(varying), window), dims=None)

    def _mark_added(self, states: Iterable[_Values]) -> None:
        for values in states:
            for key in values.products:
                self._products[key].was_added = True


def _strided(values: Any) -> list[torch.Tensor]:
    return [each for each in tensors_of(values) if each.layout is torch.strided]


def _joined(pairs: _Pairs, made: torch.Tensor) -> _Values:
    """Products in a result that has the values of its operands."""
    depth = max((values.depth for _, values in pairs), default=0)
    if not (top := _topmost(pairs)):
        return _Values(depth)
    dims: Dims | None = None
    if all(values.dims is not None for _, values in top):
        dims = tuple(sorted({each for given, values in top for each in carried(values.dims or (), given, made)}))
    products = frozenset[int]().union(*(values.products for _, values in top))
    return _Values(depth, top[0][1].level, max(values.density for _, values in top), products, dims)


def _topmost(pairs: _Pairs) -> _Pairs:
    """Those whose products are of the last level."""
    level = max((values.level for _, values in pairs if values.density), default=0)
    return [(each, values) for each, values in pairs if values.density and values.level == level]
