"""The interval that fits: by the kind of figure, its range, how many samples changed, and clusters."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.errors import EvaluationError
from quantbench.experiment.figures import figure_intervals, paired
from quantbench.experiment.score import clusters_of
from quantbench.registry import TASKS

RANDOM = np.random.default_rng(0)
N = 1_000
LEVELS = (0.95, 0.999)


def task(name, **params):
    return TASKS.create(name, "here", params)


def changed(before, share, size=0.1):
    return np.where(RANDOM.random((len(before), 1)) < share, before + size * RANDOM.random(before.shape), before)


SCORES = RANDOM.uniform(0.1, 0.5, (N, 1))
SQUARES = np.concatenate([SCORES, np.ones((N, 1))], axis=1)
BOUNDED = task("function", function="own_metrics:absolute", range=[0, 1])


@pytest.mark.parametrize(
    ("given", "before", "share", "clusters", "method"),
    [
        (task("mae"), SCORES, 1.0, None, "studentized bootstrap"),
        (task("mae"), SCORES, 0.05, None, "rare changes"),
        (BOUNDED, SCORES, 1.0, None, "studentized bootstrap"),
        (BOUNDED, SCORES, 0.05, None, "betting"),
        (BOUNDED, SCORES, 0.0, None, "betting"),
        (task("rmse"), SQUARES, 1.0, None, "BCa bootstrap"),
        (task("rmse"), SQUARES, 0.05, None, "rare changes"),
        (task("rmse"), SQUARES, 1.0, np.arange(N) // 20, "BCa bootstrap over clusters"),
        (task("mae"), SCORES, 1.0, np.arange(N) // 20, "BCa bootstrap over clusters"),
    ],
)
def test_the_method_follows_from_the_figure_and_the_changes(given, before, share, clusters, method):
    after = changed(before, share)
    found = paired(given, before, after, LEVELS, clusters)
    own, strict = found.intervals
    assert found.method == method
    assert strict.low <= own.low <= found.drop <= own.high <= strict.high
    sign = 1 if given.higher_is_better else -1
    assert found.drop == pytest.approx(sign * (given.figure(before) - given.figure(after)))
    assert found.changed == (before != after).any(axis=1).sum()
    assert found.own[0].low <= given.figure(after) <= found.own[0].high
    assert figure_intervals(given, after, LEVELS, clusters) == found.own


def test_a_loss_is_positive_whichever_direction_is_better():
    assert paired(task("mae"), SCORES, SCORES + 0.1, LEVELS).drop == pytest.approx(0.1)
    better = task("function", function="own_metrics:absolute", higher_is_better=True)
    assert paired(better, SCORES, SCORES + 0.1, LEVELS).drop == pytest.approx(-0.1)


def test_no_change_at_all_is_no_loss():
    for each in (task("mae"), task("rmse")):
        before = SCORES if each.is_mean else SQUARES
        found = paired(each, before, before, LEVELS)
        assert (found.intervals[0].low, found.drop, found.intervals[0].high) == (0, 0, 0)


def test_effects_of_rare_changes_add_up_to_the_loss_of_a_figure_that_is_no_mean():
    labels = RANDOM.integers(0, 3, N)
    before = np.stack([labels, labels], axis=1).astype(float)
    after = before.copy()
    after[:12, 1] = (after[:12, 1] + 1) % 3
    found = paired(task("macro_f1"), before, after, LEVELS)
    low, high = found.intervals[0].low, found.intervals[0].high
    assert (found.method, found.drop) == ("rare changes", pytest.approx(0.012, rel=0.02))
    # 12 + z²/2 ± z √(12 + z²/4) of a thousand.
    assert (low, high) == (pytest.approx(0.003, abs=5e-4), pytest.approx(0.021, abs=5e-4))


def test_few_samples_or_clusters_tell_no_interval():
    few = paired(task("rmse"), SQUARES[:9], changed(SQUARES[:9], 1.0), LEVELS)
    assert (few.intervals, few.own) == ((None, None), (None, None))
    assert paired(task("mae"), SCORES[:9], SCORES[:9] + 1, LEVELS).intervals == (None, None)
    clusters = np.arange(N) % 3
    assert paired(task("mae"), SCORES, changed(SCORES, 1.0), LEVELS, clusters).intervals == (None, None)
    with pytest.raises(EvaluationError, match="1 sample tells no interval of mean absolute error; measure on more"):
        paired(task("mae"), SCORES[:1], SCORES[:1], LEVELS)


def test_groups_are_clusters_unless_the_workload_says_otherwise_and_asking_for_none_is_refused():
    def run(asked, groups):
        config = SimpleNamespace(evaluation=SimpleNamespace(clusters=asked), data=SimpleNamespace(name="npz"))
        workload = SimpleNamespace(config=config, where=lambda key: f"a.yaml: workload.{key}")
        splits = SimpleNamespace(test=SimpleNamespace(groups=groups))
        return SimpleNamespace(experiment=SimpleNamespace(workload=workload), opened=SimpleNamespace(splits=splits))

    groups = np.arange(4)
    assert clusters_of(run(None, None)) is None
    assert clusters_of(run(False, groups)) is None
    assert clusters_of(run(None, groups)) is clusters_of(run(True, groups)) is groups
    with pytest.raises(EvaluationError, match=r"a.yaml: workload.evaluation.clusters: data set 'npz' has no groups"):
        clusters_of(run(True, None))
