"""Libraries: optional ones, each of them installed by an extra of the distribution, and versions."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from importlib.metadata import version

from quantbench.errors import ExtraMissingError

# Library → the extra that brings it.
EXTRAS = {
    "ai_edge_litert": "litert",
    "matplotlib": "plots",
    "nncf": "openvino",
    "onnx": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxruntime",
    "openvino": "openvino",
    "soundfile": "audio",
    "torchao": "torchao",
    "torchaudio": "audio",
}


def require(needed_by: str, *libraries: str) -> None:
    """Imports optional libraries, so that a missing one is reported before minutes of work.

    Args:
        needed_by: the data set or command, for the message.
        libraries: names in `EXTRAS`.

    Raises:
        ExtraMissingError: naming the first library that cannot be imported, the cause, and the command to install it.
    """
    for library in libraries:
        try:
            importlib.import_module(library)
        except (ImportError, OSError) as error:
            # An OSError where a library lacks a system library of its own.
            cause = str(error).partition("\n")[0]
            raise ExtraMissingError(
                f"{needed_by}: needs {library}, which cannot be imported ({cause}); "
                f"pip install 'quantbench-suite[{EXTRAS[library]}]'"
            ) from None


@cache
def installed(*libraries: str) -> bool:
    """True if all of them can be found; none is imported."""
    return all(importlib.util.find_spec(library) is not None for library in libraries)


@cache
def version_of(distribution: str) -> str:
    """Version of an installed distribution; looked up once, since that reads the folder of all of them.

    Raises:
        PackageNotFoundError: if it is not installed.
    """
    return version(distribution)
