"""What a fresh interpreter makes of a project: `python all_made_again.py FOLDER forwards|backwards`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch

from quantbench.config.reading import load_experiments
from quantbench.config.schema import Experiment
from quantbench.config.selection import find_workload, select, with_recipe
from quantbench.experiment.fine_tuning import trained_path
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import sha256_of_file
from quantbench.registry import RECIPES

Value = TypeVar("Value")
THREADS = (1, 2)


def experiments(configs: Path) -> list[Experiment]:
    """Those of the configuration, and one of each recipe that it leaves out."""
    workload, known = find_workload("tiny", configs), load_experiments(configs)
    rest = set(RECIPES.names()) - {experiment.config.recipe.name for experiment in known}
    layers = {name: {"layers": ["features"]} for name in rest if name.endswith("_layers")}
    # Those that train are made by the configuration's alone, what is ready-made by nobody here, and weights alone by
    # runtimes, whose tests hold their bytes.
    others = ("qat", "low_bit", "function", "ready_made", "weight_only")
    untrained = sorted(name for name in rest if not name.startswith(others))
    return [*known, *(with_recipe(workload, name, layers.get(name, {"calibration_n": 32})) for name in untrained)]


def made_from(folder: Path, threads: int, order: str) -> dict[str, str]:
    """Trains the baseline and QAT, quantizes, and gives the hash of every file by its name."""
    os.environ["QUANTBENCH_DATA"], os.environ["QUANTBENCH_CACHE"] = str(folder / "data"), str(folder / "cache")
    torch.set_num_threads(threads)
    configs, golden = folder / "configs", folder / "trained again"
    opened = OpenWorkload(find_workload("tiny", configs), golden)
    opened.train_baseline()
    made = {"training": sha256_of_file(opened.weights_path)}
    qat = select(load_experiments(configs), "tiny/qat_int8")[0]
    Runs(Settings(golden, retrain=True)).run(qat).candidate  # noqa: B018 — trains
    made["QAT"] = sha256_of_file(trained_path(opened, qat))
    runs = Runs(Settings(golden))
    for experiment in in_order(experiments(configs), order):
        run = runs.run(experiment)
        name = f"{experiment.name} by {experiment.config.recipe.name}"
        made[name] = sha256_of_file(run.artifact.path)
        made[f"{name}: predictions"] = run.accuracy.quantized_correct
    return made


def in_order(values: Sequence[Value], order: str) -> Sequence[Value]:
    """The values, or the last one first."""
    return values[:: 1 if order == "forwards" else -1]


def main() -> None:
    """Prints as JSON what is made with each number of threads, of the folder's copy of the project for that number."""
    folder, order = Path(sys.argv[1]), sys.argv[2]
    made = {threads: made_from(folder / str(threads), threads, order) for threads in in_order(THREADS, order)}
    print(json.dumps(made))


if __name__ == "__main__":
    main()
