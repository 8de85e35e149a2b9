"""Verdicts after a part of the test samples, and the reasons for which all of them are used."""

import numpy as np
import pytest
from scored_models import FEATURES, linear, workload

from quantbench.config.reading import load_experiments
from quantbench.errors import EvaluationError, GoldenError
from quantbench.experiment.result import RunEvidence
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.acceptance import accept
from quantbench.golden.results import PREDICTIONS, RESULTS, SCORES
from quantbench.measure import evaluation, gradual
from quantbench.quantities.accuracy_vs_accepted import change_of_behaviour
from quantbench.quantities.judging import judge, judged_of
from quantbench.records.run import RunRecord

RANDOM = np.random.default_rng(0)
N, CLASSES, BATCH = 3_000, 6, 64
X = RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, CLASSES)) / 8).astype(np.float32)
NOISE = RANDOM.normal(size=(N, CLASSES))
LABELS = (X @ WEIGHT + NOISE / 4).argmax(axis=1)
BOUNDED = "{name: function, function: 'own_metrics:closeness', unit: closeness, range: [0, 1]}"


def kept(weight):
    return weight


def broken(weight):
    """Two outputs in the place of each other."""
    return weight[:, [1, 0, *range(2, CLASSES)]]


def noisy(weight):
    """So little that a tenth of the answers change."""
    return (weight + np.random.default_rng(1).normal(size=weight.shape) / 150).astype(np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of the experiment, anew; the candidate's weights are those of the reference, changed."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))

    def make(gates="{accuracy_drop_pp: 3}", change=kept, task="top1", sequential=True, targets=LABELS, more=""):
        path = workload(tmp_path, task, X, targets, gates, more)
        linear(path.parent / "fp32.onnx", WEIGHT)
        linear(path.parent / "int8.onnx", change(WEIGHT), int8=True)
        (experiment,) = load_experiments(path.parent)
        return Runs(Settings(tmp_path / "golden", sequential=sequential)).run(experiment)

    return make


@pytest.fixture
def passed(monkeypatch):
    """Samples of each evaluation, in order."""
    seen = []

    def evaluate(predictor, split, *rest):
        found = evaluation.evaluate(predictor, split, *rest)
        seen.append(len(found.scores))
        return found

    monkeypatch.setattr(gradual, "evaluate", evaluate)
    return seen


def accepted(run, claim=PREDICTIONS):
    return "\n".join(accept(RESULTS, RunEvidence(run), [claim], "it is so").lines)


def test_a_rounded_model_is_decided_after_a_part_of_the_samples_and_so_is_a_broken_one(run):
    held = run()
    verdict, a = judge(held, "accuracy_drop_pp"), held.accuracy
    assert (verdict.outcome.value, verdict.n) == ("PASS", a.n)
    assert (a.samples.used, a.samples.total, a.samples.why) == (a.n, N, "every gate was decided")
    assert 0 < a.n < N / 4
    low, high = a.drop_interval_pp
    assert verdict.measured.startswith(f"{a.drop_pp:.2f} pp [{low:.2f}, {high:.2f}] ")
    assert f", n={a.n:,} of 3,000: {a.lost} lost, {a.gained} gained)" in verdict.measured
    assert verdict.measured.endswith(f"; decided after {a.n:,} samples in random order")
    assert low <= a.drop_pp <= high <= 3
    assert a.samples.decided == {"accuracy_drop_pp": a.n}
    assert a.samples.error_share == 0.2
    told = "of 3,000 test samples, in random order: every gate was decided (--full looks at all of them)"
    assert f"{a.n:,} {told}" in held.notes
    worse = run(change=broken)
    verdict = judge(worse, "accuracy_drop_pp")
    assert (verdict.outcome.value, verdict.interval.low > 3) == ("FAIL", True)
    assert worse.accuracy.n < N / 4


def test_only_the_candidate_runs_on_the_samples_that_are_looked_at_once_the_reference_is_cached(run, passed):
    judge(run(), "accuracy_drop_pp")
    first = list(passed)
    again = run()
    judge(again, "accuracy_drop_pp")
    assert passed == 2 * first
    assert sum(first) == again.accuracy.n
    assert set(first) == {BATCH}


def test_samples_come_in_an_order_that_their_hash_fixes(run):
    one, other = run(), run()
    for each in (one, other):
        judge(each, "accuracy_drop_pp")
    assert np.array_equal(one.sampling.positions, other.sampling.positions)
    assert not np.array_equal(one.sampling.positions, np.sort(one.sampling.positions))
    moved = run(targets=np.roll(LABELS, 1))
    assert not np.array_equal(gradual.random_order(moved.opened.splits.test)[:100], one.sampling.positions[:100])


def test_a_gate_that_no_part_decides_is_judged_by_all_samples_and_by_what_is_left_of_the_error(run):
    whole = run("{accuracy_drop_pp: 3}", noisy, sequential=False)
    near = round(whole.accuracy.drop_pp, 1)
    open_ = run(f"{{accuracy_drop_pp: {near}}}", noisy)
    verdict, a = judge(open_, "accuracy_drop_pp"), open_.accuracy
    assert (verdict.outcome.value, verdict.n, a.level) == ("INCONCLUSIVE", N, pytest.approx(0.96))
    assert a.samples.why == "not decided before the last: accuracy_drop_pp"
    assert "so that it is judged at 96 %" in verdict.measured
    assert (a.lost, a.gained, a.quantized_correct) == (
        whole.accuracy.lost, whole.accuracy.gained, whole.accuracy.quantized_correct
    )  # fmt: skip
    assert a.drop_interval_pp[1] - a.drop_interval_pp[0] == pytest.approx(
        1.048 * (whole.accuracy.drop_interval_pp[1] - whole.accuracy.drop_interval_pp[0]), rel=0.01
    )


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        ("{accuracy_drop_pp: 3, worst_class_drop_pp: 50}", "worst_class_drop_pp needs all of them"),
        ("{accuracy_drop_pp: 3, agreement: 0.5, kl_nats: 1}", "agreement, kl_nats need all of them"),
        ("{size_ratio: 0.1}", "no gate is set that a part decides"),
    ],
)
def test_what_needs_all_samples_is_named(run, gates, why):
    forced = run(gates)
    a = forced.accuracy
    assert (a.n, a.samples.used, a.level) == (N, N, 0.95)
    assert a.samples.why == f"needed from the start: {why}"
    assert f"all 3,000 test samples: needed from the start: {why}" in forced.notes


@pytest.mark.parametrize(
    ("task", "targets", "why"),
    [
        ("mae", X @ WEIGHT, "the scores of task 'mae' have no range, without which no part of them tells the others"),
        ("macro_f1", LABELS, "the figure of task 'macro_f1' is no mean of its samples' scores"),
    ],
)
def test_a_task_that_no_part_decides_is_named(run, task, targets, why):
    s = run("{score_drop: 0.99}", task=task, targets=targets).score
    assert (s.n, s.samples.why) == (N, f"needed from the start: {why}")


def test_scores_within_a_range_are_decided_after_a_part_and_held_to_what_was_accepted(run):
    first = run("{score_drop: 0.05}", task=BOUNDED, targets=X @ WEIGHT, sequential=False)
    accepted(first, SCORES)
    again = run("{score_drop: 0.05, score: 0.5}", task=BOUNDED, targets=X @ WEIGHT)
    verdicts = {name: judge(again, name) for name in ("score_drop", "score", SCORES)}
    assert {name: each.outcome.value for name, each in verdicts.items()} == dict.fromkeys(verdicts, "PASS")
    s = again.score
    assert (s.n < N, s.method, s.samples.total) == (True, "confidence sequence", N)
    assert s.impossible() is None
    assert all("samples in random order" in each.measured for each in verdicts.values()), verdicts
    worse = run("{score_drop: 0.05, score: 0.99}", change=broken, task=BOUNDED, targets=X @ WEIGHT)
    outcomes = {name: judge(worse, name) for name in ("score_drop", "score", SCORES)}
    assert {each.outcome.value for each in outcomes.values()} == {"FAIL"}
    assert outcomes[SCORES].change.value == "REGRESSED"
    assert worse.score.n < N


def test_the_verdict_against_what_was_accepted_shares_the_looks(run):
    accepted(run(sequential=False))
    again = run()
    drop, since = judge(again, "accuracy_drop_pp"), judge(again, PREDICTIONS)
    assert (drop.outcome.value, since.change.value) == ("PASS", "SAME")
    used = again.accuracy.samples
    assert used.decided.keys() == {"accuracy_drop_pp", PREDICTIONS}
    assert used.used == max(used.decided.values()) < N
    assert f"n={used.used:,} of 3,000" in since.measured
    worse = run(change=broken)
    assert judge(worse, PREDICTIONS).change.value == "REGRESSED"
    assert worse.accuracy.n < N


def test_predictions_that_flip_are_told_of_the_samples_that_were_looked_at(run, monkeypatch):
    accepted(run(sequential=False))
    flipped = run(change=noisy)
    judge(flipped, "accuracy_drop_pp")
    monkeypatch.setattr("quantbench.quantities.accuracy_vs_accepted.circumstances", lambda *_: [])
    assert f" of {flipped.accuracy.n:,} predictions flipped since" in change_of_behaviour(flipped)


def test_a_floor_is_decided_by_a_sequence_of_its_own(run):
    held = run("{accuracy: 50}")
    verdict = judge(held, "accuracy")
    assert (verdict.outcome.value, verdict.requirement) == ("PASS", "at least 50 %")
    assert held.accuracy.n < N / 4
    assert judge(run("{accuracy: 99.5}"), "accuracy").outcome.value == "FAIL"


def test_a_class_that_is_never_answered_is_found_by_looking_at_all_samples_of_it(run):
    rare = LABELS.copy()
    shown = X @ WEIGHT
    few = np.flatnonzero(shown.argmax(axis=1) == 5)

    def without_last(weight):
        weight = weight.copy()
        weight[:, 5] = 0.0
        return weight

    lost = run("{accuracy_drop_pp: 40}", without_last, targets=rare)
    verdict = judge(lost, "answered_classes")
    full = judge(run("{accuracy_drop_pp: 40}", without_last, targets=rare, sequential=False), "answered_classes")
    assert len(few) > 5
    assert (verdict.outcome, lost.sampling.is_part) == (full.outcome, True)


def test_every_class_is_answered_as_it_would_be_of_all_samples(run):
    held = run()
    verdict = judge(held, "answered_classes")
    assert (verdict.outcome.value, held.sampling.is_part) == ("PASS", True)
    assert "of 3,000, which decide it for all" in verdict.measured


def test_clusters_are_no_independent_samples(run):
    with pytest.raises(EvaluationError, match="has no groups of samples"):
        _ = run(more="  evaluation: {clusters: true}\n").accuracy


def test_a_workload_may_ask_for_it_and_an_option_against_it(run):
    more = "  evaluation: {sequential: true}\n"
    assert run(sequential=None, more=more).accuracy.n < N
    assert run(sequential=False, more=more).accuracy.samples is None
    assert run(sequential=None).accuracy.samples is None


def test_a_large_set_is_looked_at_so_by_default(run, monkeypatch):
    monkeypatch.setattr("quantbench.experiment.looking.LARGE", N - 1)
    assert run(sequential=None).accuracy.n < N
    assert run(sequential=None, more="  evaluation: {sequential: false}\n").accuracy.n == N


def test_asking_for_it_leaves_what_was_accepted_comparable(run):
    accepted(run(sequential=False))
    again = run(sequential=None, more="  evaluation: {sequential: true}\n")
    assert "also changed" not in judge(again, PREDICTIONS).measured


def test_the_record_is_read_back_and_refused_where_it_contradicts_itself(run):
    held = run()
    judge(held, "accuracy_drop_pp")
    record = held.record("test")
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    assert record.impossible() is None
    a = record.accuracy
    wrong = a.model_copy(update={"samples": a.samples.model_copy(update={"used": a.n + 1})})
    assert wrong.impossible() == f"a figure of {a.n} samples, but {a.n + 1} were used"
    late = a.samples.model_copy(update={"decided": {"accuracy_drop_pp": a.n + 1}})
    assert late.impossible() == f"a gate 'accuracy_drop_pp' that was decided after {a.n + 1} of them"
    assert (
        a.samples.model_copy(update={"total": 1}).impossible() == f"{a.n} of 1 samples used, and 0.2 of the error spent"
    )


def test_all_samples_are_evaluated_where_somebody_asks_for_them_after_all(run):
    held = run()
    judge(held, "accuracy_drop_pp")
    assert len(held.evaluation.scores) == N
    assert "all 3,000 test samples were evaluated after all, since a quantity asked for them" in held.notes


def test_gates_that_share_a_session_need_more_to_fail(run):
    assert {"accuracy_drop_pp", PREDICTIONS} <= {each.name for each in judged_of(run().experiment)}


def test_a_part_of_the_samples_is_never_accepted(run):
    with pytest.raises(GoldenError, match=r"numbers/rounded: .* of 3,000 test samples were looked at; .* with --full"):
        accepted(run())
