"""Transcripts: texts that a model answers, against those that were said, by edits of their words or characters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.extras import require
from quantbench.recipes.function import own_function
from quantbench.tasks.classes import only
from quantbench.tasks.interface import Floats, Summed, Targets


class Transcripts(Summed):
    """A rate of edits over all samples. Statistics: edits of a sample, and units of its reference.

    Args:
        decode: import path of a function, output `[n, …]` → n texts.
        decode_targets: the same of the targets; not needed where these are texts.

    Attributes:
        name: of the task, for messages.
    """

    name: str
    higher_is_better = False
    range = (0.0, None)

    def __init__(self, decode: str | None, decode_targets: str | None) -> None:
        given = {"decode": decode, "decode_targets": decode_targets}
        self.paths = {key: path for key, path in given.items() if path is not None}

    @abstractmethod
    def units(self, text: str) -> Sequence[str]:
        """Words or characters of a text."""

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`; the functions that decode must be named."""
        only(outputs, "what workload.task.decode takes")
        require(f"task {self.name}", "rapidfuzz")
        needed = ["decode", *(["decode_targets"] if targets.dtype.kind != "U" else [])]
        if missing := [key for key in needed if key not in self.paths]:
            what = "outputs" if missing[0] == "decode" else f"targets ({targets.dtype})"
            raise EvaluationError(
                f"task {self.name}: {what} are no texts; name the function that makes them texts: workload.task."
                f"{missing[0]}: your.module:function"
            )
        if len(targets) < n:
            raise EvaluationError(f"task {self.name}: {len(targets)} targets for {n} samples")

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 2]`."""
        from rapidfuzz.distance import Levenshtein

        answers = self._texts("decode", only(outputs))
        is_text = targets.dtype.kind == "U"
        spoken = [str(text) for text in targets] if is_text else self._texts("decode_targets", targets)
        pairs = [(self.units(said), self.units(answer)) for said, answer in zip(spoken, answers, strict=True)]
        return np.array([[Levenshtein.distance(said, answer), len(said)] for said, answer in pairs], dtype=np.float64)

    def _texts(self, key: str, array: NDArray[Any]) -> list[str]:
        path = self.paths[key]
        texts = list(own_function(path, f"workload.task.{key}")(array))
        if len(texts) != len(array) or not all(isinstance(text, str) for text in texts):
            kinds = ", ".join(sorted({type(text).__name__ for text in texts})) or "nothing"
            raise EvaluationError(
                f"task {self.name}: '{path}' gave {len(texts)} of {kinds} for {len(array)} samples; return a text of "
                "each"
            )
        return texts

    def of_sums(self, sums: Floats) -> Floats:
        """See `Summed.of_sums`."""
        rate: Floats = sums[..., 0] / sums[..., 1]
        return rate

    def chance(self, targets: Targets) -> float:  # noqa: ARG002 — of any targets
        """See `Task.chance`: no word for every sample."""
        return 1.0
