"""The quantized engine of this process."""

from __future__ import annotations

import torch

from quantbench.errors import ConfigError
from quantbench.registry import unknown_name


def default_engine() -> str:
    """`x86` on x86-64, `qnnpack` on Arm."""
    import platform

    return "qnnpack" if platform.machine().lower() in ("arm64", "aarch64") else "x86"


def select_engine(engine: str) -> str:
    """Makes an engine the process's.

    Raises:
        ConfigError: if this build of torch does not have it.
    """
    supported = [name for name in torch.backends.quantized.supported_engines if name != "none"]
    if engine not in supported:
        raise ConfigError(f"--engine: {unknown_name('quantized engine', engine, supported)}")
    torch.backends.quantized.engine = engine
    return engine
