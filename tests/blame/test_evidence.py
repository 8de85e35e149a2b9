"""Samples that a blame is measured on."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.blame.evidence import Evidence
from quantbench.experiment.sampling import Sampling
from quantbench.measure.evaluation import Evaluation
from quantbench.tasks.top1 import Top1

BEFORE = np.repeat([1.0, 0.0], [90, 10])
AFTER = np.repeat([1.0, 0.0, 1.0], [70, 28, 2])


def run(sampling=None, groups=None):
    """As much of a run as is asked."""
    evaluation = SimpleNamespace(clusters=None)
    workload = SimpleNamespace(config=SimpleNamespace(evaluation=evaluation))
    opened = SimpleNamespace(task=Top1(), splits=SimpleNamespace(test=SimpleNamespace(groups=groups)))
    return SimpleNamespace(
        opened=opened, sampling=sampling, experiment=SimpleNamespace(workload=workload),
        reference_evaluation=Evaluation(BEFORE, None), evaluation=Evaluation(AFTER, None),
    )  # fmt: skip


def test_the_whole_test_set_by_default():
    evidence = Evidence.of(run())
    drop, interval = evidence.lost(0.95)
    assert (len(evidence), evidence.unit, evidence.total) == (100, "pp", 100)
    assert drop == pytest.approx(18.0)
    assert interval[0] > 5


def test_only_the_samples_of_a_sequential_verdict():
    positions = np.array([95, 3, 75])
    sampling = Sampling(
        positions, Evaluation(BEFORE[positions], None), Evaluation(AFTER[positions], None), 100, "decided"
    )
    whole = run(sampling)
    del whole.evaluation, whole.reference_evaluation
    evidence = Evidence.of(whole)
    assert evidence.positions.tolist() == [95, 3, 75]
    assert (len(evidence), evidence.total) == (3, 100)


def test_what_another_model_recovers_is_counted_from_the_candidate():
    evidence = Evidence.of(run())
    seen = np.arange(50, 100)
    recovered, interval = evidence.recovered(seen, BEFORE[seen, None], 0.95)
    assert recovered == pytest.approx(36.0)
    assert interval[0] < recovered < interval[1]


def test_samples_in_groups_tell_less():
    alone = Evidence.of(run()).lost(0.95)[1]
    grouped = Evidence.of(run(groups=np.arange(100) // 5)).lost(0.95)[1]
    assert grouped[0] <= alone[0]
    assert grouped[1] >= alone[1]
