"""Settings of a workload that decide how it is measured."""

import numpy as np
import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import ConfigError
from quantbench.experiment.result import inputs_of
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs

DYNAMIC = "tiny/ptq_dynamic_int8"


def run_of(project):
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), DYNAMIC)[0])


def test_more_samples_than_the_test_split_has_are_not_timed_as_fewer(project):
    project.edit("batch_size: 4, runtimes: [], rounds: 12", "batch_size: 151, runtimes: [], rounds: 12")
    with pytest.raises(
        ConfigError, match=r"tiny\.yaml: workload\.latency\.batch_size: 151 samples .* has 150; at most"
    ):
        run_of(project).baseline.latency_inputs  # noqa: B018
    project.edit("batch_size: 151, runtimes: [], rounds: 12", "batch_size: 150, runtimes: [], rounds: 12")
    assert len(run_of(project).baseline.latency_inputs["input"]) == 150


def test_accuracy_is_measured_in_batches_of_the_configured_size(project, monkeypatch):
    from quantbench.backends.module import ModulePredictor

    sizes = []
    real = ModulePredictor.__call__

    def listening(self, inputs):
        sizes.append(len(inputs["input"]))
        return real(self, inputs)

    project.edit("  latency:", "  evaluation: {batch_size: 100}\n  latency:")
    run = run_of(project)
    run.artifact  # noqa: B018
    monkeypatch.setattr(ModulePredictor, "__call__", listening)
    run.evaluation  # noqa: B018
    run.baseline.evaluation  # noqa: B018
    # One sample more tells how many outputs the model has, and a first batch whether a kept evaluation is its own.
    assert [size for size in sizes if size > 1] == [100, 50, 100, 100, 50]
    assert np.isfinite(run.evaluation.scores).all()


def test_only_another_size_changes_what_a_result_was_computed_from(project):
    before = inputs_of(run_of(project))
    project.edit("  latency:", "  evaluation: {batch_size: 64}\n  latency:")
    assert inputs_of(run_of(project)) == before
    project.edit("batch_size: 64}", "batch_size: 32}")
    assert inputs_of(run_of(project)).differing(before) == ["config"]
