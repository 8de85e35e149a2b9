"""Values in a forward that no operator computed which torch let be seen: by NumPy, another thread, another library.

A constant may come from anywhere. So two forwards of different samples are looked at: what came from outside in the
second one, and was not in the first, was computed from the sample.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from quantbench.backends.operators import name_of, tensors_of
from quantbench.backends.storages import Storages, storage_key

# Single numbers in a layer, such as the scale of a sample, that may be computed anywhere.
FEW_NUMBERS = 4


class _Watch(TorchDispatchMode):
    """Looks at the memory of what operators take: whether an operator that was seen wrote it.

    Args:
        model: its parameters and buffers may have any values.
        tracker: names the layer.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, tracker: ModuleTracker) -> None:
        super().__init__()
        self._tracker = tracker
        # Storage → checksum of its memory after the last operator that wrote it.
        self._seen: Storages[int] = Storages()
        self._checksums: set[int] = set()
        # Values from outside: their checksum → layer, and how many numbers they are.
        self.found: dict[int, tuple[str, int]] = {}
        for each in [*model.parameters(), *model.buffers()]:
            self._write(each)

    def forward(self, model: nn.Module, *sample: torch.Tensor) -> dict[int, tuple[str, int]]:
        """Values from outside in one forward, under the mode; what operators wrote before stays known."""
        self.found = {}
        for each in sample:
            self._write(each)
        with self:
            outputs = model(*sample)
        for each in tensors_of(outputs):
            self._take(each, "the model's output")
        return self.found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(each.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__ for each in types):
            return NotImplemented
        given = tensors_of([*args, *(value for key, value in kwargs.items() if key != "out")])
        for each in given:
            self._take(each, innermost(self._tracker))
        result = func(*args, **kwargs)
        keys = {storage_key(each) for each in given}
        new = [each for each in tensors_of(result) if storage_key(each) not in keys]
        for each in [*new, *_written(func, args, kwargs)]:
            self._write(each)
        return result

    def _take(self, tensor: torch.Tensor, layer: str) -> None:
        # Whole numbers of 64 bits are indices and lengths.
        if tensor.dtype in (torch.bool, torch.int64) or tensor.device.type != "cpu" or not storage_key(tensor):
            return
        found = _checksum(tensor)
        if self._seen.get(tensor) != found:
            self._seen.put(tensor, found)
            # A copy of what was seen is no other values.
            if found not in self._checksums:
                self.found.setdefault(found, (layer, tensor.numel()))

    def _write(self, tensor: torch.Tensor) -> None:
        if tensor.device.type == "cpu" and storage_key(tensor):
            found = _checksum(tensor)
            self._seen.put(tensor, found)
            self._checksums.add(found)


def values_from_outside(model: nn.Module, *sample: torch.Tensor) -> list[str]:
    """Layers that took values which were computed from the sample out of torch's sight.

    Args:
        model: in eval mode; two forwards are run.
        sample: its inputs, `[n, channels, …]` each.
    """
    with ModuleTracker() as tracker:
        watch = _Watch(model, tracker)
        constant = watch.forward(model, *sample)
        found = watch.forward(model, *map(another, sample))
    numbers: Counter[str] = Counter()
    for key, (layer, n) in found.items():
        if key not in constant:
            numbers[layer] += n
    source = "from outside torch's view (NumPy, another thread, a library)"
    return [f"values in {layer or 'the model'} {source}" for layer, n in numbers.items() if n > FEW_NUMBERS]


def innermost(tracker: ModuleTracker) -> str:
    """The innermost module being executed, without the name of the model's class."""
    # The tracker's own root, "Global", stands beside the model's class.
    found = max(tracker.parents - {"Global"}, key=lambda name: name.count("."), default="")
    return found.partition(".")[2] or found


def another(sample: torch.Tensor) -> torch.Tensor:
    """A sample of the same kind and other values: its order reversed, or where that changes nothing, shifted."""
    for dims in ((0,), tuple(range(sample.dim()))):
        if not torch.equal(flipped := sample.flip(dims), sample):
            return flipped
    return sample + 0.5 if sample.is_floating_point() else sample


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """Operands that an operator writes."""
    if not isinstance(func, torch._ops.OpOverload):
        return
    # Its schema is silent about the statistics that it updates.
    if "batch_norm" in name_of(func)[1]:
        yield from tensors_of(args)
    arguments = func._schema.arguments
    for argument, value in [
        *zip(arguments, args, strict=False),
        *((each, kwargs.get(each.name)) for each in arguments),
    ]:
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors_of(value)


def _checksum(tensor: torch.Tensor) -> int:
    """Checksum of all memory that a tensor's storage has."""
    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    return zlib.crc32(whole.numpy().data)
