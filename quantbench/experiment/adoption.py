"""Weights that were trained elsewhere, made a workload's baseline if they are what they seem."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.errors import BaselineError
from quantbench.experiment.accuracy import ACCEPTED_ACCURACY
from quantbench.experiment.soundness import soundness, spare_outputs
from quantbench.experiment.workload import OpenWorkload, make_card
from quantbench.golden import baselines
from quantbench.records.card import BaselineCard
from quantbench.stats.proportions import wilson_interval

if TYPE_CHECKING:
    from quantbench.measure.evaluation import Evaluation

# Accuracies are published with one or two decimals.
ROUNDING = 0.0005
# Of a sha256.
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Adopted:
    """Weights that became a baseline.

    Attributes:
        card: of them.
        notes: lines about what was taken off the file, and what looks odd although it was accepted.
        replaced: line about the baseline that they took the place of, old → new; empty where there was none.
    """

    card: BaselineCard
    notes: list[str] = field(default_factory=list)
    replaced: str = ""


def adopt(opened: OpenWorkload, weights: Path, accept_accuracy: bool = False, expected: float | None = None) -> Adopted:
    """Makes weights the baseline: fits them, measures them, and writes them with a card.

    Args:
        opened: the workload.
        weights: safetensors, or a state dict saved by `torch.save`, wrapped or not.
        accept_accuracy: take weights of an accuracy that no model is needed for.
        expected: accuracy that was published of them, 0..1; must lie within the interval of the measured one.

    Raises:
        CheckpointError: if the file is missing, damaged or would run code.
        BaselineError: if it does not fit the model, its accuracy is not the expected one or as good as none, or the
            baseline cannot be written.
    """
    from quantbench.backends.checkpoint import read_weights
    from quantbench.backends.module import ModulePredictor
    from quantbench.backends.unwrapping import unwrapped
    from quantbench.backends.weights import load_state

    baselines.check_place(baselines.weights_path(opened.golden, opened.baseline_name))
    state = read_weights(weights)
    model = opened.build_model()
    state, notes = unwrapped(state, model.state_dict().keys())
    try:
        _check_real(weights, state)
        load_state(model, state, weights)
        _check_finite(weights, state)
        evaluation = opened.evaluated(ModulePredictor(model))
        _check_expected(opened, weights, evaluation, expected)
        odd = spare_outputs(opened, ModulePredictor(model)) + _check_sound(opened, weights, evaluation, accept_accuracy)
    except BaselineError as error:
        # Perhaps others of the file were meant.
        raise BaselineError("; ".join([str(error), *(f"taken: {note}" for note in notes)])) from None
    notes += odd
    before = _baseline_before(opened)
    training = {"adopted": weights.name, **({"expected_accuracy": expected} if expected is not None else {})}
    if accept_accuracy:
        training[ACCEPTED_ACCURACY] = True
    command = f"quantbench adopt {shlex.quote(str(opened.workload.path))} {shlex.quote(weights.name)}"

    def card_of(sha256: str) -> BaselineCard:
        card = make_card(opened, "fp32_baseline", training, None, evaluation, sha256)
        return card.model_copy(update={"command": command})

    card = baselines.save_pair(opened.weights_path, model.state_dict(), card_of)
    return Adopted(card, notes, "" if before is None else _replaced(before, card))


def _baseline_before(opened: OpenWorkload) -> BaselineCard | BaselineError | None:
    """The card of the baseline that is there, or what is wrong with it; None where there is none."""
    try:
        return baselines.BASELINES.read(opened.golden, opened.baseline_name)
    except BaselineError as error:
        return error


def _replaced(before: BaselineCard | BaselineError, card: BaselineCard) -> str:
    """Accuracy and weights, old → new."""
    if isinstance(before, BaselineError):
        return f"replaced a baseline that could not be read ({before})"
    accuracy = f"{before.shown} → {card.shown.removeprefix('accuracy ')}"
    if before.weights_sha256 == card.weights_sha256:
        return f"replaced the same weights: {accuracy}"
    old, new = before.weights_sha256[:SHOWN_DIGITS], card.weights_sha256[:SHOWN_DIGITS]
    return f"replaced the baseline, old → new: {accuracy}, sha256 {old}… → {new}…"


def _check_real(weights: Path, state: dict[str, Any]) -> None:
    """Refuses complex weights, of which a real model takes the real parts alone."""
    import torch

    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_complex():
            raise BaselineError(f"{weights}: '{key}' is complex, and the model's weights are real; save real ones")


def _check_finite(weights: Path, state: dict[str, Any]) -> None:
    """Refuses weights and statistics that are NaN or infinite, which every sample would meet."""
    import torch

    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            raise BaselineError(f"{weights}: '{key}' holds NaN or infinity; save weights of a training that went well")


def _check_expected(opened: OpenWorkload, weights: Path, evaluation: Evaluation, expected: float | None) -> None:
    """Refuses an accuracy whose interval does not hold the published one."""
    if expected is None:
        return
    if not opened.task.is_binary:
        raise BaselineError(
            f"{weights}: an accuracy is expected, but the scores of task '{opened.workload.config.task.name}' are not "
            "0 and 1; leave --expect-accuracy out"
        )
    n = len(evaluation.correct)
    interval = wilson_interval(int(evaluation.correct.sum()), n)
    if not interval.low - ROUNDING <= expected <= interval.high + ROUNDING:
        raise BaselineError(
            f"{weights}: accuracy {100 * evaluation.accuracy:.2f} % [{100 * interval.low:.2f}, "
            f"{100 * interval.high:.2f}] (n={n:,}), but {100 * expected:g} % is expected; compare preprocessing (size, "
            "mean, std), the order of classes (data.classes) and the test split with those of whoever published it"
        )


def _check_sound(opened: OpenWorkload, weights: Path, evaluation: Evaluation, accept_accuracy: bool) -> list[str]:
    """Refuses an accuracy that takes no model; lines about what looks odd otherwise."""
    found = soundness(opened, evaluation)
    if found.doubt and not accept_accuracy:
        raise BaselineError(f"{weights}: {found.doubt}; or take it as it is with --accept-accuracy")
    return found.lines
