"""Forms of torchao's tensors that the backend makes: the configuration of each, and a tensor from its codes."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from quantbench.backends.quiet import quiet
from quantbench.backends.tensor_classes import import_classes, parts_of
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import Recipe, WeightOnly

WHO = "backend 'torchao'"
INT8, INT8_DYNAMIC, INT4 = "int8", "int8_dynamic", "int4"
# Form → bits of a code.
# torch has the type, and its annotations do not.
FOUR_BITS: torch.dtype = torch.int4  # type: ignore[attr-defined]
BITS = {INT8: 8, INT8_DYNAMIC: 8, INT4: 4}
GRANULARITY = "torchao.quantization.granularity"
CLASSES = {
    "Int8Tensor": "torchao.quantization.quantize_.workflows.int8.int8_tensor",
    "QuantizeTensorToInt8Kwargs": "torchao.quantization.quantize_.workflows.int8.int8_tensor",
    "IntxUnpackedToInt8Tensor": "torchao.quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor",
}


def configuration(recipe: Recipe) -> Any:
    """The configuration of torchao for a supported recipe.

    `Int4WeightOnlyConfig` has no kernel for a processor in torchao 0.18; `IntxWeightOnlyConfig` makes the same codes.
    """
    library = _torchao("torchao.quantization")
    # Both would change inductor's settings for the whole process.
    settings = {"set_inductor_config": False}
    if not isinstance(recipe, WeightOnly):
        return library.Int8DynamicActivationInt8WeightConfig(**settings)
    if recipe.block_size is None:
        return library.Int8WeightOnlyConfig(**settings)
    granularity = _torchao(GRANULARITY).PerGroup(recipe.block_size)
    return library.IntxWeightOnlyConfig(weight_dtype=FOUR_BITS, granularity=granularity)


def quantize_in_place(model: torch.nn.Module, recipe: Recipe) -> None:
    """Replaces the weights of linear layers by tensors of torchao."""
    with quiet():
        _torchao("torchao.quantization").quantize_(model, configuration(recipe))


def composed(form: str, codes: torch.Tensor, scales: torch.Tensor, block: list[int]) -> Any:
    """A tensor of torchao from its parts; its zero points are 0.

    Args:
        form: one of `BITS`.
        codes: `[outputs, inputs]` int8.
        scales: `[outputs / block[0], inputs / block[1]]` float32.
        block: weights that share a scale.
    """
    zeros = torch.zeros_like(scales, dtype=torch.int8)
    if form == INT4:
        intx = _class("IntxUnpackedToInt8Tensor")
        return intx(codes, scales, zeros, FOUR_BITS, tuple(block), torch.float32, None)
    given = None if form == INT8 else _class("QuantizeTensorToInt8Kwargs")(_torchao(GRANULARITY).PerRow())
    made = _class("Int8Tensor")
    return made(codes, scales, list(block), torch.float32, zero_point=zeros, act_quant_kwargs=given)


def form_of(value: Any, key: str) -> str:
    """The form of a tensor of torchao.

    Raises:
        QuantizationError: if it is none that a file holds.
    """
    parts = {name: part for name, part in parts_of(value).items() if part is not None}
    zeros = parts.pop("zero_point", None)
    is_symmetric = parts.keys() == {"qdata", "scale"} and (zeros is None or not bool(zeros.count_nonzero()))
    name = type(value).__name__
    if is_symmetric and name == "Int8Tensor":
        return INT8 if value.act_quant_kwargs is None else INT8_DYNAMIC
    if is_symmetric and name == "IntxUnpackedToInt8Tensor" and value.target_dtype is FOUR_BITS:
        return INT4
    raise QuantizationError(f"'{key}' is a {name} of a form that {WHO} does not write")


def _class(name: str) -> Any:
    return getattr(_torchao(CLASSES[name]), name)


def _torchao(module: str) -> Any:
    import_classes(WHO)
    with quiet():
        return importlib.import_module(module)
