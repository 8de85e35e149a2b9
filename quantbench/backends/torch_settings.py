"""Settings by which torch computes in this process, put back when code that may change them returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules import module as hooks_of_all

from quantbench.backends.engines import process_engine, set_process_engine

# A product of such a number with one is 0 where torch flushes numbers below the least normal one.
SUBNORMAL = 1e-40
# Hooks on every module there is, by which one model can change what another computes.
HOOKS = tuple(
    value for name, value in vars(hooks_of_all).items() if name.startswith("_global") and hasattr(value, "items")
)


@contextmanager
def kept() -> Iterator[None]:
    """Restores what decides how torch computes, but for functions of torch that were replaced."""
    before, hooks = [read() for read, _ in SETTINGS], [dict(each) for each in HOOKS]
    try:
        yield
    finally:
        for (read, write), value in zip(SETTINGS, before, strict=True):
            if read() != value:
                write(value)
        for each, value in zip(HOOKS, hooks, strict=True):
            if each != value:
                each.clear()
                each.update(value)


def _flushes() -> bool:
    product = torch.tensor(SUBNORMAL, dtype=torch.float32, device="cpu").mul(1.0)
    return product.item() == 0.0


def _set_device(device: torch.device) -> None:
    # None ends the mode in which torch looks for a device, which costs time at each call.
    torch.set_default_device(None if device == torch.device("cpu") else device)


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _autocast() -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")


def _set_autocast(value: tuple[bool, torch.dtype]) -> None:
    torch.set_autocast_enabled("cpu", value[0])
    torch.set_autocast_dtype("cpu", value[1])


def _onednn() -> bool:
    return bool(torch.backends.mkldnn.enabled)


def _set_onednn(value: bool) -> None:
    torch.backends.mkldnn.enabled = value  # type: ignore[assignment]


# Reads and writes one setting each.
SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_device, _set_device),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (_deterministic, _set_deterministic),
    (_autocast, _set_autocast),
    (_onednn, _set_onednn),
    (process_engine, set_process_engine),
    (_flushes, torch.set_flush_denormal),
)
