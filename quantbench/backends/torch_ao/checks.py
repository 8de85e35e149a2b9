"""Conditions of the steps of quantization on a model, and the line that each broken one ends with."""

from __future__ import annotations

import inspect
from typing import Any, NoReturn

import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.states import State, in_the_other_mode, places_of
from quantbench.backends.weights import nothing_quantized
from quantbench.errors import QuantizationError


def check_can_be_fused(model: nn.Module) -> None:
    """Raises unless the model has stubs and a `fuse_model(is_qat)`."""
    name = type(model).__name__
    if not _takes_is_qat(getattr(model, "fuse_model", None)):
        raise QuantizationError(
            f"{name} has no fuse_model(is_qat): eager quantization needs one that fuses its "
            "Conv-BN-ReLU groups, and QuantStub/DeQuantStub at both ends"
        )
    if not any(isinstance(module, ao.QuantStub) for module in model.modules()):
        raise QuantizationError(
            f"{name} has no QuantStub: no activation would ever be quantized; put one at its input "
            "and a DeQuantStub at its output"
        )


def _takes_is_qat(fuse_model: Any) -> bool:
    if not callable(fuse_model):
        return False
    try:
        inspect.signature(fuse_model).bind(is_qat=True)
    except TypeError:
        return False
    return True


def check_mode(step: str, model: nn.Module, training: bool) -> None:
    """Raises unless the model, and each of its layers that cares, is in train mode, or in eval mode."""
    name = in_the_other_mode(model, training)
    if name is None:
        return
    subject = f"'{name}' of {type(model).__name__}" if name else type(model).__name__
    refuse_mode(step, subject, needed="train" if training else "eval")


def check_one_device(step: str, model: nn.Module) -> None:
    """Raises unless all parameters and buffers are on devices of one type."""
    places = places_of(model)
    if len(places) > 1:
        where = ", ".join(f"'{name}' on '{place}'" for place, name in places.items())
        raise QuantizationError(f"{step}: {type(model).__name__} is on several devices ({where}); move it to one")


def check_on_cpu(step: str, model: nn.Module) -> None:
    """Raises unless all parameters and buffers are on the CPU."""
    for place, name in places_of(model).items():
        if place != "cpu":
            raise QuantizationError(
                f"{step}: '{name}' of {type(model).__name__} is on device '{place}', and int8 kernels run on the CPU: "
                "call model.cpu() first"
            )


def check_quantized(converted: nn.Module, wanted: str) -> None:
    """Raises unless some layer of a converted model has packed weights.

    Args:
        converted: int8, or meant to be.
        wanted: the kind of layer that the recipe quantizes.
    """
    # Recurrent layers and linear ones keep theirs in a part of their own.
    held = (value for module in converted.modules() for value in vars(module).values())
    if not any(isinstance(value, torch.ScriptObject) for value in held):
        raise QuantizationError(nothing_quantized(converted, wanted))


def refuse_mode(step: str, subject: str, needed: str) -> NoReturn:
    """Raises what says that a model, or a layer of one, is not in the mode that a step needs."""
    found = "eval" if needed == "train" else "train"
    raise QuantizationError(
        f"{step}: {subject} is in {found} mode and has to be in {needed} mode: call model.{needed}() first"
    )


def refuse(step: str, model: nn.Module, state: State, advice: str) -> NoReturn:
    """Raises what says in which state a model is, and what to do instead of the step."""
    raise QuantizationError(f"{step}: {type(model).__name__} is {state.value}; {advice}")
