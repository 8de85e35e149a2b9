"""Libraries: optional ones, each of them installed by an extra of the distribution, and versions."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version

from quantbench import __version__
from quantbench.errors import ExtraMissingError

OWN = "quantbench-suite"

# Library → the extra that brings it.
EXTRAS = {
    "ai_edge_litert": "litert",
    "distributed": "dask",
    "executorch": "executorch",
    "joblib": "jobs",
    "matplotlib": "plots",
    "nncf": "openvino",
    "onnx": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "onnxscript": "torch",
    "openvino": "openvino",
    "rapidfuzz": "text",
    "safetensors": "torch",
    "soundfile": "audio",
    "torch": "torch",
    "torchao": "torchao",
    "torchaudio": "torch",
    "torchvision": "torch",
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
            raise ExtraMissingError(_message(needed_by, library, error)) from None


@contextmanager
def needing(needed_by: str) -> Iterator[None]:
    """An import of modules that need optional libraries: a missing one is reported as by `require`.

    Raises:
        ExtraMissingError: as `require`.
    """
    try:
        yield
    except ImportError as error:
        if (line := missing(needed_by, error)) is None:
            raise
        raise ExtraMissingError(line) from None


def missing(needed_by: str, error: BaseException) -> str | None:
    """The line about an optional library that an error says is not installed; None if it says no such thing.

    Args:
        needed_by: what needs it.
        error: of any kind.
    """
    if type(error) is not ModuleNotFoundError:
        return None
    library = str(error.name).partition(".")[0]
    return _message(needed_by, library, error) if library in EXTRAS and not _is_found(library) else None


def _message(needed_by: str, library: str, error: BaseException) -> str:
    cause = str(error).partition("\n")[0]
    return (
        f"{needed_by}: needs {library}, which cannot be imported ({cause}); "
        f"pip install 'quantbench-suite[{EXTRAS[library]}]'"
    )


@cache
def installed(*libraries: str) -> bool:
    """True if all of them can be found; none is imported."""
    return all(_is_found(library) for library in libraries)


def _is_found(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


@cache
def version_of(distribution: str) -> str:
    """Version of an installed distribution; looked up once, since that reads the folder of all of them.

    Ours is that of the code that runs: an editable installation tells the version of the day it was installed.

    Raises:
        PackageNotFoundError: if it is not installed.
    """
    return __version__ if distribution == OWN else version(distribution)
