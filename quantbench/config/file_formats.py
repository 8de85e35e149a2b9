"""Formats of model files, told by their suffixes."""

from __future__ import annotations

from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.recipes.lowering import FORMATS


def backend_of_file(path: str, where: str) -> str:
    """The backend that loads files of a path's suffix.

    Raises:
        ConfigError: if none is known.

    Example:
        >>> backend_of_file("model.int8.onnx", "a.yaml: recipe.path")
        'onnxruntime'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        known = ", ".join(f"{each} ({backend})" for each, backend in FORMATS.items())
        raise ConfigError(
            f"{where}: no backend is known for a file that ends in '{suffix}'; name one of {known}, or the backend "
            "that loads it (backend: …)"
        )
    return FORMATS[suffix]
