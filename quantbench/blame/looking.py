"""Layers compared on a few samples: their errors, and how much of the error of the outputs goes with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantbench.arrays import Inputs
from quantbench.backends.insides import Array, InnerLayer, Insides
from quantbench.blame.budget import Budget
from quantbench.blame.errors import Errors
from quantbench.blame.samples import Samples, count
from quantbench.tasks.interface import Task

# Layers that are put back one by one to see what the outputs' error becomes.
MOST_LAYERS = 32
# Parts of the time after which no more values are looked at, and no more layers put back.
MOST_FOR_VALUES, MOST_FOR_LAYERS = 0.25, 0.5
# Samples whose time tells how many more there is time for.
FIRST = 4
Outputs = Mapping[str, Array]


@dataclass
class Looked:
    """Findings about all layers.

    Attributes:
        layers: in the order in which they run.
        test: errors by layer, on test samples.
        calibration: the same on calibration samples.
        shown: the same on those that the recipe calibrated with.
        error: of the outputs.
        removed: layer → part of it that goes when that one is put back.
        fused_apart: the reference and the candidate with everything put back differ by more than rounding.
        notes: lines about what was left out.
        seen: inputs with the outputs of the reference.
    """

    layers: tuple[InnerLayer, ...] = ()
    test: dict[str, Errors] = field(default_factory=dict)
    calibration: dict[str, Errors] = field(default_factory=dict)
    shown: dict[str, Errors] = field(default_factory=dict)
    error: float = 0.0
    removed: dict[str, float] = field(default_factory=dict)
    fused_apart: bool = False
    notes: list[str] = field(default_factory=list)
    seen: list[tuple[Inputs, Outputs]] = field(default_factory=list)

    @property
    def order(self) -> list[str]:
        """Layers that were put back, those first that removed most."""
        return sorted(self.removed, key=lambda name: -self.removed[name])


def looked(insides: Insides, samples: Samples, task: Task, budget: Budget) -> Looked:
    """Compares all layers, then puts them back one by one.

    Args:
        insides: opened.
        samples: see `Samples`.
        task: tells the kind of outputs.
        budget: no layer is put back once half of it is used up.
    """
    found = Looked()
    groups = ((samples.shown, found.shown), (samples.unshown, found.calibration), (samples.test, found.test))
    error = apart = signal = 0.0
    pace = _Pace(budget)
    for at, (batches, errors) in enumerate(groups, 1):
        for batch in pace.pieces(batches, MOST_FOR_VALUES * at / len(groups)):
            inside = insides.run(batch)
            # Both, and every layer alone from two kinds of inputs.
            budget.count(4 * count([batch]))
            if not found.layers:
                found.layers = tuple(each for each in insides.layers if each.name in inside.layers)
            for layer in found.layers:
                errors.setdefault(layer.name, Errors(layer)).add(inside.layers[layer.name])
            found.seen.append((batch, inside.reference))
            error += output_error(inside.reference, inside.candidate, task)
            if inside.all_back is not None:
                apart += _squares(inside.reference, inside.all_back)
                signal += _squares(inside.reference, None)
    found.fused_apart, found.error = apart > 1e-4 * signal, error
    _add_shown(found)
    _put_back_each(found, insides, task, budget)
    return found


class _Pace:
    """Cuts batches so that the values of none take longer than is left, by how long those before took."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._seconds = budget, 0.0

    def pieces(self, batches: Sequence[Inputs], part: float) -> Iterator[Inputs]:
        """Batches of one group, of which at least one sample is given; all of them without a limit.

        Args:
            batches: of the group.
            part: of the time, which is to be left for what comes later.
        """
        is_first = True
        for batch in batches:
            at, n = 0, count([batch])
            while at < n:
                size = self._size(n - at, part)
                if size == 0 and not is_first:
                    return
                size = max(size, 1)
                began = self._budget.elapsed
                yield {name: array[at : at + size] for name, array in batch.items()}
                self._seconds = (self._budget.elapsed - began) / size
                at, is_first = at + size, False

    def _size(self, rest: int, part: float) -> int:
        if self._budget.seconds is None:
            return rest
        fit = self._budget.affords(self._seconds, part) if self._seconds else FIRST
        return min(fit, rest)


def _add_shown(found: Looked) -> None:
    """Makes the calibration samples that were shown a part of all of them."""
    for name, errors in found.shown.items():
        joined = found.calibration.setdefault(name, Errors(errors.layer))
        joined.join(errors)


def _put_back_each(found: Looked, insides: Insides, task: Task, budget: Budget) -> None:
    names = [each.name for each in found.layers if each.is_quantized]
    errors = found.test or found.calibration
    # By themselves; those that do least are put back last, or not at all.
    names.sort(key=lambda name: -errors[name].local / max(errors[name].signal, 1e-30))
    for at, name in enumerate(names):
        error = None
        if at < MOST_LAYERS and budget.used <= MOST_FOR_LAYERS:
            error = error_with(found, insides, [name], task, budget, MOST_FOR_LAYERS)
        if error is None:
            found.notes.append(
                f"{len(names) - at} of {len(names)} layers, those with the least error of their own, were not put back "
                "for want of time"
            )
            return
        found.removed[name] = 1 - error / found.error if found.error > 0 else 0.0


def error_with(
    found: Looked, insides: Insides, names: Sequence[str], task: Task, budget: Budget, most: float
) -> float | None:
    """Error of the outputs with some layers put back, on the samples that were looked at.

    Args:
        found: with these samples.
        insides: opened.
        names: of the layers.
        task: tells the kind of outputs.
        budget: counts the forwards.
        most: part of the time after which no further batch is run.

    Returns: None where there was no time for all of them.
    """
    predictor, error = insides.put_back(names), 0.0
    for batch, reference in found.seen:
        if budget.used > most:
            return None
        error += output_error(reference, predictor(batch), task)
        budget.count(count([batch]))
    return error


def output_error(reference: Outputs, other: Outputs, task: Task) -> float:
    """Sum over samples of how far outputs are apart.

    Of logits of classes, the Kullback-Leibler divergence between their softmaxes, which sees what answers see; of other
    outputs, the squared difference over the squares of the reference.
    """
    total = 0.0
    for one, two in _pairs(reference, other):
        if task.has_answers and one.ndim == 2 and one.shape[1] > 1:
            total += float((softmax(one) * (log_softmax(one) - log_softmax(two))).sum())
        else:
            squares = float(np.square(one, dtype=np.float64).sum())
            total += float(np.square(one - two, dtype=np.float64).sum()) / max(squares, 1e-30) * len(one)
    return total


def _pairs(reference: Outputs, other: Outputs) -> Iterable[tuple[Array, Array]]:
    """Outputs of one name, or in their order where names differ, that have one shape."""
    if not set(reference) & set(other):
        other = dict(zip(reference, other.values(), strict=False))
    for name, one in reference.items():
        two = other.get(name)
        if two is not None and one.shape == two.shape and one.dtype.kind == two.dtype.kind == "f":
            yield one, two


def log_softmax(logits: Array) -> Array:
    """Along the last axis."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def softmax(logits: Array) -> Array:
    """Along the last axis."""
    found: Array = np.exp(log_softmax(logits))
    return found


def _squares(one: Outputs, other: Outputs | None) -> float:
    if other is None:
        return sum(float(np.square(each, dtype=np.float64).sum()) for each in one.values() if each.dtype.kind == "f")
    return sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in _pairs(one, other))
