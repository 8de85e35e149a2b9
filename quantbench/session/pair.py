"""A session over two files: what follows from the files, its claims, and the acceptance of what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from quantbench.backends.interface import Predictor
from quantbench.config.pair import Pair
from quantbench.config.schema import Experiment
from quantbench.errors import QuantbenchError
from quantbench.experiment.artifact import backend_of
from quantbench.experiment.files import ready_made_file
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.golden.kinds import kind_checked_by
from quantbench.session.acceptance import Accepting
from quantbench.session.plan import Plan
from quantbench.session.result import run_session
from quantbench.session.session import Options

# Pictures of this size and larger are photographs, whose models take the statistics of ImageNet.
PHOTOGRAPH = 64
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PICTURE_AXES = 4


def fitted(pair: Pair, path: Path) -> Pair:
    """The pair with what its files tell: the size of pictures, and the batch that a file is fixed to.

    Args:
        pair: as it was asked for.
        path: of the workload file that would describe it.
    """
    experiment = pair.experiment(path)
    workload = experiment.workload
    reference = OpenWorkload(workload, Path()).reference_file
    if reference is None:
        raise QuantbenchError(f"{pair.reference}: is no file that a backend loads")
    backend = backend_of(experiment, None)
    loaded = [
        reference.backend.create().load(reference, 1),
        backend.load(ready_made_file(experiment, backend), 1),
    ]
    params, latency = dict(pair.data_params), dict(pair.latency)
    if workload.config.data.name == "image_folder":
        params = {**_pictures(loaded), **params}
    fixed = {spec.shape[0] for each in loaded for spec in each.takes if spec.shape and spec.shape[0]}
    if len(fixed) == 1:
        latency["batch_size"] = fixed.pop()
    return replace(pair, data_params=params, latency=latency)


def _pictures(loaded: list[Predictor]) -> dict[str, Any]:
    """Size and statistics of pictures, as the first file that tells its size takes them."""
    for each in loaded:
        for spec in each.takes:
            shape = spec.shape or ()
            sides = [size for size in shape[1:] if size is not None and size > PICTURE_AXES]
            if len(shape) == PICTURE_AXES and sides:
                return {"size": sides[0], **(IMAGENET if sides[0] >= PHOTOGRAPH else {})}
    return {}


def plan_of(experiment: Experiment) -> Plan:
    """Every claim about the experiment that needs nothing accepted."""
    claims = Plan.of_experiments([experiment]).claims
    return Plan(tuple(claim for claim in claims if kind_checked_by(claim.quantity) is None))


def accept(experiment: Experiment, golden: Path, reason: str) -> list[str]:
    """Accepts what the experiment is found to be; gives the lines about it.

    Raises:
        QuantbenchError: if something cannot be measured, or may not be accepted.
    """
    plan = Plan.of_experiments([experiment])
    runs = Runs(Settings(golden, family=plan.family))
    options = Options(accepting=Accepting.ALL, reason=reason)
    result = run_session(runs, plan, reason, options)
    if result.broken:
        raise QuantbenchError("\n".join(result.broken))
    return list(result.lines)
