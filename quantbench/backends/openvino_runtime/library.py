"""The libraries openvino and nncf, imported when they are needed: without their telemetry, and kept quiet."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from quantbench.extras import require

# Both libraries send what is done with them over the network, unless this one cannot be imported.
TELEMETRY = "openvino_telemetry"


@cache
def openvino() -> Any:
    """The module `openvino`.

    Raises:
        ExtraMissingError: if it is not installed.
    """
    with _without_telemetry():
        require("backend 'openvino'", "openvino")
        return importlib.import_module("openvino")


@cache
def nncf() -> Any:
    """The module `nncf`, and its logger at errors only.

    Raises:
        ExtraMissingError: if it is not installed.
    """
    openvino()
    # It replaces the class of all loggers that are made after it.
    loggers = logging.getLoggerClass()
    # Of torch, which says where a compiler of CUDA is, once NNCF's parts for torch are imported.
    compilers = logging.getLogger("torch.utils.cpp_extension")
    before, compilers.disabled = compilers.disabled, True
    try:
        with _without_telemetry(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            require("quantizing with backend 'openvino'", "nncf")
            return importlib.import_module("nncf")
    finally:
        logging.setLoggerClass(loggers)
        compilers.disabled = before


@cache
def core() -> Any:
    """The runtime of this process; starting one takes longer than reading a small model."""
    return openvino().Core()


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Makes the import of the telemetry fail, for which both libraries have a stand-in that sends nothing."""
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(TELEMETRY, None)
