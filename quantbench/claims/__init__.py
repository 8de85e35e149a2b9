"""The claims about every experiment, as tests: `bench/` imports them; `pytest --pyargs quantbench.claims` runs them.

`from quantbench.claims import *` in a test file of a project's own brings all of them into its folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any


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


def __getattr__(name: str) -> Any:
    """The tests by their names, and all of these names; the modules are imported once somebody asks."""
    if name == "__all__":
        return sorted(_tests())
    if name.startswith("test_") and (test := _tests().get(name)) is not None:
        return test
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _tests() -> dict[str, Any]:
    return {
        name: test
        for module in _modules()
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test)
    }


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
