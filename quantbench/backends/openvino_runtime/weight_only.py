"""Weights of an OpenVINO model in few bits by NNCF, while its kernels compute in floating point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench.backends.openvino_runtime.library import nncf
from quantbench.backends.openvino_runtime.reading import reason_of
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import WeightOnly

# Type of a torch layer → the operations that it is converted to.
OPERATIONS = {
    "Linear": ("MatMul",),
    "Conv1d": ("Convolution", "GroupConvolution"),
    "Conv2d": ("Convolution", "GroupConvolution"),
}
# Of all that NNCF compresses.
COMPRESSED = (
    "MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "Gather",
)  # fmt: skip
# Type of the codes by their bits.
CODES = {8: ("i8", "u8"), 4: ("i4", "u4")}
PER_CHANNEL = -1


def refusal(recipe: WeightOnly) -> str | None:
    """The reason why NNCF cannot compress as a recipe asks; None if it can."""
    if unknown := next((each for each in recipe.layers if each not in OPERATIONS), None):
        return f"has no weight-only form of a layer '{unknown}'; it has them of {', '.join(OPERATIONS)}"
    if recipe.bits == 8 and recipe.block_size is not None:
        return "has one scale per output channel for weights of 8 bits; leave block_size out"
    if recipe.bits != 8 and any(layer != "Linear" for layer in recipe.layers):
        return f"has convolutions with weights of 8 bits only, not {recipe.bits}; name layers: [Linear]"
    return None


def compress(model: Any, recipe: WeightOnly, path: Path) -> Any:
    """A copy of an `openvino.Model` with weights of few bits.

    Args:
        model: in floating point.
        recipe: one that is not refused.
        path: of the reference, for messages.

    Raises:
        QuantizationError: if NNCF cannot, or finds nothing to compress.
    """
    library = nncf()
    wanted = {operation for layer in recipe.layers for operation in OPERATIONS[layer]}
    ignored = library.IgnoredScope(types=[each for each in COMPRESSED if each not in wanted], validate=False)
    how: dict[str, Any] = {"mode": library.CompressWeightsMode[f"INT{recipe.bits}_SYM"], "ignored_scope": ignored}
    if recipe.bits != 8:
        # All of them, not the first and the last in 8 bits.
        how |= {"ratio": 1.0, "all_layers": True, "group_size": recipe.block_size or PER_CHANNEL}
    with quiet():
        try:
            made = library.compress_weights(model.clone(), **how)
        except Exception as error:
            advice = "give a block_size that divides the inputs of each layer, or use weight_only_int8"
            fits = "" if recipe.block_size is None else f"; {advice}"
            raise QuantizationError(f"{path}: nncf cannot compress its weights ({reason_of(error)}){fits}") from error
    if not any(op.get_element_type().type_name in CODES[recipe.bits] for op in _constants(made)):
        raise QuantizationError(
            f"{path}: nncf compressed nothing: there is no {' or '.join(recipe.layers)} with a constant weight"
        )
    return made


def _constants(model: Any) -> list[Any]:
    return [op for op in model.get_ops() if op.get_type_name() == "Constant"]
