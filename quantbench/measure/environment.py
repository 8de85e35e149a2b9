"""The machine and the versions that a figure depends on."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError

from quantbench.config.instruction_sets import INSTRUCTION_SETS
from quantbench.extras import OWN, installed, version_of
from quantbench.records.base import Environment

COMPUTING_PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", OWN)
# Noted if torch is, as installed or not.
BESIDE_TORCH = ("torch", "torchvision", "torchaudio")
ABSENT = "not installed"
# Noted where they are installed.
RUNTIMES = ("onnxruntime", "onnx", "openvino", "nncf", "ai-edge-litert", "torchao", "executorch")


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
        versions=_versions(),
        accelerator=_accelerator(),
    )


def _versions() -> dict[str, str]:
    always = [each for each in COMPUTING_PACKAGES if each not in BESIDE_TORCH or installed("torch")]
    found = {package: _version(package) for package in (*always, *RUNTIMES)}
    return {package: version for package, version in found.items() if version != ABSENT or package in always}


def _version(package: str) -> str:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return ABSENT


def _accelerator() -> str | None:
    if not installed("torch"):
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
