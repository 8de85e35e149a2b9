"""Accuracies of samples in groups: judged by whole groups, with the design effect in the record."""

import numpy as np
import pytest
from scored_models import FEATURES, linear, workload

from quantbench.config.reading import load_experiments
from quantbench.experiment.accuracy import paired_accuracy
from quantbench.experiment.clusters import Grouping
from quantbench.experiment.result import RunEvidence
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.acceptance import accept
from quantbench.golden.results import PREDICTIONS, RESULTS
from quantbench.measure.evaluation import Evaluation
from quantbench.quantities.judging import judge
from quantbench.records.run import RunRecord
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.power import least_drop
from quantbench.tasks.top1 import Top1

RANDOM = np.random.default_rng(0)
SPEAKERS, EACH, CLASSES = 60, 20, 4
N = SPEAKERS * EACH
# All samples of a speaker are nearly the same, so that an answer flips of all of them or of none.
X = np.repeat(RANDOM.normal(size=(SPEAKERS, FEATURES)), EACH, axis=0).astype(np.float32)
X += 0.01 * RANDOM.normal(size=X.shape).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, CLASSES)) / 8).astype(np.float32)
LABELS = (X @ WEIGHT).argmax(axis=1)
BROKEN = (WEIGHT + RANDOM.normal(size=WEIGHT.shape) / 20).astype(np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of the experiment, anew."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))

    def make(gates="{accuracy_drop_pp: 3}", weight=BROKEN, speakers=SPEAKERS, more="", sequential=False):
        path = workload(tmp_path, "top1", X, LABELS, gates, more)
        speaker = np.arange(N) * speakers // N
        np.savez(path.parent / "samples.npz", x=X, targets=LABELS, speaker=speaker)
        path.write_text(path.read_text().replace("samples.npz}", "samples.npz, groups: speaker}"))
        linear(path.parent / "fp32.onnx", WEIGHT)
        linear(path.parent / "int8.onnx", weight, int8=True)
        (experiment,) = load_experiments(path.parent)
        return Runs(Settings(tmp_path / "golden", sequential=sequential)).run(experiment)

    return make


def test_what_is_lost_is_judged_by_whole_groups_and_the_record_says_how_much_wider_that_is(run):
    made = run("{accuracy_drop_pp: 10}")
    verdict, a = judge(made, "accuracy_drop_pp"), made.accuracy
    tango = tango_interval(PairedOutcomes(a.n, a.lost, a.gained), 0.95)
    assert a.clustered.tango_pp == (100 * tango.low, 100 * tango.high)
    assert (a.drop_interval_pp, a.clustered.clusters) == (a.clustered.interval_pp, SPEAKERS)
    assert a.clustered.design_effect == pytest.approx(EACH, rel=0.25)
    assert a.clustered.widening > 3
    assert (verdict.interval.low, verdict.interval.high) == a.drop_interval_pp
    assert (
        f"of 60 clusters, design effect {a.clustered.design_effect:.2f}: {a.clustered.widening:.2f} times as wide"
        in (verdict.measured)
    )
    assert f"{a.detectable_pp:.2f} pp would be detected" in verdict.measured
    assert made.accuracy.impossible() is None


def test_samples_are_independent_where_the_workload_says_so(run):
    made = run("{accuracy_drop_pp: 10}", more="  evaluation: {clusters: false}\n")
    assert made.accuracy.clustered is None
    # A verdict that the groups do not give.
    assert judge(made, "accuracy_drop_pp").outcome.value == "FAIL"
    assert judge(run("{accuracy_drop_pp: 10}"), "accuracy_drop_pp").outcome.value == "INCONCLUSIVE"


def test_a_model_without_a_fault_passes_and_one_that_answers_at_random_fails(run):
    assert judge(run(weight=WEIGHT), "accuracy_drop_pp").outcome.value == "PASS"
    assert judge(run(weight=-WEIGHT), "accuracy_drop_pp").outcome.value == "FAIL"


def test_few_groups_tell_no_interval(run):
    made = run(speakers=6)
    verdict = judge(made, "accuracy_drop_pp")
    assert (verdict.outcome.value, made.accuracy.drop_interval_pp) == ("INCONCLUSIVE", (-100.0, 100.0))
    assert "; 6 clusters, or those of them that changed, tell no interval; measure on more" in verdict.measured
    assert (made.accuracy.detectable_pp, made.accuracy.impossible()) == (None, None)
    assert "would be detected" not in verdict.measured
    assert "would decide" not in verdict.measured
    floor = judge(run("{accuracy: 50}", speakers=6), "accuracy")
    assert (floor.outcome.value, floor.interval) == ("INCONCLUSIVE", None)
    assert "6 clusters); so few clusters tell no interval" in floor.measured


def test_a_floor_is_judged_by_whole_groups_too(run):
    made = run("{accuracy: 60}", WEIGHT)
    verdict = judge(made, "accuracy")
    assert (verdict.outcome.value, verdict.requirement) == ("PASS", "at least 60 %")
    assert "in 60 clusters)" in verdict.measured
    assert judge(run("{accuracy: 99}", -WEIGHT), "accuracy").outcome.value == "FAIL"


def test_what_was_accepted_is_compared_by_whole_groups(run):
    accept(RESULTS, RunEvidence(run(weight=WEIGHT)), [PREDICTIONS], "it is so")
    assert judge(run(weight=WEIGHT), PREDICTIONS).change.value == "SAME"
    worse = judge(run(weight=-WEIGHT), PREDICTIONS)
    assert (worse.change.value, worse.outcome.value) == ("REGRESSED", "FAIL")
    lost = judge(run(), PREDICTIONS)
    tango = tango_interval(PairedOutcomes(N, round(lost.estimate * N / 100), 0), 0.95)
    assert lost.interval.high - lost.interval.low > 3 * 100 * (tango.high - tango.low)


def test_groups_of_which_none_changed_tell_no_more_than_independent_samples(run):
    a = run(weight=WEIGHT).accuracy
    assert (a.lost, a.gained, a.drop_interval_pp) == (0, 0, a.clustered.tango_pp)
    assert a.clustered.widening == 1.0


def test_groups_that_balance_tell_no_smaller_drop_than_independent_samples_do():
    before, after = np.ones(N), np.ones(N)
    before[1::20], after[::20] = 0, 0
    grouping = Grouping(Top1(), np.arange(N) // 2, (0.95, 0.95))
    a = paired_accuracy(Evaluation(before, None, None), Evaluation(after, None, None), None, grouping)
    least = 100 * least_drop(PairedOutcomes(N, N // 20, N // 20), 0.95)
    assert (a.clustered.design_effect, a.clustered.widening) == (0.0, 1.0)
    assert a.detectable_pp == pytest.approx(least)


def test_since_an_acceptance_few_groups_tell_neither_a_drop_nor_a_number_of_samples(run):
    accept(RESULTS, RunEvidence(run(weight=WEIGHT, speakers=6)), [PREDICTIONS], "it is so")
    measured = judge(run(speakers=6), PREDICTIONS).measured
    assert "[-100.00, 100.00]" in measured
    assert "would be detected" not in measured
    assert "would decide" not in measured


def test_groups_need_all_samples(run):
    a = run(sequential=True).accuracy
    assert (a.n, a.samples.why) == (
        N, "needed from the start: its samples come in groups, and are no independent ones"
    )  # fmt: skip
    assert a.clustered.clusters == SPEAKERS


def test_the_record_is_read_back_and_refused_where_it_contradicts_itself(run):
    made = run()
    judge(made, "accuracy_drop_pp")
    record = made.record("test")
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    a = record.accuracy
    assert a.impossible() is None

    def wrong(**changed):
        return a.model_copy(update={"clustered": a.clustered.model_copy(update=changed)}).impossible()

    assert wrong(tango_pp=(0.0, 1.0)).startswith("tango_pp [0.0, 1.0], but lost")
    assert wrong(interval_pp=(0.0, 1.0)).endswith("which is not that of its clusters")
    assert wrong(clusters=0).startswith("0 clusters with intervals")
    assert a.clustered.model_copy(update={"design_effect": -1.0}).impossible() == "a design effect of -1.0"
