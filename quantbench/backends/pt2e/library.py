"""torchao and torch's compiler: imported where they are needed, kept quiet, and their C++ compiler found."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil

from quantbench.backends.quiet import quiet
from quantbench.errors import ExtraMissingError
from quantbench.extras import installed, require

WHO = "backend 'pt2e'"
# The compiler that inductor calls where the environment names none.
CXX, DEFAULT_CXX = "CXX", "g++"


def check_installed() -> None:
    """Raises ExtraMissingError unless torchao is there; it is imported where it is used, since a compiled program
    runs without it."""
    if not installed("torchao"):
        require(WHO, "torchao")


def torchao() -> None:
    """Imports torchao, which also makes the operators of quantized programs known to torch, and their kernels to
    inductor: without its passes a quantized program is compiled in floating point, and nothing says so.

    Raises:
        ExtraMissingError: if it cannot be imported.
    """
    with quiet():
        require(WHO, "torchao")
        for module in ("quantize_pt2e", "quantizer.x86_inductor_quantizer"):
            importlib.import_module(f"torchao.quantization.pt2e.{module}")


def check_compiler() -> str:
    """The C++ compiler that inductor will call.

    Raises:
        ExtraMissingError: if there is none, saying what to install.
    """
    command = os.environ.get(CXX) or DEFAULT_CXX
    found = shutil.which((shlex.split(command) or [DEFAULT_CXX])[0])
    if found is None:
        told = f"the environment variable {CXX} names '{command}'" if os.environ.get(CXX) else f"{CXX} is not set"
        raise ExtraMissingError(
            f"{WHO}: inductor compiles C++, and finds no compiler on the PATH ({told}, and there is no "
            f"{command}); install one, such as apt install g++, or quantize with backend: onnxruntime"
        )
    return found
