"""Scores that cannot be trusted are refused in one line: NaN, other lengths, out of range, dependent on the batch."""

import numpy as np
import pytest

from quantbench.data.cache import CachedSide
from quantbench.data.source import IDENTITY
from quantbench.data.splits import Split
from quantbench.errors import ConfigError, EvaluationError, ForeignError
from quantbench.measure.evaluation import evaluate
from quantbench.registry import TASKS

RANDOM = np.random.default_rng(0)
N = 20
INPUTS = RANDOM.normal(size=(N, 2)).astype(np.float32)
TARGETS = INPUTS + RANDOM.normal(0, 0.1, (N, 2)).astype(np.float32)


def task(name="function", **params):
    return TASKS.create(name, "a.yaml: workload.task", params)


def own(name, **params):
    return task(function=f"own_metrics:{name}", **params)


def evaluated(task, outputs=INPUTS, targets=TARGETS, batch_size=8):
    n = len(targets)
    rows = np.arange(n, dtype=np.float32)[:, None]
    side = CachedSide(rows, targets, digests=RANDOM.integers(0, 255, (n, 16), np.uint8))
    split = Split("test", side, None, IDENTITY)
    return evaluate(lambda inputs: {"output": outputs[inputs["input"][:, 0].astype(int)]}, split, task, batch_size)


def refused(task, **given):
    with pytest.raises(EvaluationError) as error:
        evaluated(task, **given)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_scores_and_figures_of_ones_own_functions_are_kept_batch_by_batch():
    absolute = np.abs(INPUTS - TARGETS)
    found = evaluated(own("absolute", higher_is_better=False, range=[0, None], unit="K"))
    assert found.scores == pytest.approx(absolute.mean(axis=1), rel=1e-5)
    largest = own("worst", kind="aggregate")
    assert largest.figure(evaluated(largest).statistics) == pytest.approx(absolute.max())
    of_statistics = own("root", kind="aggregate", statistics="own_metrics:squares")
    kept = evaluated(of_statistics).statistics
    assert (kept.shape, of_statistics.figure(kept)) == ((N, 1), pytest.approx(np.sqrt((absolute**2).mean())))
    weights = RANDOM.integers(0, 3, N).astype(float)
    assert of_statistics.figure(kept, weights) == pytest.approx(np.sqrt(weights @ kept[:, 0] / weights.sum()))


def test_a_function_that_writes_into_its_arrays_changes_neither_scores_nor_targets():
    given, expected = TARGETS.copy(), np.abs(INPUTS - TARGETS).mean(axis=1)
    for _ in range(2):
        assert evaluated(own("in_place"), INPUTS.copy(), given).scores == pytest.approx(2 * expected, rel=1e-4)
    aggregate = own("root_in_place", kind="aggregate", statistics="own_metrics:squares_in_place")
    for _ in range(2):
        kept = evaluated(aggregate, INPUTS.copy(), given).statistics
        assert aggregate.figure(kept) == pytest.approx(2 * np.sqrt(((INPUTS - TARGETS) ** 2).mean()), rel=1e-4)
        assert aggregate.figure(kept) == pytest.approx(2 * np.sqrt(kept.mean()))
    assert given.tobytes() == TARGETS.tobytes()


@pytest.mark.parametrize(
    ("name", "params", "line"),
    [
        ("nan", {}, "task function 'own_metrics:nan': scores gave NaN or infinity for sample 3; give each sample a"),
        ("masked", {}, "task function 'own_metrics:masked': scores gave a masked array, which hides samples; give"),
        (
            "root", {"kind": "aggregate", "statistics": "own_metrics:masked"},
            "statistics gave a masked array",
        ),
        ("one_more", {}, "task function 'own_metrics:one_more': scores gave float64 [9] for 8 samples; return [8]"),
        (
            "of_the_batch", {},
            "task function 'own_metrics:of_the_batch': scores sample 0 with ",
        ),
        (
            "absolute", {"range": [0, 0.001]},
            "which is not within its range, 0 to 0.001; declare the range that scores really have",
        ),
        ("no_figure", {"kind": "aggregate"}, "figure gave nan for 20 samples; look at the targets: score may be"),
        (
            "worst", {"kind": "aggregate", "range": [None, 0.01]},
            "which is not within its range, no limit to 0.01; declare the range that it has",
        ),
    ],
)  # fmt: skip
def test_what_a_function_gives_wrong_is_one_line(name, params, line):
    assert line in refused(own(name, **params))


def test_scores_that_depend_on_the_batch_are_told_with_both_values():
    assert refused(own("of_the_batch")).endswith("in half of it; score each sample by itself")


def test_a_figure_of_one_sample_is_none():
    assert refused(task("rmse"), outputs=INPUTS[:1], targets=TARGETS[:1]) == (
        "root mean square error is no figure of 1 sample; measure on more"
    )


def test_a_function_that_raises_is_one_line_with_its_cause():
    with pytest.raises(ForeignError, match="task function 'own_metrics:raising' raised KeyError: 'logits'"):
        evaluated(own("raising"))


def test_more_than_a_few_numbers_of_a_sample_ask_for_a_function_of_them():
    wide = np.zeros((N, 200), np.float32)
    line = refused(own("worst", kind="aggregate"), outputs=wide, targets=wide)
    assert "a sample has 400 numbers, of which at most 256 are kept; name a function that tells less of each" in line


LOGITS, LABELS = RANDOM.normal(size=(N, 4)), RANDOM.integers(0, 3, N)
TOKENS = RANDOM.normal(size=(N, 3, 4))


@pytest.mark.parametrize(
    ("given", "outputs", "targets", "line"),
    [
        (task("mae"), LOGITS, LABELS, "the model gave [8, 4] for 8 samples, but the targets are [20]; task mae takes"),
        (task("rmse"), LOGITS, LABELS.astype("U2"), "the targets are <U2; task rmse takes real numbers [n, …]"),
        (task("macro_f1"), LOGITS, LABELS / 2, "the targets are float64 [20]; task macro_f1 takes integers from 0 [n]"),
        (task("top_k"), LOGITS, LABELS, "any answer is among the 5 largest of 4 logits; lower workload.task.k"),
        (task("auc"), LOGITS[:, 0], LABELS, "takes 0 and 1 [n], one for each sample"),
        (task("eer"), LOGITS, LABELS % 2, "the model gave [8, 4] for 8 samples; expected a score [n] or [n, 1]"),
        (task("eer"), LOGITS[:, 0], LABELS * 0, "every target is 0; task eer takes samples of both kinds"),
        (task("nll"), TOKENS, LABELS, "the model gave [8, 3, 4] for 8 samples; expected [8, vocabulary]"),
        (task("nll"), LOGITS, LABELS + 3, "a target is 5, but the model gave 4 logits; give tokens from 0, and -100"),
        (task("nll"), LOGITS, LABELS * 0 - 100, "every target is masked (-100); there is nothing to score"),
        (task("perplexity"), LOGITS, LABELS / 2, "the targets are float64 [20]; task perplexity takes integers"),
        (task("mean_iou"), TOKENS, LABELS, "takes integers [n, …], the class of each pixel"),
        (task("mean_iou"), LOGITS, np.zeros((N, 4), int), "the model gave [8, 4] for labels [8, 4]; expected logits"),
        (
            task("mean_iou", axis=2), TOKENS, np.full((N, 3), 9),
            "a label is 9, but the model gave 4 classes; name the one that does not count with workload.task.ignored",
        ),
        (task("mean_iou", axis=2), TOKENS, np.full((N, 3), 255), "every pixel is 255, which is ignored"),
        (task("r2"), np.zeros((N, 99)), np.zeros((N, 99)), "a sample has 99 numbers, of which each would have an R²"),
        (task("r2"), LOGITS, LOGITS * 0, "figure gave nan for 20 samples; look at the targets: R² may be undefined"),
    ],
)  # fmt: skip
def test_targets_and_outputs_that_do_not_fit_are_one_line(given, outputs, targets, line):
    assert line in refused(given, outputs=outputs, targets=targets)


def test_transcripts_need_the_functions_that_make_texts():
    pytest.importorskip("rapidfuzz")
    letters, decode = RANDOM.integers(0, 4, (N, 5)), "own_metrics:letters"
    given = {"outputs": letters.astype(np.float32), "targets": letters}
    assert "wer: outputs are no texts; name the function that makes them texts: workload.task.decode:" in refused(
        task("wer"), **given
    )
    assert "targets (int64) are no texts; name the function that" in refused(task("cer", decode=decode), **given)
    wrong = task("wer", decode="own_metrics:too_few_letters", decode_targets=decode)
    assert "'own_metrics:too_few_letters' gave 7 of str for 8 samples; return a text of each" in refused(wrong, **given)


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"kind": "sum"}, "a.yaml: workload.task.kind: Input should be 'scores' or 'aggregate'"),
        ({"statistics": "own_metrics:squares"}, "statistics are of kind aggregate; set kind, or leave statistics out"),
        (
            {"kind": "aggregate", "is_binary": True},
            "is_binary is of kind scores; a figure that is no mean has no scores",
        ),
        ({"rnage": [0, 1]}, "unknown parameter of task 'function': 'rnage'. Did you mean 'range'?"),
    ],
)
def test_parameters_that_do_not_fit_together_are_one_line(params, line):
    with pytest.raises(ConfigError) as error:
        own("absolute", **params)
    assert line in str(error.value)
