"""Weights that were trained elsewhere, made a workload's baseline if they are what they seem."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import BaselineError
from quantbench.experiment.workload import OpenWorkload, make_card
from quantbench.golden import baselines
from quantbench.records.card import BaselineCard
from quantbench.stats.answers import MixUp, mix_up, uninformative_accuracy
from quantbench.stats.discordant import p_value_of_change
from quantbench.stats.paired import PairedOutcomes
from quantbench.stats.proportions import wilson_interval

if TYPE_CHECKING:
    from quantbench.measure.evaluation import Evaluation

# Accuracies are published with one or two decimals.
ROUNDING = 0.0005
# Of the exact test by which outputs seem to be mixed up although the accuracy is no accident.
SUSPICION_LEVEL = 1e-4
# Of a sha256.
SHOWN_DIGITS = 12
# Classes that are listed; the rest is counted.
SHOWN_CLASSES = 20


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
        BaselineError: if it does not fit the model, or its accuracy is not the expected one or as good as none.
    """
    from quantbench.backends.checkpoint import read_checkpoint, read_safetensors
    from quantbench.backends.module import ModulePredictor
    from quantbench.backends.unwrapping import unwrapped
    from quantbench.backends.weights import load_state

    state: dict[str, Any] = read_safetensors(weights) if weights.suffix == ".safetensors" else read_checkpoint(weights)
    model = opened.build_model()
    state, notes = unwrapped(state, model.state_dict().keys())
    load_state(model, state, weights)
    _check_finite(weights, state)
    evaluation = opened.evaluated(ModulePredictor(model))
    _check_expected(weights, evaluation, expected)
    notes += _check_sound(opened, weights, evaluation, accept_accuracy)
    before = _baseline_before(opened)
    sha256 = baselines.save_weights(opened.weights_path, model.state_dict())
    training = {"adopted": weights.name, **({"expected_accuracy": expected} if expected is not None else {})}
    card = make_card(opened, "fp32_baseline", training, None, evaluation, sha256)
    command = f"quantbench adopt {shlex.quote(str(opened.workload.path))} {shlex.quote(weights.name)}"
    card = card.model_copy(update={"command": command})
    baselines.save_card(opened.weights_path, card)
    return Adopted(card, notes, "" if before is None else _replaced(before, card))


def _baseline_before(opened: OpenWorkload) -> BaselineCard | BaselineError | None:
    """The card of the baseline that is there, or what is wrong with it; None where there is none."""
    try:
        return baselines.BASELINES.read(opened.golden, opened.workload.config.baseline)
    except BaselineError as error:
        return error


def _replaced(before: BaselineCard | BaselineError, card: BaselineCard) -> str:
    """Accuracy and weights, old → new."""
    if isinstance(before, BaselineError):
        return f"replaced a baseline that could not be read ({before})"
    accuracy = f"accuracy {100 * before.accuracy:.2f} % → {100 * card.accuracy:.2f} %"
    if before.weights_sha256 == card.weights_sha256:
        return f"replaced the same weights: {accuracy}"
    old, new = before.weights_sha256[:SHOWN_DIGITS], card.weights_sha256[:SHOWN_DIGITS]
    return f"replaced the baseline, old → new: {accuracy}, sha256 {old}… → {new}…"


def _check_finite(weights: Path, state: dict[str, Any]) -> None:
    """Refuses weights and statistics that are NaN or infinite, which every sample would meet."""
    import torch

    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            raise BaselineError(f"{weights}: '{key}' holds NaN or infinity; save weights of a training that went well")


def _check_expected(weights: Path, evaluation: Evaluation, expected: float | None) -> None:
    """Refuses an accuracy whose interval does not hold the published one."""
    if expected is None:
        return
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
    answers, labels, classes = evaluation.answers, np.array(opened.splits.test.labels), opened.splits.classes
    if answers is None:
        return []
    notes = _spare_outputs(opened, len(classes))
    blank = uninformative_accuracy(labels, len(classes))
    n, right = len(labels), int(evaluation.correct.sum())
    interval = wilson_interval(right, n)
    found = mix_up(answers, labels, blank)
    if interval.low > blank:
        return notes + ([f"warning: {_named(found, classes)}"] if found and _is_surely(found, answers, labels) else [])
    problem = (
        f"{weights}: accuracy {100 * right / n:.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}] (n={n:,}) "
        f"is not surely more than the {100 * blank:.2f} % of giving every sample one class"
    )
    cause = _named(found, classes) if found else "compare model, preprocessing (size, mean, std) and order of classes"
    if not accept_accuracy:
        raise BaselineError(f"{problem}: {cause}; or take it as it is with --accept-accuracy")
    return [*notes, f"warning: {problem}: {cause}"]


def _spare_outputs(opened: OpenWorkload, n_classes: int) -> list[str]:
    """Line about outputs that no label can ever reach."""
    from quantbench.backends.module import ModulePredictor
    from quantbench.measure.evaluation import inputs_of

    (output,) = ModulePredictor(opened.build_model())(next(inputs_of(opened.splits.test, 1))).values()
    n_outputs = int(output.shape[1])
    if n_outputs <= n_classes:
        return []
    return [
        f"warning: the model has {n_outputs:,} outputs, but the data {n_classes:,} classes: an answer beyond them is "
        "never right; name the class of each output in data.classes, or size the head for the data (n_classes)"
    ]


def _is_surely(found: MixUp, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> bool:
    """True if the answers, read through the mix-up, are surely right more often than as they are."""
    read = np.array([found.class_of.get(int(answer), -1) for answer in answers])
    outcomes = PairedOutcomes.from_correct(answers == labels, read == labels)
    return outcomes.gained > outcomes.lost and p_value_of_change(outcomes) < SUSPICION_LEVEL


def _named(found: MixUp, classes: Sequence[str]) -> str:
    """The first output of a mix-up, what it comes from, and the order of classes that mends it."""
    wrong = [(output, label) for output, label in sorted(found.class_of.items()) if output != label]
    output, label = wrong[0]
    name = classes[label] if label < len(classes) else f"class {label}"
    sorted_as_text = list(classes) != sorted(classes, key=_numerically) and all(each.isdecimal() for each in classes)
    why = f": folders sort {', '.join(classes[:3])}" if sorted_as_text else ""
    order = [found.class_of.get(i, -1) for i in range(len(classes))]
    if sorted(order) == list(range(len(classes))) and len(classes) <= SHOWN_CLASSES:
        mend = f"set data.classes: [{', '.join(classes[i] for i in order)}]"
    else:
        mend = "set data.classes to the names in the order of the model's outputs"
    return (
        f"output {output} answers '{name}'{why}; with {len(wrong)} outputs read so, {100 * found.accuracy:.2f} % are "
        f"right of {found.n:,} samples (the order was found on the others); {mend}"
    )


def _numerically(name: str) -> int:
    return int(name) if name.isdecimal() else 0
