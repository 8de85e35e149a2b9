"""Gates on the figures of tasks: a model that is rounded holds them, one that is broken fails them."""

import numpy as np
import pytest
from accepting import result_path
from coco_detections import detections
from scored_models import FEATURES, linear, workload

from quantbench.config.reading import load_experiments
from quantbench.errors import ConfigError, GoldenError
from quantbench.experiment.accuracy import check_informative
from quantbench.experiment.result import RunEvidence
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.acceptance import accept
from quantbench.golden.results import RESULTS, SCORES
from quantbench.quantities.judging import judge, judged_of
from quantbench.registry import FLOORS, QUANTITIES, TASKS

RANDOM = np.random.default_rng(0)
N, CLASSES, PLACES = 400, 6, 3
X = RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
TOKENS = RANDOM.normal(size=(N, PLACES, FEATURES)).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, CLASSES)) / 8).astype(np.float32)
NOISE = RANDOM.normal(size=(N, CLASSES))
LABELS = (X @ WEIGHT + NOISE).argmax(axis=1)
MASKED = np.where(RANDOM.random((N, PLACES)) < 0.2, -100, (TOKENS @ WEIGHT).argmax(axis=2))
# Task → inputs, targets, and bound of the loss.
CASES = {
    "mae": (X, X @ WEIGHT + 0.3 * NOISE, 0.02),
    "rmse": (X, X @ WEIGHT + 0.3 * NOISE, 0.02),
    "nll": (TOKENS, MASKED, 0.05),
    "macro_f1": (X, LABELS, 0.05),
}


AT_HALF = "{name: average_precision, overlaps: [0.5]}"


def kept(weight):
    return weight


def broken(weight):
    """Two outputs in the place of each other."""
    return weight[:, [1, 0, *range(2, CLASSES)]]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of the experiment, anew; the candidate's weights are those of the reference, changed."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))

    def make(task, gates="{score_drop: 0.99}", change=kept, case=None, more=""):
        inputs, targets, _ = CASES[case or task.partition(",")[0].removeprefix("{name: ")]
        places = inputs.shape[1] if inputs.ndim == 3 else None
        path = workload(tmp_path, task, inputs, targets, gates, more)
        linear(path.parent / "fp32.onnx", WEIGHT, places)
        linear(path.parent / "int8.onnx", change(WEIGHT), places, int8=True)
        (experiment,) = load_experiments(path.parent)
        return Runs(Settings(tmp_path / "golden")).run(experiment)

    return make


def accepted(run):
    return "\n".join(accept(RESULTS, RunEvidence(run), [SCORES], "it is so").lines)


@pytest.mark.parametrize("task", CASES)
def test_a_rounded_model_loses_less_than_its_bound_and_a_broken_one_more(run, task):
    bound = CASES[task][2]
    held = judge(run(task, f"{{score_drop: {bound}}}"), "score_drop")
    assert (held.outcome.value, held.bound) == ("PASS", bound), held.measured
    fault = judge(run(task, f"{{score_drop: {bound}}}", broken), "score_drop")
    assert (fault.outcome.value, fault.estimate > bound) == ("FAIL", True), fault.measured
    assert fault.interval.low > bound


def test_a_loss_is_told_with_its_interval_its_figures_and_the_least_that_would_be_detected(run):
    run = run("mae", "{score_drop: 0.02}")
    verdict, s = judge(run, "score_drop"), run.score
    low, high = s.interval
    assert verdict.measured == (
        f"{s.drop:.3g} lost [{low:.3g}, {high:.3g}] (mean absolute error {s.reference:.4g} → {s.candidate:.4g}, n=400: "
        f"400 changed, studentized bootstrap); a loss of {s.detectable:.2g} would be detected (power 80 %)"
    )
    assert verdict.requirement == "at most 0.02 lost (mean absolute error)"
    assert s.reference == pytest.approx(0.3 * np.abs(NOISE).mean(), rel=1e-4)


def test_scores_are_accepted_and_a_broken_model_regresses_against_them(run, tmp_path):
    first = run("mae")
    accepted(first)
    again = judge(run("mae"), SCORES)
    assert (again.outcome.value, again.change.value, again.estimate) == ("PASS", "SAME", 0.0)
    worse = judge(run("mae", change=broken), SCORES)
    assert (worse.outcome.value, worse.change.value) == ("FAIL", "REGRESSED"), worse.measured
    assert worse.requirement.endswith("worse than accepted (mean absolute error)")
    assert "; also changed: weights" in worse.measured
    lines = accepted(run("mae", change=broken))
    assert "scores: 371 of 400 changed" in lines  # the others lie beyond both targets
    assert result_path(tmp_path / "golden", "numbers/rounded").stat().st_size < 8_000


def test_a_margin_may_be_given_in_the_unit_of_the_task(run):
    accepted(run("macro_f1"))
    wide = judge(run("macro_f1", change=broken, more="  regression: {score: 0.9}\n"), SCORES)
    assert (wide.outcome.value, wide.bound) == ("PASS", 0.9)


def test_scores_accepted_of_another_task_are_no_measure(run):
    accepted(run("mae"))
    verdict = judge(run("rmse"), SCORES)
    assert (verdict.outcome.value, verdict.measured) == (
        "FAIL", "the accepted result holds scores of task 'mae', this run's are of task 'rmse'; accept again"
    )  # fmt: skip


def test_claims_are_made_of_the_kind_of_score_that_the_task_has(run):
    scored = {each.name for each in judged_of(run("mae").experiment)}
    binary = {
        each.name for each in judged_of(run("{name: top_k, k: 2}", "{accuracy_drop_pp: 5}", case="macro_f1").experiment)
    }
    assert ({"score_drop", "score_vs_accepted"} <= scored, "accuracy_vs_accepted" in scored) == (True, False)
    assert ({"accuracy_drop_pp", "accuracy_vs_accepted"} <= binary, "score_vs_accepted" in binary) == (True, False)


def test_top_k_is_judged_and_accepted_as_an_accuracy(run):
    task, gates = "{name: top_k, k: 2}", "{accuracy_drop_pp: 5}"
    assert judge(run(task, gates, case="macro_f1"), "accuracy_drop_pp").outcome.value == "PASS"
    assert judge(run(task, gates, lambda weight: -weight, case="macro_f1"), "accuracy_drop_pp").outcome.value == "FAIL"


def test_a_candidate_no_better_than_one_answer_is_not_accepted(run):
    with pytest.raises(GoldenError, match=r"mean absolute error .* is not surely better than the .* of giving every"):
        check_informative(run("mae", change=lambda weight: -weight))


@pytest.mark.parametrize(
    ("task", "gates", "line"),
    [
        ("mae", "{accuracy_drop_pp: 1}", "task 'mae' are not 0 and 1; gate score_drop, in mean absolute error"),
        ("top1", "{score_drop: 1}", "task 'top1' are 0 and 1; gate accuracy_drop_pp, in percentage points"),
        ("{name: top_k, k: 0}", "{accuracy_drop_pp: 1}", "workload.task.k: Input should be greater than or equal to 1"),
        ("top1", "{accuracy: 0.9}", "gates.accuracy: is in per cent, and 0.9 % would hold nothing; write 90"),
        ("macro_f1", "{macro_f1: 85}", "macro F1 goes from 0 to 1, so that a bound of 85 would tell nothing; write it"),
        ("eer", "{eer: 5}", "equal error rate goes from 0 to 1, so that a bound of 5 would tell nothing"),
        (
            "macro_f1",
            "{score_drop: 1.0}",
            "macro F1 goes from 0 to 1, so that no model loses more than 1; write what it",
        ),
        ("mae", "{score_drop: .inf}", "score_drop: Input should be a finite number"),
    ],
)
def test_a_gate_of_another_task_is_one_line(run, task, gates, line):
    with pytest.raises(ConfigError, match=line):
        run(task, gates, case="macro_f1")


@pytest.mark.parametrize(
    ("task", "gates", "outcome", "words"),
    [
        ("mae", "mae: 0.26", "PASS", "0.2404 [0.233, 0.248] (mean absolute error, n=400)"),
        ("mae", "mae: 0.2", "FAIL", "at most 0.2 mean absolute error"),
        ("macro_f1", "macro_f1: 0.1", "PASS", "at least 0.1 macro F1"),
        ("macro_f1", "macro_f1: 0.9", "FAIL", "macro F1, n=400)"),
        ("top1", "accuracy: 20", "PASS", "at least 20 %"),
        ("top1", "accuracy: 95.0", "FAIL", "(n=400)"),
        ("{name: top_k, k: 2}", "top_k: 99.0", "FAIL", "at least 99 %"),
    ],
)
def test_the_figure_itself_is_a_gate_under_the_tasks_own_name(run, task, gates, outcome, words):
    gate = gates.partition(":")[0]
    verdict = judge(run(task, f"{{{gates}}}", case="mae" if task == "mae" else "macro_f1"), gate)
    assert verdict.outcome.value == outcome, verdict.measured
    assert words in f"{verdict.measured} {verdict.requirement}"


def test_each_task_of_the_table_has_one_gate_on_its_figure():
    from quantbench.config.schema import gate_bounds

    assert {FLOORS[name] for name in TASKS.table} <= set(gate_bounds())
    looser = {gate: QUANTITIES.get(gate, "here").smaller_is_looser for gate in FLOORS.values()}
    assert (looser["accuracy"], looser["rmse"], looser["auc"], looser["wer"]) == (True, False, True, False)
    assert FLOORS["mean_iou"] == "mean_iou"


def test_a_detector_whose_boxes_move_fails_and_one_that_is_rounded_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    outputs, targets = detections(1, n=80)
    weight = RANDOM.normal(size=(FEATURES, 6)).astype(np.float32)
    inputs = (outputs @ np.linalg.pinv(weight)).astype(np.float32)
    path = workload(tmp_path, AT_HALF, inputs, targets, "{score_drop: 0.3, average_precision: 0.05}")
    linear(path.parent / "fp32.onnx", weight, inputs.shape[1])
    for candidate, outcomes in ((weight, {"PASS"}), (weight[:, [2, 3, 0, 1, 4, 5]], {"FAIL"})):
        linear(path.parent / "int8.onnx", candidate, inputs.shape[1], int8=True)
        (experiment,) = load_experiments(path.parent)
        run = Runs(Settings(tmp_path / "golden")).run(experiment)
        verdicts = {name: judge(run, name) for name in ("score_drop", "average_precision")}
        assert {each.outcome.value for each in verdicts.values()} == outcomes, verdicts
        assert run.score.impossible() is None


@pytest.mark.parametrize("task", [name for name in TASKS.table if name != "function"])
def test_a_gate_on_classes_or_layers_is_taken_where_there_are_some_and_else_names_the_one_to_set(run, task):
    made = TASKS.create(task, "here", {})
    instead = "accuracy_drop_pp, in percentage points" if made.is_binary else f"score_drop, in {made.unit}"
    refused = {
        "worst_class_drop_pp": None
        if made.has_answers
        else f"task '{task}' gives samples no class, of which a recall could drop; gate {instead}",
        "layer_drop_pp": None if made.is_binary else f"the scores of task '{task}' are not 0 and 1; gate {instead}",
    }
    for gate, line in refused.items():
        if line is None:
            assert gate in run(task, f"{{{gate}: 5}}", case="macro_f1").experiment.config.gates.bounds
            continue
        with pytest.raises(ConfigError) as error:
            run(task, f"{{{gate}: 5}}", case="macro_f1")
        assert str(error.value).endswith(f"experiments.rounded.gates.{gate}: {line}")
