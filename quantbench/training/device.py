"""The device of a training, and the settings under which it gives the same bits again there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

# cuBLAS reads it when its first handle is made; this size of workspace makes its sums repeatable.
CUBLAS_VARIABLE, CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def training_device() -> torch.device:
    """A graphics processor that torch can use, or the processor."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def device_facts(device: torch.device) -> Mapping[str, str]:
    """Facts of a graphics processor that decide the bits, as JSON; none of the processor, whose weights came first."""
    return {} if device.type == "cpu" else {"device": torch.cuda.get_device_name(device)}


@contextmanager
def same_bits(device: torch.device) -> Iterator[None]:
    """Makes CUDA's kernels repeatable meanwhile, and gives its generators back as they were.

    An operator that has no repeatable form is named by torch's own warning. On the processor nothing is changed.

    Source:
        "Reproducibility" in PyTorch's notes; "Results reproducibility" in cuBLAS's.
    """
    if device.type == "cpu":
        yield
        return
    os.environ.setdefault(CUBLAS_VARIABLE, CUBLAS_WORKSPACE)
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    modes = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        torch.use_deterministic_algorithms(True, warn_only=not modes[0] or modes[1])
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])


def forked_generators(device: torch.device) -> list[int]:
    """Devices for `torch.random.fork_rng`, whose generators a training may seed."""
    return [] if device.type == "cpu" else [device.index]
