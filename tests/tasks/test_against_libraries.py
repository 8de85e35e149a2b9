"""Each task's figure is the one of scikit-learn, of rapidfuzz or of the formula, on random and odd samples."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn import metrics

from quantbench.registry import TASKS

RANDOM = np.random.default_rng(0)
N, CLASSES = 240, 4
LABELS = RANDOM.integers(0, CLASSES, N)
LOGITS = RANDOM.normal(size=(N, CLASSES)) + np.eye(CLASSES)[LABELS]
ANSWERS, SHARES = LOGITS.argmax(axis=1), softmax(LOGITS, axis=1)
KINDS = RANDOM.integers(0, 2, N)
# With ties.
SIMILARITY = np.round(RANDOM.normal(size=N) + KINDS, 1)
NUMBERS = RANDOM.normal(3, 2, (N, 2))
GUESSES = NUMBERS + RANDOM.normal(0, 0.4, (N, 2))
MAPS = RANDOM.integers(0, 3, (20, 5, 6))
MAPS[RANDOM.random(MAPS.shape) < 0.1] = 255
MAP_LOGITS = RANDOM.normal(size=(20, 3, 5, 6))
TOKENS = np.where(RANDOM.random((30, 7)) < 0.2, -100, RANDOM.integers(0, 9, (30, 7)))
TOKEN_LOGITS = RANDOM.normal(size=(30, 7, 9))
REPEATS = RANDOM.integers(0, 3, N)


def roc():
    return metrics.roc_curve(KINDS, SIMILARITY, drop_intermediate=False)[:2]


def equal_error_rate():
    false, true = roc()
    return brentq(lambda x: 1 - x - np.interp(x, false, true), 0, 1)


def least_cost():
    false, true = roc()
    return (0.01 * (1 - true) + 0.99 * false).min() / 0.01


def token_nll():
    logs = np.log(softmax(TOKEN_LOGITS, axis=-1)).reshape(-1, 9)
    flat = TOKENS.reshape(-1)
    counted = np.flatnonzero(flat != -100)
    return -logs[counted, flat[counted]].mean()


COUNTED = MAPS != 255
# Task, its parameters, outputs, targets → the figure by others.
FIGURES = {
    "top1": ({}, LOGITS, LABELS, metrics.accuracy_score(LABELS, ANSWERS)),
    "top_k": ({"k": 2}, LOGITS, LABELS, metrics.top_k_accuracy_score(LABELS, LOGITS, k=2)),
    "macro_f1": ({}, LOGITS, LABELS, metrics.f1_score(LABELS, ANSWERS, average="macro")),
    "balanced_accuracy": ({}, LOGITS, LABELS, metrics.balanced_accuracy_score(LABELS, ANSWERS)),
    "auc": ({}, LOGITS, LABELS, metrics.roc_auc_score(LABELS, SHARES, multi_class="ovr")),
    "auc of two": ({}, SIMILARITY, KINDS, metrics.roc_auc_score(KINDS, SIMILARITY)),
    "mae": ({}, GUESSES, NUMBERS, metrics.mean_absolute_error(NUMBERS, GUESSES)),
    "rmse": ({}, GUESSES, NUMBERS, metrics.root_mean_squared_error(NUMBERS.ravel(), GUESSES.ravel())),
    "r2": ({}, GUESSES, NUMBERS, metrics.r2_score(NUMBERS, GUESSES)),
    "mean_iou": (
        {}, MAP_LOGITS, MAPS,
        metrics.jaccard_score(MAPS[COUNTED], MAP_LOGITS.argmax(axis=1)[COUNTED], average="macro"),
    ),
    "nll": ({}, LOGITS, LABELS, metrics.log_loss(LABELS, SHARES)),
    "nll of tokens": ({}, TOKEN_LOGITS, TOKENS, token_nll()),
    "perplexity": ({}, TOKEN_LOGITS, TOKENS, np.exp(token_nll())),
    "eer": ({}, SIMILARITY, KINDS, equal_error_rate()),
    "min_dcf": ({}, SIMILARITY, KINDS, least_cost()),
}  # fmt: skip


def statistics_of(case, rows=slice(None)):
    params, outputs, targets, _ = FIGURES[case]
    task = TASKS.create(case.partition(" ")[0], "here", params)
    batch = {"output": outputs[rows]}
    task.check(batch, len(targets[rows]), targets)
    return task, task.statistics(batch, targets[rows])


@pytest.mark.parametrize("case", FIGURES)
def test_the_figure_is_the_one_of_the_library(case):
    task, statistics = statistics_of(case)
    assert task.figure(statistics) == pytest.approx(FIGURES[case][3], rel=1e-9)
    assert statistics.dtype == np.float64


@pytest.mark.parametrize("case", FIGURES)
def test_a_weight_counts_as_repeats_of_the_sample(case):
    task, statistics = statistics_of(case)
    weights = REPEATS[: len(statistics)]
    repeated = statistics[np.repeat(np.arange(len(statistics)), weights)]
    assert task.figure(statistics, weights.astype(float)) == pytest.approx(task.figure(repeated), rel=1e-9)
    many = task.figures(statistics, np.stack([weights, np.ones_like(weights)]).astype(float))
    assert many == pytest.approx([task.figure(repeated), task.figure(statistics)], rel=1e-9)


@pytest.mark.parametrize("case", FIGURES)
def test_statistics_of_batches_are_those_of_the_whole(case):
    _, whole = statistics_of(case)
    parts = [statistics_of(case, rows)[1] for rows in (slice(None, 7), slice(7, None))]
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("case", FIGURES)
def test_the_figure_that_takes_no_model_is_the_one_of_the_same_answer_for_all(case):
    params, outputs, targets, _ = FIGURES[case]
    task = TASKS.create(case.partition(" ")[0], "here", params)
    chance = task.chance(targets)
    if case == "top1":
        assert chance is None, "looked at class by class instead"
        return
    best = figure_of_one_answer(task, case, outputs, targets)
    assert best == pytest.approx(chance, rel=1e-6)


def figure_of_one_answer(task, case, outputs, targets):
    """The best figure of outputs that are the same for every sample."""
    if case in ("mae", "rmse", "r2"):
        answers = [np.median(targets, axis=0), targets.mean(axis=0)]
    elif case.partition(" ")[0] in ("nll", "perplexity"):
        counts = np.bincount(targets[targets != -100], minlength=outputs.shape[-1])
        answers = [np.broadcast_to(np.log(np.maximum(counts, 1e-12) / counts.sum()), outputs.shape[1:])]
    elif case == "mean_iou":
        answers = [np.broadcast_to(row[:, None, None], outputs.shape[1:]) for row in np.eye(outputs.shape[1])]
    elif case == "top_k":
        answers = [np.bincount(targets).astype(float)]
    elif outputs.ndim == 1:
        answers = [0.5]
    else:
        answers = list(np.eye(outputs.shape[1]))
    figures = []
    for answer in answers:
        same = {"output": np.broadcast_to(answer, outputs.shape)}
        figures.append(task.figure(task.statistics(same, targets)))
    return max(figures) if task.higher_is_better else min(figures)


def test_classes_without_samples_or_answers_are_no_classes():
    labels, logits = np.array([0, 0, 2, 2]), np.eye(4)[[0, 2, 2, 2]]
    for name, figure in (("macro_f1", (2 / 3 + 4 / 5) / 2), ("balanced_accuracy", 0.75)):
        task = TASKS.create(name, "here", {})
        assert task.figure(task.statistics({"output": logits}, labels)) == pytest.approx(figure)


def test_of_equal_logits_the_first_are_the_answers():
    task = TASKS.create("top_k", "here", {"k": 2})
    assert task.scores({"output": np.zeros((4, 4))}, np.arange(4)).tolist() == [1, 1, 0, 0]


def test_targets_that_are_all_the_same_have_no_r2_and_samples_of_one_kind_no_area():
    task = TASKS.create("r2", "here", {})
    assert np.isnan(task.figure(task.statistics({"output": np.arange(5.0)}, np.full(5, 1e3))))
    task = TASKS.create("auc", "here", {})
    assert np.isnan(task.figure(np.array([[1.0, 0.2], [1.0, 0.3]])))


def test_perfect_and_reversed_verification_have_the_extreme_rates():
    for scores, rate in (([0.1, 0.2, 0.8, 0.9], 0.0), ([0.9, 0.8, 0.2, 0.1], 1.0)):
        task = TASKS.create("eer", "here", {})
        statistics = task.statistics({"output": np.array(scores)}, np.array([0, 0, 1, 1]))
        assert task.figure(statistics) == pytest.approx(rate)


def test_word_and_character_error_rates_are_edits_over_what_was_said():
    pytest.importorskip("rapidfuzz")
    targets, outputs = RANDOM.integers(0, 4, (40, 9)), RANDOM.integers(0, 4, (40, 9))
    from own_metrics import letters

    for name, units in (("wer", str.split), ("cer", list)):
        task = TASKS.create(name, "here", {"decode": "own_metrics:letters", "decode_targets": "own_metrics:letters"})
        task.check({"output": outputs}, 40, targets)
        statistics = task.statistics({"output": outputs}, targets)
        pairs = [(units(said), units(answer)) for said, answer in zip(letters(targets), letters(outputs), strict=True)]
        assert statistics[:, 0].tolist() == [edits(*pair) for pair in pairs]
        assert task.figure(statistics) == pytest.approx(
            sum(edits(*pair) for pair in pairs) / sum(len(said) for said, _ in pairs)
        )
        texts = np.array(letters(targets))
        assert task.statistics({"output": outputs}, texts).tolist() == statistics.tolist(), "targets that are texts"


def edits(said, answer):
    """Levenshtein's distance by his recurrence."""
    row = list(range(len(answer) + 1))
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(answer, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]
