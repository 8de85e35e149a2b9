"""An accepted result as its file holds it, and the parts of it."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from quantbench.golden.circumstances import Inputs, MachineClass, Strict
from quantbench.records.base import unpack_bits
from quantbench.records.scores import unpack_scores

SCHEMA_VERSION = 2
# Read too: 2 added `answers`.
OLDER_VERSIONS = (1,)

Count = Annotated[int, Field(gt=0, strict=True)]


class AcceptedSpeedup(Strict):
    """A speed-up that was accepted for one class of machine.

    Attributes:
        speedup: median of fp32 / int8, with its interval at `level`.
        inputs: of the result it was measured with.
    """

    machine: MachineClass
    batch_size: Count
    rounds: Count
    level: Annotated[float, Field(gt=0, lt=1)]
    speedup: float
    speedup_interval: tuple[float, float]
    inputs: Inputs

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        low, high = self.speedup_interval
        if not 0 < low <= self.speedup <= high:
            raise ValueError(
                f"speedup {self.speedup:g} and its interval [{low:g}, {high:g}] must be positive and in order"
            )
        return self


class Acceptance(Strict):
    """Entry of the history: date, reason and changes of one acceptance, old → new."""

    date: str
    reason: str
    changed: list[str]


class AcceptedResult(Strict):
    """Result of an experiment as it was last accepted.

    Attributes:
        correct: packed bits of per-sample correctness, base64, most significant bit first; None of other scores.
        scores: of each sample, or its statistics, packed by `records.scores.pack_scores`; None where there are bits.
        task: that gave the scores; None likewise.
        n: samples.
        answers: the class that each sample was given, packed by `records.classes.pack_answers`; None for a task without
            classes, and in results that were accepted before they were kept.
        metrics: figures to read; only `accuracy` is checked, against the bits.
        speedups: one for each class of machine that has one.
        history: oldest first.
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    machine: MachineClass
    versions: dict[str, str]
    inputs: Inputs
    n: Count
    correct: str | None = None
    scores: str | None = None
    task: str | None = None
    answers: str | None = None
    metrics: dict[str, float]
    speedups: list[AcceptedSpeedup] = Field(default_factory=list)
    history: list[Acceptance] = Field(default_factory=list)

    @property
    def bits(self) -> NDArray[np.bool_]:
        """Per-sample correctness, `[n]`.

        Raises:
            ValueError: if there is none of so many samples.
        """
        if self.correct is None:
            raise ValueError("is missing")
        return unpack_bits(self.correct, self.n)

    @property
    def statistics(self) -> NDArray[np.float64]:
        """Per-sample scores or statistics, `[n, k]`.

        Raises:
            ValueError: if there are none of so many samples.
        """
        if self.scores is None:
            raise ValueError("is missing")
        return unpack_scores(self.scores, self.n)

    def speedup_on(self, machine: MachineClass) -> AcceptedSpeedup | None:
        """The one accepted for that class of machine, if any."""
        return next((each for each in self.speedups if each.machine == machine), None)
