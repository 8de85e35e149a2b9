"""Quantized engines: the families of int8 kernels that a build of torch has, of which one is the process's."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.errors import ConfigError
from quantbench.registry import unknown_name


def default_engine() -> str:
    """`x86` on x86-64, `qnnpack` on Arm."""
    import platform

    return "qnnpack" if platform.machine().lower() in ("arm64", "aarch64") else "x86"


def check_engine(engine: str) -> str:
    """The engine, if this build of torch has it.

    Raises:
        ConfigError: if it does not.
    """
    supported = [name for name in torch.backends.quantized.supported_engines if name != "none"]
    if engine not in supported:
        raise ConfigError(unknown_name("quantized engine", engine, supported))
    return engine


def _known(engine: str | None) -> str | None:
    try:
        return engine if engine is None else check_engine(engine)
    except ConfigError as error:
        raise PydanticCustomError("engine", "{error}", {"error": str(error)}) from None


# Parameter of a backend, refused at its place in the configuration.
Engine = Annotated[str | None, Field(description="quantized engine"), AfterValidator(_known)]


class engine_in_use:  # noqa: N801 — a context manager, a class since it is entered within what is timed
    """Makes an engine the process's for the time of a `with`; the one before is restored.

    Args:
        engine: one that this build of torch has.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def __enter__(self) -> None:
        self.before = torch.backends.quantized.engine
        if self.before != self.engine:
            torch.backends.quantized.engine = self.engine

    def __exit__(self, *_: object) -> None:
        if self.before != self.engine:
            torch.backends.quantized.engine = self.before
