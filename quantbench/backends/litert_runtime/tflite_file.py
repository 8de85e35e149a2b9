"""Files of LiteRT, checked before the runtime reads them, and opened by it."""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

from quantbench.backends.quiet import silent
from quantbench.errors import CheckpointError
from quantbench.extras import require, version_of
from quantbench.files import open_file, printable

# XNNPACK takes over the operators that it has kernels for, as LiteRT does by default; or all are LiteRT's own.
Delegate = Literal["xnnpack", "none"]
IDENTIFIER = b"TFL3"
# What an offset within the format reaches.
LARGEST = (1 << 31) - 1
# Values of one tensor: a file of a few bytes can ask for any number, which are allocated before the first forward.
MOST_VALUES = 1 << 31
# A part of the runtime's message → what it means.
MEANINGS = {
    "not a valid Flatbuffer": "is cut short or damaged; copy or convert it again",
    "schema version": "is of a version of the format that ai-edge-litert {version} does not read; update it",
    "Didn't find op": "needs a newer operator than ai-edge-litert {version} has ({reason}); update it",
    "unresolved custom op": "has an operator of its own, which ai-edge-litert {version} does not know ({reason}); "
    "convert it with built-in operators alone",
    "Select TensorFlow op": "has operators of TensorFlow, which ai-edge-litert {version} does not know ({reason}); "
    "convert it with built-in operators alone",
    "XNNPack delegate": "is refused by XNNPACK ({reason}); set backend: {{name: litert, delegate: none}}",
}


@cache
def library() -> Any:
    """The module `ai_edge_litert.interpreter`.

    Raises:
        ExtraMissingError: if it is not installed.
    """
    require("backend 'litert'", "ai_edge_litert")
    return importlib.import_module("ai_edge_litert.interpreter")


def files_of(path: Path) -> tuple[Path, ...]:
    """All files that make the model at a path: the `.tflite` alone.

    Raises:
        CheckpointError: if it is missing, no ordinary file, or of another format.

    Example:
        >>> files_of(Path("none.tflite"))
        Traceback (most recent call last):
        quantbench.errors.CheckpointError: none.tflite: no such file
    """
    try:
        with open_file(path) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(8)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if size > LARGEST:
        raise CheckpointError(f"{path}: has {size:,} bytes; a .tflite file of more than {LARGEST:,} is not read")
    if head[4:] != IDENTIFIER:
        raise CheckpointError(f"{path}: is no .tflite file: it lacks the mark {IDENTIFIER.decode()} of that format")
    return (path,)


def open_tflite(path: Path, threads: int = 1, delegate: Delegate = "none") -> Any:
    """An interpreter of a file, its tensors allocated.

    Raises:
        CheckpointError: in one line, if the file is damaged or the runtime does not know all of it.
    """
    files_of(path)
    interpreters = library()
    resolvers = interpreters.OpResolverType
    resolver = resolvers.AUTO if delegate == "xnnpack" else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with silent():
            interpreter = interpreters.Interpreter(
                model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver
            )
            _check_sizes(interpreter, path)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: {_meaning(error)}") from None
    return interpreter


def _check_sizes(interpreter: Any, path: Path) -> None:
    for each in interpreter.get_tensor_details():
        values = 1
        for size in each["shape"]:
            values *= max(1, int(size))
        if values > MOST_VALUES:
            raise CheckpointError(
                f"{path}: tensor '{printable(each['name'])[:80]}' of shape {each['shape'].tolist()} has {values:,} "
                f"values; more than {MOST_VALUES:,} are not allocated"
            )


def _meaning(error: Exception) -> str:
    version = version_of("ai-edge-litert")
    reason = reason_of(error)
    found = next((meaning for words, meaning in MEANINGS.items() if words in str(error)), None)
    told = found or "cannot be read by ai-edge-litert {version} ({reason})"
    return told.format(version=version, reason=reason)


def reason_of(error: Exception) -> str:
    """The first sentence of a message of LiteRT.

    Example:
        >>> reason_of(RuntimeError("Encountered unresolved custom op: MyOp.\\nSee instructions: …"))
        'Encountered unresolved custom op: MyOp.'
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[0].strip())[:200]
