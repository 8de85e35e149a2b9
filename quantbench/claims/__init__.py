"""The claims about every experiment, as tests: `bench/` imports them; `pytest --pyargs quantbench.claims` runs them."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType


@cache
def claimed_by_name() -> frozenset[str]:
    """Quantities that a test here names in a `gate` or a `claim` marker, so that it is about them alone."""
    return frozenset(
        str(mark.args[0])
        for module in _modules()
        for test in vars(module).values()
        for mark in getattr(test, "pytestmark", ())
        if mark.name in ("gate", "claim")
    )


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
