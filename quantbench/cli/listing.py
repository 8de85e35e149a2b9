"""`quantbench list`: what is registered, and which experiments are configured."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from quantbench.cli.options import CONFIGS, Configs


class Kind(StrEnum):
    """Kinds that `list` can list."""

    MODELS = "models"
    RECIPES = "recipes"
    DATA = "data"
    BACKENDS = "backends"
    TASKS = "tasks"
    QUANTITIES = "quantities"
    EXPERIMENTS = "experiments"


def list_(
    kind: Annotated[Kind | None, typer.Argument(help="One kind, or all of them.")] = None, configs: Configs = CONFIGS
) -> None:
    """List what is registered and which experiments are configured."""
    from quantbench.config.reading import load_experiments, unread
    from quantbench.registry import BACKENDS, DATA, MODELS, QUANTITIES, RECIPES, TASKS, Registry

    registries: dict[Kind, Registry[Any]] = {
        Kind.MODELS: MODELS, Kind.RECIPES: RECIPES, Kind.DATA: DATA, Kind.BACKENDS: BACKENDS, Kind.TASKS: TASKS,
        Kind.QUANTITIES: QUANTITIES,
    }  # fmt: skip
    for each in [kind] if kind else list(Kind):
        names = registries[each].names() if each in registries else [e.id for e in load_experiments(configs)]
        indent = "" if kind else "  "
        print("\n".join(([] if kind else [f"{each}:"]) + [f"{indent}{name}" for name in names]))
    if kind in (None, Kind.EXPERIMENTS):
        for line in unread(configs):
            print(line, file=sys.stderr)
