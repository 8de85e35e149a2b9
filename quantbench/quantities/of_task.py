"""Task of an experiment, as its quantities see it before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.tasks.interface import Task

FLOOR_OF_TOP1 = "accuracy"
# The gate on the figure of a task that has no name in the table.
FLOOR_OF_OTHERS = "score"


def task_of(experiment: Experiment) -> Task:
    """The experiment's task."""
    from quantbench.registry import TASKS

    config = experiment.workload.config.task
    return TASKS.create(config.name, experiment.workload.where("task"), config.params)


def needs_bits(experiment: Experiment) -> str | None:
    """Reason why nothing can be counted right or wrong; None where scores are 0 and 1."""
    name = experiment.workload.config.task.name
    if task_of(experiment).is_binary:
        return None
    return f"the scores of task '{name}' are not 0 and 1; gate score_drop, in {task_of(experiment).unit}"


def needs_scores(experiment: Experiment) -> str | None:
    """Reason why no score is compared but an accuracy; None where scores are not 0 and 1."""
    name = experiment.workload.config.task.name
    if not task_of(experiment).is_binary:
        return None
    return f"the scores of task '{name}' are 0 and 1; gate accuracy_drop_pp, in percentage points"
