"""Test-driven benchmark and regression suite for neural-network quantization.

A model, an extension or a script imports the names below from here. Each is loaded when it is first used, so
that `import quantbench` costs no import of torch.

Example:
    >>> import quantbench
    >>> quantbench.tango_interval(quantbench.PairedOutcomes(n=2_000, lost=20, gained=12)).level
    0.95
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact, Backend, Predictor
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.data.source import Source
    from quantbench.errors import QuantbenchError
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.models.quantizable import DeQuantStub, FloatFunctional, QuantStub, fuse
    from quantbench.quantities.interface import Column, Quantity
    from quantbench.recipes.spec import Recipe
    from quantbench.stats.paired import PairedOutcomes, tango_interval
    from quantbench.stats.verdicts import Outcome, Verdict
    from quantbench.tasks.interface import Task

# Name → module, in the order in which a user meets them.
_EXPORTS = {
    "QuantStub": "models.quantizable",
    "DeQuantStub": "models.quantizable",
    "FloatFunctional": "models.quantizable",
    "fuse": "models.quantizable",
    "load_experiments": "config.reading",
    "select": "config.selection",
    "Runs": "experiment.runs",
    "Settings": "experiment.run",
    "Verdict": "stats.verdicts",
    "Outcome": "stats.verdicts",
    "PairedOutcomes": "stats.paired",
    "tango_interval": "stats.paired",
    "Source": "data.source",
    "Task": "tasks.interface",
    "Recipe": "recipes.spec",
    "Backend": "backends.interface",
    "Artifact": "backends.interface",
    "Predictor": "backends.interface",
    "Quantity": "quantities.interface",
    "Column": "quantities.interface",
    "QuantbenchError": "errors",
}

__all__ = [
    "Artifact",
    "Backend",
    "Column",
    "DeQuantStub",
    "FloatFunctional",
    "Outcome",
    "PairedOutcomes",
    "Predictor",
    "QuantStub",
    "QuantbenchError",
    "Quantity",
    "Recipe",
    "Runs",
    "Settings",
    "Source",
    "Task",
    "Verdict",
    "fuse",
    "load_experiments",
    "select",
    "tango_interval",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'quantbench' has no attribute '{name}'")
    return getattr(importlib.import_module(f"quantbench.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
