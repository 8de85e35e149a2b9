"""Layers that a recipe names, among those of an exported program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantbench.errors import QuantizationError
from quantbench.registry import unknown_name

# Name of a group of layers → its layers.
Groups = Mapping[str, Sequence[str]]


def members_of(layer: str, names: set[str], groups: Groups | None, backend: str) -> Sequence[str]:
    """The layers of a graph that a name of the recipe means; those without an operator of their own are none.

    Args:
        layer: as the recipe names it.
        names: of the layers of the graph.
        groups: the model's, each of which stands for its layers; None without any.
        backend: for messages.

    Raises:
        QuantizationError: if there is no such layer.

    Example:
        >>> members_of("block", {"block.conv", "fc"}, None, "pt2e")
        ['block.conv']
    """
    members = groups[layer] if groups is not None and layer in groups else (layer,)
    found = [name for name in sorted(names) if any(name == each or name.startswith(f"{each}.") for each in members)]
    if not found:
        known = sorted({*names, *(groups or ())})
        raise QuantizationError(f"backend '{backend}': {unknown_name('layer of the model', layer, known)}")
    return found
