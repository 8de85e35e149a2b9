"""NaN and infinity in a forward, with the layer and the sample that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from quantbench.errors import SampleError

# Child of a layer that sees its results.
OBSERVER = ".activation_post_process"


@dataclass(frozen=True)
class NotFinite:
    """The first module of a forward that meets a value that is not finite.

    Attributes:
        module: its name; "" is the model itself.
        is_given: it is given the value; otherwise it makes it.
        value: NaN or infinity.
        rows: positions of the samples with such a value, where the tensor has one row for each sample.
    """

    module: str
    is_given: bool
    value: str
    rows: tuple[int, ...] = ()

    def of(self, model: nn.Module) -> str:
        """The same in words."""
        subject = type(model).__name__
        if self.module:
            subject = f"'{self.module}' ({type(model.get_submodule(self.module)).__name__}) of {subject}"
        return f"{subject} {'is given' if self.is_given else 'gives'} {self.value}"


class _Found(Exception):  # noqa: N818 — ends a forward, and is no error
    def __init__(self, found: NotFinite) -> None:
        self.found = found


def is_finite(tensor: torch.Tensor) -> bool:
    """True if no value is NaN or infinite."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    low, high = torch.aminmax(tensor.detach())
    return bool(torch.isfinite(low) & torch.isfinite(high))


def first_not_finite(model: nn.Module, batch: torch.Tensor) -> NotFinite | None:
    """Runs a batch `[n, …]` up to the first module that is given, or makes, a value that is not finite."""

    def check(name: str, values: Any, is_given: bool) -> None:
        for value in values if isinstance(values, list | tuple) else (values,):
            if isinstance(value, torch.Tensor) and not is_finite(value):
                named = "NaN" if bool(value.isnan().any()) else "infinity"
                # What an observer is given, its layer gives.
                owner = name.removesuffix(OBSERVER)
                raise _Found(NotFinite(owner, is_given and owner == name, named, _rows(value, len(batch))))

    handles = []
    for name, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(lambda _, given, name=name: check(name, given, is_given=True)),
            # Before others: an observer stumbles over what it is given.
            module.register_forward_hook(
                lambda _, __, result, name=name: check(name, result, is_given=False), prepend=True
            ),
        ]
    try:
        with torch.inference_mode():
            model(batch)
    except _Found as found:
        return found.found
    finally:
        for handle in handles:
            handle.remove()
    return None


@contextmanager
def finite_inputs(watched: dict[str, nn.Module]) -> Iterator[None]:
    """Ends a forward as soon as one of some modules, such as observers, is given a value that is not finite.

    Args:
        watched: the modules, by name.
    """

    def check(name: str, given: Any) -> None:
        if given and isinstance(given[0], torch.Tensor) and not is_finite(given[0]):
            raise _Found(NotFinite(name.removesuffix(OBSERVER), is_given=False, value="NaN or infinity"))

    handles = [
        module.register_forward_pre_hook(lambda _, given, name=name: check(name, given))
        for name, module in watched.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_finite(model: nn.Module, batch: torch.Tensor, shown: int) -> None:
    """Runs a batch within `finite_inputs`, and names layer and sample where it ends early.

    Args:
        model: whose observers are watched.
        batch: `[n, …]`.
        shown: samples before this batch.

    Raises:
        SampleError: naming the first module and the first sample of the batch with a value that is not finite.
    """
    try:
        model(batch)
    except _Found as ended:
        found = first_not_finite(model, batch) or ended.found
        # Without a row for each sample, one after the other is tried alone.
        alone = (i for i in range(len(batch)) if first_not_finite(model, batch[i : i + 1]) is not None)
        row = found.rows[0] if found.rows else next(alone, 0)
        line = f"{found.of(model)}, which no scale fits; let the model give finite values, or take the sample out"
        raise SampleError(line, shown + row) from None


def _rows(tensor: torch.Tensor, n: int) -> tuple[int, ...]:
    if tensor.dim() == 0 or len(tensor) != n:
        return ()
    bad = ~torch.isfinite(tensor.detach()).reshape(n, -1).all(1)
    return tuple(int(row) for row in bad.nonzero())
