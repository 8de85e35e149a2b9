"""References that are torch modules, told apart from files of other runtimes without torch."""

from __future__ import annotations

from quantbench.backends.interface import Artifact
from quantbench.errors import QuantizationError

# Suffix of a model's file → backends that quantize it as it is; all others need the torch module that it was made from.
READ_BY = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}


def check_module(reference: Artifact) -> None:
    """Refuses a reference that holds its own structure, which is no torch module's.

    Raises:
        QuantizationError: saying what to give instead.
    """
    if reference.model is None:
        raise no_module(reference)


def no_module(reference: Artifact) -> QuantizationError:
    """The line about a reference that is no torch module."""
    return QuantizationError(
        f"{reference.path}: is loaded by backend '{reference.backend.name}' and is no torch module, which this "
        "recipe needs; give the state dict that it was made from"
    )
