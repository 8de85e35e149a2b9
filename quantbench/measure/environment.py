"""The machine and the versions that a figure depends on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from functools import cache

from quantbench.config.schema import INSTRUCTION_SETS
from quantbench.records.base import Environment

COMPUTING_PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", "quantbench-suite")


@cache
def environment() -> Environment:
    """Describes this machine; computed once per process, since reading the processor takes a second."""
    import cpuinfo

    info = cpuinfo.get_cpu_info()
    flags = {flag.replace("avx512vnni", "avx512_vnni") for flag in info.get("flags", [])}
    return Environment(
        processor=str(info.get("brand_raw") or platform.processor() or "unknown"),
        architecture=platform.machine(),
        isa=tuple(flag for flag in INSTRUCTION_SETS if flag in flags),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={package: _version(package) for package in COMPUTING_PACKAGES},
        accelerator=_accelerator(),
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _accelerator() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
