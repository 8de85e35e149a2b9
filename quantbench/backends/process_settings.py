"""Settings of the process that code of a user may change, put back when it returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quantbench.extras import installed


@contextmanager
def kept() -> Iterator[None]:
    """Restores what decides how torch computes, where it is installed."""
    if not installed("torch"):
        yield
        return
    from quantbench.backends import torch_settings

    with torch_settings.kept():
        yield
