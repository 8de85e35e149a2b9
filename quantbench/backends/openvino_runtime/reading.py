"""Models read from their files by OpenVINO, and its errors in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.backends.file_predictor import Layout, TensorSpec
from quantbench.backends.openvino_runtime.ir_files import check_ir, files_of
from quantbench.backends.openvino_runtime.library import core, openvino
from quantbench.errors import CheckpointError
from quantbench.files import printable

# Lines of an error that say where in OpenVINO's source it was raised.
PLACES = ("Exception from", "Check '", "FrontEnd API failed", "Summary:", "[ GENERAL_ERROR")
# Lines that name the operation, wherever they stand.
TELLING = ("No conversion rule found", "Conversion is failed", "Cannot create", "doesn't contain the operation")
NO_FORMAT = "Unable to read the model"
# The axis of the channels in the layouts that files tell.
CHANNELS: dict[int, Layout] = {1: "nchw", 3: "nhwc"}


def read_model(files: Sequence[Path]) -> Any:
    """The `openvino.Model` of an `.xml` and its `.bin`, or of an `.onnx`.

    Raises:
        CheckpointError: if a file is missing, damaged or of something else, or an operation is unknown.
    """
    path = files[0]
    version = 0
    if path.suffix.lower() == ".xml":
        if len(files) != 2:
            raise CheckpointError(f"{path}: an OpenVINO model is two files, .xml and .bin; {len(files)} are given")
        version = check_ir(path, files[1])
    else:
        files_of(path)
    try:
        model = core().read_model(*map(str, files if version else files[:1]))
    except Exception as error:
        raise CheckpointError(f"{path}: {_refusal(error, path, version)}") from None
    for port in (*model.inputs, *model.outputs):
        if port.partial_shape.rank.is_dynamic:
            raise CheckpointError(f"{path}: '{name_of(port)}' has no fixed number of axes; write the model with shapes")
    return model


def _refusal(error: Exception, path: Path, version: int) -> str:
    release = openvino().__version__.partition("-")[0]
    reason = reason_of(error)
    if NO_FORMAT not in reason:
        return f"openvino {release} cannot read it ({reason})"
    if version:
        return (
            f"openvino {release} does not read IR version {version}; update openvino, or write the model again with it"
        )
    return f"is cut short, or no {path.suffix} file at all"


def reason_of(error: Exception) -> str:
    """The telling line of an error of OpenVINO, whose first lines say where in its source it was raised.

    Example:
        >>> reason_of(RuntimeError("Exception from src/core.cpp:1:\\nCheck 'a' failed at b.cpp:2:\\nNo such operator"))
        'No such operator'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith(PLACES)]
    telling = [line for line in own if any(words in line for words in TELLING)]
    return printable((telling or own[-1:] or [type(error).__name__])[0].removeprefix("-- "))[:200]


def name_of(port: Any) -> str:
    """Name of an input or output; of several the first by the alphabet, since they come in no order."""
    names = sorted(port.get_names())
    return str(names[0] if names else port.node.friendly_name)


def spec_of(port: Any) -> TensorSpec:
    """An input or output of a model or compiled model.

    Raises:
        CheckpointError: if its values are of a type that numpy does not have.
    """
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    element = port.element_type
    try:
        dtype = np.dtype(element.to_dtype())
    except Exception:
        raise CheckpointError(
            f"'{name_of(port)}' is of type {element.type_name}, which no array has; write it as float32"
        ) from None
    return TensorSpec(name_of(port), shape, str(dtype), layout=_layout_of(port))


def _layout_of(port: Any) -> Layout | None:
    """The layout that an input tells, as its author may have set it; None without one."""
    if port.node.get_type_name() != "Parameter" or len(port.partial_shape) != 4:
        return None
    told = port.node.get_layout()
    helpers = openvino().layout_helpers
    return CHANNELS.get(helpers.channels_idx(told) % 4) if helpers.has_channels(told) else None
