"""Backend `torchao`: weights of linear layers in 8 or 4 bits, by `quantize_`, in files that hold no code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from quantbench.backends.copying import copied
from quantbench.backends.interface import Artifact, Description
from quantbench.backends.state_dict import Converted, StateDictBackend
from quantbench.backends.tensor_classes import is_composed
from quantbench.backends.torchao_weights.file import describe_file, read_file, write_file
from quantbench.backends.torchao_weights.forms import WHO, quantize_in_place
from quantbench.backends.weights import nothing_quantized
from quantbench.errors import QuantizationError
from quantbench.extras import installed, require
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Fp32, Recipe, WeightOnly

FILE_NAME = "model.safetensors"
# Types of layers that recipes name → torch's.
CONVOLUTIONS = {"Conv1d": nn.Conv1d, "Conv2d": nn.Conv2d}


def torchao() -> TorchaoBackend:
    """Tensors of torchao, in eager torch.

    Example:
        >>> from quantbench.recipes.weight_only import weight_only_int4
        >>> torchao().supports(weight_only_int4()) is None
        True
    """
    if not installed("torchao"):
        require(WHO, "torchao")
    return TorchaoBackend()


class TorchaoBackend(StateDictBackend):
    """Linear layers whose weights are tensors of torchao; all else stays as it was written."""

    name: ClassVar[str] = "torchao"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "torchao")
    file_name: ClassVar[str] = FILE_NAME

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return unsupported(self.name, recipe)

    def rehearse_module(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:  # noqa: ARG002
        """See `Backend.rehearse`."""
        check_layers(model, recipe)

    def quantize_module(
        self,
        model: nn.Module,
        recipe: Recipe,
        batches: Callable[[], Iterable[torch.Tensor]],  # noqa: ARG002
    ) -> Converted:
        """See `StateDictBackend.quantize_module`; nothing is calibrated."""
        if isinstance(recipe, Fp32):
            return Converted(model, {})
        converted = self.skeleton(copied(model, "quantize_"), recipe)
        layers = [key.rpartition(".")[0] for key, value in converted.state_dict().items() if is_composed(value)]
        if not layers:
            raise QuantizationError(nothing_quantized(model, "nn.Linear"))
        return Converted(converted, {layer: described(recipe) for layer in layers})

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `StateDictBackend.skeleton`; in place, of a model that nobody else holds."""
        if not isinstance(recipe, Fp32):
            quantize_in_place(model.eval(), recipe)
        return model

    def write_state(self, path: Path, state: dict[str, Any]) -> None:
        """See `StateDictBackend.write_state`."""
        write_file(path, state)

    def read_state(self, path: Path) -> dict[str, Any]:
        """See `StateDictBackend.read_state`."""
        return read_file(path)

    def fill(self, model: nn.Module, state: dict[str, Any]) -> None:
        """See `StateDictBackend.fill`: tensors of torchao take the places of others, and are not copied into them."""
        model.requires_grad_(False).load_state_dict(state, assign=True)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        return describe_file(artifact.path)


def check_layers(model: nn.Module, recipe: Recipe) -> None:
    """Refuses a model of which torchao would leave layers out that the recipe names.

    Raises:
        QuantizationError: naming the first of them, and what to do.
    """
    modules = dict(model.named_modules())
    kinds = tuple(CONVOLUTIONS[each] for each in getattr(recipe, "layers", ()) if each in CONVOLUTIONS)
    if odd := next((name for name, each in modules.items() if isinstance(each, kinds)), None):
        raise QuantizationError(
            f"{WHO} quantizes weights of nn.Linear alone, and '{odd}' is a {type(modules[odd]).__name__}, which "
            "this recipe quantizes too; set backend: onnxruntime or openvino, or use weight_only_int4, which is of "
            "linear layers"
        )
    block = recipe.block_size if isinstance(recipe, WeightOnly) else None
    if block is None:
        return
    for name, inputs in _inputs_of(modules):
        if inputs % block:
            raise QuantizationError(
                f"{WHO}: '{name}' has {inputs:,} inputs, which blocks of {block} do not divide; give a block_size that "
                "divides the inputs of each linear layer, or use weight_only_int8"
            )


def _inputs_of(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, int]]:
    return ((name, each.in_features) for name, each in modules.items() if isinstance(each, nn.Linear))


def described(recipe: Recipe) -> dict[str, str]:
    """The quantizers of each layer: `minmax int4 per_block 32 symmetric`."""
    if not isinstance(recipe, WeightOnly):
        row = "minmax int8 per_row symmetric"
        return {"activation": f"{row}, dynamic", "weight": "minmax int8 per_channel symmetric"}
    form = "per_channel" if recipe.block_size is None else f"per_block {recipe.block_size}"
    return {"activation": "none, float32", "weight": f"minmax int{recipe.bits} {form} symmetric"}
