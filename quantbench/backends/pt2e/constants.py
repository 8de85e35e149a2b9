"""Constants of a graph by their names, which may lie in modules within it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule


def get_constant(graph: GraphModule, name: str) -> Any:
    """A tensor, or a module, by its name."""
    found: Any = graph
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


def set_constant(graph: GraphModule, name: str, value: torch.Tensor) -> None:
    """Gives a graph a tensor by that name, in the place of another one: a parameter as such, any other as a buffer."""
    import torch

    delete_constant(graph, name)
    parent, _, last = name.rpartition(".")
    owner: Any = graph
    for part in parent.split(".") if parent else ():
        if not hasattr(owner, part):
            owner.add_module(part, torch.nn.Module())
        owner = getattr(owner, part)
    if isinstance(value, torch.nn.Parameter):
        owner.register_parameter(last, value)
    else:
        owner.register_buffer(last, value)


def delete_constant(graph: GraphModule, name: str) -> None:
    """Takes a tensor out of a graph, if it is there."""
    parent, _, last = name.rpartition(".")
    owner: Any = graph
    for part in parent.split(".") if parent else ():
        owner = getattr(owner, part, None)
    if owner is not None and hasattr(owner, last):
        delattr(owner, last)
