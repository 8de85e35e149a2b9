"""A backend of a user's own that only loads and describes: every measurement takes its artifacts as they are."""

import numpy as np
import pytest
from half_backend import SPEC, rounded

from quantbench.arrays import OUTPUT
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.artifact import probe_inputs
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.repetition import Repetition, differences
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.confirmation import time_in_fresh_process
from quantbench.measure.latency import INT8
from quantbench.quantities.judging import judge, measure
from quantbench.stats.speed import SpeedQuestions
from quantbench.stats.verdicts import Outcome


@pytest.fixture
def run(project, tmp_path):
    """An experiment whose candidate is the reference, rounded to float16."""
    experiment = select(load_experiments(project.configs), "tiny/ptq_static_int8_per_channel")[0]
    run = Runs(Settings(project.golden)).run(experiment)
    artifact = rounded(tmp_path / "half.npz", run.baseline.artifact)
    run.backend = SPEC.create()
    run.candidate = BuiltArtifact(artifact, run.backend.load(artifact, 1)(probe_inputs(run.opened)))
    return run


def test_its_accuracy_is_measured_on_what_it_loads(run):
    assert run.accuracy.n == 150
    assert abs(run.accuracy.drop_pp) <= 2, "float16 costs next to nothing"
    assert run.evaluation.loss != run.baseline.evaluation.loss, "but it is not the reference that was evaluated"


def test_its_size_is_that_of_its_files(run):
    assert run.size.quantized_bytes == run.artifact.path.stat().st_size
    assert run.size.fp32_bytes == run.baseline.artifact.size_bytes
    assert judge(run, "size_ratio").outcome is Outcome.PASS


@pytest.mark.usefixtures("real_processes")
def test_it_is_loaded_again_in_a_fresh_process(run):
    assert judge(run, "reload").outcome is Outcome.PASS
    assert run.checkpoint.keys["conv.weight"] == {"dtype": "float16", "shape": [8, 3, 3, 3]}
    changed = run.candidate.probe[OUTPUT].copy()
    changed.view("u4")[0, 0] ^= 1
    run.candidate = BuiltArtifact(run.artifact, {OUTPUT: changed})
    del run.results["checkpoint"]
    assert judge(run, "reload").outcome is Outcome.FAIL


def test_its_keys_are_compared_where_it_is_made_again(run):
    description = run.backend.describe(run.artifact)
    second = Repetition(("another",), description.digests | {"fc.bias": "another"}, run.candidate.probe)
    assert differences(run.candidate, second) == ["the checkpoint differs in 'fc.bias'"]


def test_it_is_timed_here_and_in_a_fresh_process(run):
    run.forwards()[INT8]()
    timings = time_in_fresh_process(run.timing_job(SpeedQuestions(bound=0.001)))
    assert (timings.samples[INT8].wall_s > 0).all()


@pytest.mark.usefixtures("real_memory")
def test_its_memory_is_measured(run):
    assert len(run.memory.quantized_each_bytes) == len(run.memory.fp32_each_bytes) == 3


def test_what_its_kernels_are_is_unknown_and_no_verdict(run):
    verdict = judge(run, "int8_share")
    words = "backend 'half' does not tell which kernels ran; what is not known to be int8 is not called so"
    assert (verdict.outcome, verdict.measured, verdict.n) == (Outcome.INCONCLUSIVE, words, 0)
    shown = measure(run, "coverage")
    assert (shown.quantity, shown.outcome, shown.measured) == ("coverage", Outcome.INCONCLUSIVE, words)
    assert run.record("quantbench run").coverage is None


def test_its_probe_is_compared_as_named_arrays(run):
    assert {name: array.dtype for name, array in run.candidate.probe.items()} == {OUTPUT: np.float32}
