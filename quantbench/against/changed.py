"""Values of a candidate that are not what they were, ranked by the answers that come back with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.exchange import Exchange, Value, exchange
from quantbench.backends.interface import Artifact, Predictor
from quantbench.blame.samples import samples_at
from quantbench.errors import QuantbenchError
from quantbench.experiment.run import Run
from quantbench.files import sha256_of_file
from quantbench.foreign import about, calling
from quantbench.measure.evaluation import Evaluation
from quantbench.temporary import temporary_folder
from quantbench.torch_process import get_threads

# Layers that are put back, those that changed most first.
MOST_LAYERS = 64


@dataclass(frozen=True)
class ChangedLayer:
    """One layer with values that are not what they were.

    Attributes:
        name: of the layer.
        values: that changed, the most first.
        back: flipped answers that come back where they alone are put back; None where nobody tried.
        refused: why it could not be tried; empty where it could.
    """

    name: str
    values: tuple[Value, ...]
    back: int | None = None
    refused: str = ""

    @property
    def words(self) -> str:
        """The changes, each once."""
        return "; ".join(dict.fromkeys(each.words() for each in self.values))


@dataclass(frozen=True)
class Changes:
    """Everything that changed between two candidates.

    Attributes:
        flipped: samples with another score.
        n: of so many.
        layers: in the order of their effect, or of the size of their change where that is not known.
        unlike: lines about what only one of both has.
        all_back: flipped answers that come back with all values put back; None where nobody tried.
        unknown: why values are not compared; empty where they are.
        left_out: number of layers that were not put back.
    """

    flipped: int
    n: int
    layers: Sequence[ChangedLayer] = ()
    unlike: Sequence[str] = ()
    all_back: int | None = None
    unknown: str = ""
    left_out: int = 0


def changes_of(run: Run, base: Artifact, before: Evaluation) -> Changes:
    """Compares a candidate with an earlier one of the same experiment.

    Args:
        run: of the candidate.
        base: the earlier one.
        before: its scores on the run's test samples.

    Raises:
        QuantbenchError: if a file cannot be read.
    """
    one, other = before.statistics, run.evaluation.statistics
    flipped = np.flatnonzero((one != other).any(axis=1))
    opened = exchange(base, run.artifact)
    if isinstance(opened, str):
        return Changes(len(flipped), len(other), unknown=opened)
    layers = [ChangedLayer(name, tuple(values)) for name, values in opened.layers.items()]
    all_back = None
    if len(flipped) and layers:
        everything = {value.entry for value in opened.values}
        all_back = _tried(run, opened, ChangedLayer("", ()), everything, flipped, one).back
        layers[:MOST_LAYERS] = [
            _tried(run, opened, each, {value.entry for value in each.values}, flipped, one)
            for each in layers[:MOST_LAYERS]
        ]
        if all(each.refused for each in layers[:MOST_LAYERS]):
            unknown = f"the answers that come back with earlier values: {layers[0].refused}"
            return Changes(
                len(flipped), len(other), [replace(each, refused="") for each in layers], opened.unlike, unknown=unknown
            )
        layers.sort(key=lambda each: -1 if each.back is None else each.back, reverse=True)
    left_out = max(0, len(layers) - MOST_LAYERS) if len(flipped) else 0
    return Changes(len(flipped), len(other), layers, opened.unlike, all_back, left_out=left_out)


def _tried(
    run: Run, opened: Exchange, layer: ChangedLayer, entries: set[str], flipped: NDArray[np.int64],
    before: NDArray[np.float64],
) -> ChangedLayer:  # fmt: skip
    """The layer with the number of answers that come back."""
    with temporary_folder() as folder:
        try:
            with calling("putting its values back"), about("the candidate with earlier values"):
                path = opened.with_base(entries, Path(folder))
                # Values that lay in files of their own are in this one.
                mixed = replace(run.artifact, files=(path,), sha256=(sha256_of_file(path),))
                found = _scored(run, run.backend.load(mixed, get_threads()), flipped)
        except QuantbenchError as error:
            return replace(layer, refused=" ".join(str(error).replace(f"{folder}{os.sep}", "").split()))
    return replace(layer, back=int((found == before[flipped]).all(axis=1).sum()))


def _scored(run: Run, predictor: Predictor, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Statistics `[m, k]` of some test samples."""
    opened, task = run.opened, run.opened.task
    test, size = opened.splits.test, opened.workload.config.evaluation.batch_size
    parts = []
    for start in range(0, len(positions), size):
        rows = positions[start : start + size]
        outputs = task.chosen(predictor(samples_at(test, rows)), len(rows))
        targets = np.array(test.labels[rows])
        found = task.scores(outputs, targets)[:, None] if task.is_mean else task.statistics(outputs, targets)
        parts.append(np.asarray(found, np.float64))
    return np.concatenate(parts)
