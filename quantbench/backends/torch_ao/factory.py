"""The factories of backends on torch.ao, which can be named where that is gone: what is not quantized still runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from quantbench.backends.engines import Engine, default_engine
from quantbench.backends.interface import Backend
from quantbench.backends.state_dict import Converted, StateDictBackend
from quantbench.errors import QuantizationError
from quantbench.extras import version_of
from quantbench.recipes.spec import Fp32, Recipe

LIBRARY = "torch.ao"


def eager(engine: Engine = None) -> Backend:
    """The eager backend on the processor's engine, or on the one named.

    Example:
        >>> eager("qnnpack").engine
        'qnnpack'
    """
    return _made("eager", engine)


def fx(engine: Engine = None) -> Backend:
    """FX graph mode on the processor's engine, or on the one named.

    Example:
        >>> fx("qnnpack").engine
        'qnnpack'
    """
    return _made("fx", engine)


def _made(mode: str, engine: Engine) -> Backend:
    named = engine or default_engine()
    try:
        from quantbench.backends.torch_ao.eager import EagerBackend
        from quantbench.backends.torch_ao.fx import FxBackend
    except ModuleNotFoundError as error:
        if not str(error.name).startswith(LIBRARY):
            raise
        return FloatBackend(mode, named)
    return FxBackend(named) if mode == "fx" else EagerBackend(named)


class FloatBackend(StateDictBackend):
    """A mode of torch.ao without it: models in fp32 alone.

    Args:
        name: of the backend.
        engine: names goldens.
    """

    def __init__(self, name: str, engine: str) -> None:
        self.name, self.engine = name, engine  # type: ignore[misc]

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        if isinstance(recipe, Fp32):
            return None
        return (
            f"backend '{self.name}' is torch.ao.quantization, which torch {version_of('torch')} has not; set backend: "
            "pt2e or onnxruntime, which run most of its recipes, or install a torch that has it"
        )

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `StateDictBackend.skeleton`."""
        self._check(recipe)
        return model

    def quantize_module(
        self,
        model: nn.Module,
        recipe: Recipe,
        batches: Callable[[], Iterable[torch.Tensor]],  # noqa: ARG002
    ) -> Converted:
        """See `StateDictBackend.quantize_module`."""
        self._check(recipe)
        return Converted(model, {})

    def _check(self, recipe: Recipe) -> None:
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
