"""Follows a model's weights through one forward: which operators took them, and which layers' weights none took."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

from quantbench.backends.operators import packed_of, tensors_of
from quantbench.backends.tensor_classes import codes_of, parts_of

# In the names of torch's modules that only hold the packed weights of the layer around them.
STORE = "Packed"


class WeightUse:
    """Storages of parameters and buffers, of what is made from them alone, and the parameters that met something else.

    A copy, a cast or a normalization of a weight is still that weight; it is used once an operator takes it together
    with a value of the forward, or multiplies it.

    Args:
        model: whose weights are followed; None for none.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        self._model = model
        # Storage → names of the parameters in it; none for a buffer.
        self._weights: dict[int, frozenset[str]] = {}
        self._used: set[str] = set()
        self._layers_with_packed: set[str] = set()
        # Storages that are freed would be taken again, by other values.
        self._kept: list[Any] = []
        if model is not None:
            for buffer in model.buffers():
                self._weights.setdefault(_storage(buffer), frozenset())
            for name, parameter in model.named_parameters(remove_duplicate=False):
                # Scales beside the codes say nothing of them.
                for part in parts_of(parameter).values():
                    self._weights.setdefault(_storage(part), frozenset())
                key = _storage(codes_of(parameter))
                self._weights[key] = self._weights.get(key, frozenset()) | {name}
            self._weights.pop(0, None)

    def takes_weights(self, operands: list[Any]) -> bool:
        """True if some operand is a weight, or made of weights alone."""
        return any(_storage(each) in self._weights for each in tensors_of(operands))

    def note(self, operands: list[Any], result: Any, layer: str, multiplies: bool) -> None:
        """Follows the weights through an operator.

        Args:
            operands: of the operator.
            result: of the operator.
            layer: that called it.
            multiplies: it does, or may do, products.
        """
        if packed_of(operands):
            self._layers_with_packed.add(layer)
        keys = [_storage(each) for each in tensors_of(operands)]
        weights = [self._weights[key] for key in keys if key in self._weights]
        if not weights:
            return
        names = frozenset[str]().union(*weights)
        if multiplies or len(weights) < len(keys):
            self._used |= names
        else:
            for each in tensors_of(result):
                if (key := _storage(each)) and key not in self._weights:
                    self._weights[key] = names
                    self._kept.append(each)

    def unused(self, called: Collection[nn.Module]) -> Iterator[str]:
        """Layers that ran, and whose weights no operator took that was seen: they ran some other way.

        Args:
            called: modules that ran.
        """
        modules = dict(self._model.named_modules()) if self._model is not None else {}
        for name, module in modules.items():
            if module not in called:
                continue
            own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
            # A bias alone says nothing of the matrix beside it.
            weights = [key for key, value in own.items() if value.dim() > 1] or list(own)
            is_seen = not self._used.isdisjoint(f"{name}.{key}" if name else key for key in weights)
            if (weights and not is_seen) or (_holds_packed(module, called) and not self._saw_packed(name, module)):
                subject = f"{name or 'the model'} ({type(module).__name__})"
                yield f"{subject}, whose weights went into no operator that was seen"

    def _saw_packed(self, name: str, module: nn.Module) -> bool:
        layer = name or type(module).__name__
        return any(each == layer or each.startswith(f"{layer}.") for each in self._layers_with_packed)


def _storage(tensor: Any) -> int:
    """Address of a tensor's memory; 0 where it has none of its own, such as a sparse one."""
    try:
        return int(tensor.untyped_storage().data_ptr())
    except (NotImplementedError, RuntimeError):
        return 0


def _holds_packed(module: nn.Module, called: Collection[nn.Module]) -> bool:
    """True if a module has packed weights itself, or in a part that only stores them."""
    # A layer that did not run did no work, which the ratio of multiply-accumulates tells.
    parts = (each for each in module.children() if each not in called and STORE in type(each).__name__)
    stores = [module, *parts]
    held = [value for each in stores for value in vars(each).values()]
    # A scripted module is one of those objects too.
    return any(isinstance(value, torch.ScriptObject) and not isinstance(value, torch.ScriptModule) for value in held)
