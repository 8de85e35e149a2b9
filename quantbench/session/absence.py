"""Experiments that do not run, since their data or an optional library of theirs is not on this machine."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable

from quantbench.backends.interface import BackendSpec
from quantbench.config.schema import Experiment, reference_backend
from quantbench.errors import DataMissingError, ExtraMissingError, QuantbenchError
from quantbench.experiment.run import Run
from quantbench.registry import MODELS

# End of the message about what is absent and fails the run.
OPTIONAL_HINT = "; or set workload.optional: true, and a run goes on without it"


class NotInstalledError(ExtraMissingError):
    """An experiment cannot begin, since a library that its model or one of its backends needs is not installed."""


Absence = DataMissingError | NotInstalledError
ABSENT = (DataMissingError, NotInstalledError)


def check_libraries(run: Run) -> None:
    """Imports what an experiment's model and backends need, before data is made and hours are spent.

    Raises:
        NotInstalledError: naming the first library that is missing, and the extra that brings it.
    """
    workload = run.experiment.workload
    try:
        # First what all experiments of the workload need, so that they share one line.
        if (model := workload.config.model) is not None:
            MODELS.factory(model.name, workload.where("model"))
        else:
            reference = reference_backend(workload)
            BackendSpec(reference.name, reference.params, workload.where("reference")).create()
        run.backend  # noqa: B018
    except ExtraMissingError as error:
        raise NotInstalledError(str(error)) from None
    except QuantbenchError:
        # Whatever else is wrong with them is told by the claim that meets it.
        return


def is_error(experiment: Experiment, error: Absence, is_strict: bool) -> bool:
    """True if an experiment must not be left out: with data of the user's own, or in CI, unless it is optional.

    Args:
        experiment: that does not run.
        error: why.
        is_strict: as in CI.
    """
    is_offered = isinstance(error, NotInstalledError) or error.is_offered
    is_needed = is_strict or bool(os.environ.get("CI")) or not is_offered
    return is_needed and not experiment.workload.config.optional


def with_hint(error: Absence, hint: str) -> QuantbenchError:
    """The same error with a longer text."""
    text = f"{error}{hint}"
    return NotInstalledError(text) if isinstance(error, NotInstalledError) else DataMissingError(text, error.is_offered)


def optional_sentences(experiments: Iterable[Experiment], not_run: Container[str]) -> list[str]:
    """The number of experiments of optional workloads that did not run, as a sentence; none where all did.

    Args:
        experiments: of the session.
        not_run: ids of those whose data, or a library of theirs, is not on this machine.
    """
    left_out = [each.workload.name for each in experiments if each.workload.config.optional and each.id in not_run]
    if not left_out:
        return []
    workloads = len(set(left_out))
    return [
        f"{len(left_out)} experiment{'s' * (len(left_out) > 1)} of {workloads} optional workload"
        f"{'s' * (workloads > 1)} did not run, for lack of data or a library"
    ]
