"""Quantized engines: the families of int8 kernels that a build of torch has, of which one is the process's."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.errors import ConfigError
from quantbench.registry import unknown_name

# They go when quantized tensors go (pytorch/pytorch#184982).
HAS_ENGINES = hasattr(torch.backends, "quantized")


def default_engine() -> str:
    """`x86` on x86-64, `qnnpack` on Arm."""
    import platform

    return "qnnpack" if platform.machine().lower() in ("arm64", "aarch64") else "x86"


def supported_engines() -> tuple[str, ...]:
    """Those of this build of torch; none where it has no quantized tensors."""
    return tuple(torch.backends.quantized.supported_engines) if HAS_ENGINES else ()


def check_engine(engine: str) -> str:
    """The engine, if this build of torch has it.

    Raises:
        ConfigError: if it does not.
    """
    supported = [name for name in supported_engines() if name != "none"]
    # A torch without quantized tensors has none, and nothing that asks for one by name.
    if engine not in (supported or [default_engine()]):
        raise ConfigError(unknown_name("quantized engine", engine, supported))
    return engine


def _known(engine: str | None) -> str | None:
    try:
        return engine if engine is None else check_engine(engine)
    except ConfigError as error:
        raise PydanticCustomError("engine", "{error}", {"error": str(error)}) from None


# Parameter of a backend, refused at its place in the configuration.
Engine = Annotated[str | None, Field(description="quantized engine"), AfterValidator(_known)]


def process_engine() -> str:
    """The process's; empty where this torch has none."""
    return str(torch.backends.quantized.engine) if HAS_ENGINES else ""


def set_process_engine(engine: str) -> None:
    """Makes an engine the process's, where this torch has any."""
    if HAS_ENGINES:
        torch.backends.quantized.engine = engine


class engine_in_use:  # noqa: N801 — a context manager, a class since it is entered within what is timed
    """Makes an engine the process's for the time of a `with`; the one before is restored.

    Args:
        engine: one that this build of torch has.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def __enter__(self) -> None:
        self.before = process_engine()
        if self.before != self.engine:
            set_process_engine(self.engine)

    def __exit__(self, *_: object) -> None:
        if self.before != self.engine:
            set_process_engine(self.before)
