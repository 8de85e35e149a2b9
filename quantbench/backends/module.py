"""A torch module as a predictor: arrays are shared with torch, never copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

from quantbench.arrays import OUTPUT, Inputs, Outputs
from quantbench.backends.coverage import Coverage
from quantbench.backends.interface import Predictor
from quantbench.backends.kernels import measure_coverage
from quantbench.errors import EvaluationError


class ModulePredictor(Predictor):
    """Runs a module, or any function of tensors, in inference mode.

    Args:
        module: tensors, one for each input in order → a tensor, several, or tensors by name.
        threads: intra-operator threads of its forwards; None for those of the process.

    Example:
        >>> double = ModulePredictor(lambda x: 2 * x)
        >>> double({"input": torch.ones(2).numpy()})
        {'output': array([2., 2.], dtype=float32)}
    """

    def __init__(self, module: Callable[..., Any], threads: int | None = None) -> None:
        self.module = module
        self.threads = threads

    def __call__(self, inputs: Inputs) -> Outputs:
        """See `Predictor.__call__`."""
        if self.threads is not None and self.threads != torch.get_num_threads():
            with _threads(self.threads):
                return self._run(inputs)
        return self._run(inputs)

    def kernels(self, inputs: Inputs) -> Coverage | None:
        """See `Predictor.kernels`."""
        # Of no function its weights are known.
        if not isinstance(self.module, torch.nn.Module):
            return None
        with _threads(self.threads or torch.get_num_threads()):
            return measure_coverage(self.module, *[torch.from_numpy(array) for array in inputs.values()])

    def _run(self, inputs: Inputs) -> Outputs:
        with torch.inference_mode():
            given = self.module(*[torch.from_numpy(array) for array in inputs.values()])
        if isinstance(given, torch.Tensor):
            return {OUTPUT: array_of(given)}
        named = by_name(given)
        if named and all(isinstance(value, torch.Tensor) for value in named.values()):
            return {name: array_of(value) for name, value in named.items()}
        raise EvaluationError(
            f"the model gave a {type(given).__name__}; expected a tensor of logits [n, classes], or tensors by name"
        )


def array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor as an array; bfloat16, which numpy has not, as float32, which holds the same values.

    Example:
        >>> array_of(torch.ones(2, dtype=torch.bfloat16))
        array([1., 1.], dtype=float32)
    """
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def by_name(given: Any) -> dict[str, Any]:
    """Members of one mapping or sequence that a module gave, by name or number; empty where it is neither.

    Example:
        >>> by_name((3, 4))
        {'0': 3, '1': 4}
    """
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items() if value is not None}
    if isinstance(given, tuple | list):
        return {name: value for name, value in zip(_names(given), given, strict=True) if value is not None}
    return {}


def _names(given: tuple[Any, ...] | list[Any]) -> tuple[str, ...]:
    """Those of a named tuple, such as the outputs of a network with auxiliary heads."""
    fields: tuple[str, ...] = getattr(given, "_fields", ())
    return fields or tuple(map(str, range(len(given))))


class ChannelsLastPredictor(ModulePredictor):
    """A module that runs fastest on images in channels-last layout."""

    def prepared(self, inputs: Inputs) -> Inputs:
        """See `Predictor.prepared`."""
        return {name: in_layout(torch.from_numpy(array)).numpy() for name, array in inputs.items()}


def in_layout(batch: torch.Tensor) -> torch.Tensor:
    """Images in channels-last layout, which every form takes; other tensors as they are."""
    return batch.to(memory_format=torch.channels_last) if batch.dim() == 4 else batch


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
