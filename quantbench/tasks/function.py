"""Task `function`: scores, or a figure that is no mean of any, by the user's own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.recipes.function import ImportPath, own_function
from quantbench.tasks.interface import Aggregate, Floats, Range, Targets, Task

# Numbers of outputs and targets that are kept of each sample for a figure of whole outputs.
MOST_NUMBERS = 256


class Own(Task):
    """A task by the user's own functions, imported when they are first called."""

    is_binary = False

    def __init__(self, paths: dict[str, str], unit: str, higher_is_better: bool, limits: Range) -> None:
        self.paths, self.unit, self.higher_is_better, self.range = paths, unit, higher_is_better, limits

    @property
    def title(self) -> str:
        """See `Task.title`."""
        return f"function '{self.paths['function']}'"

    def _called(self, method: str) -> str:  # noqa: ARG002 — the function is what the user knows
        return f"task {self.title}"

    def own(self, key: str) -> Callable[..., Any]:
        """The function that a parameter names."""
        return own_function(self.paths[key], f"workload.task.{key}")


class FunctionScores(Own):
    """Scores by `function(outputs, targets) → [n]`; of one output it is given the array, of several their names too."""

    def __init__(self, path: str, unit: str, higher_is_better: bool, limits: Range, is_binary: bool) -> None:
        super().__init__({"function": path}, unit, higher_is_better, limits)
        self.is_binary = is_binary

    def scores(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.scores`."""
        found = self.own("function")(*_copied(outputs, targets))
        # A mask stays, and is refused: to drop it would count what it hides.
        scores: Floats = np.asanyarray(found, dtype=np.float64) if isinstance(found, np.ndarray | list) else found
        return scores


class FunctionOfStatistics(Own, Aggregate):
    """A figure by `function(statistics [m, k]) → float` of what `statistics(outputs, targets) → [n, k]` gives."""

    is_mean = False

    def __init__(self, path: str, statistics: str, unit: str, higher_is_better: bool, limits: Range) -> None:
        super().__init__({"function": path, "statistics": statistics}, unit, higher_is_better, limits)

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`."""
        found: Floats = np.asanyarray(self.own("statistics")(*_copied(outputs, targets)), dtype=np.float64)
        return found

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`: a sample that counts twice is given twice."""
        return float(self.own("function")(_repeated(statistics, weights)))


class FunctionOfOutputs(Own, Aggregate):
    """A figure by `function(outputs, targets) → float`, of which few numbers of each sample are kept."""

    is_mean = False

    def __init__(self, path: str, unit: str, higher_is_better: bool, limits: Range) -> None:
        super().__init__({"function": path}, unit, higher_is_better, limits)
        self._layout: list[tuple[str, tuple[int, ...], np.dtype[Any]]] = []

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: every number of the sample's outputs and targets."""
        arrays = {**outputs, "": targets}
        self._layout = [(name, array.shape[1:], array.dtype) for name, array in arrays.items()]
        flat = [np.asarray(array, dtype=np.float64).reshape(len(targets), -1) for array in arrays.values()]
        kept = np.concatenate(flat, axis=1)
        if kept.shape[1] > MOST_NUMBERS:
            raise EvaluationError(
                f"task {self.title}: a sample has {kept.shape[1]:,} numbers, of which at most {MOST_NUMBERS} are kept; "
                "name a function that tells less of each with workload.task.statistics"
            )
        return kept

    def figure(self, statistics: Floats, weights: Floats | None = None) -> float:
        """See `Task.figure`: a sample that counts twice is given twice."""
        rows, arrays, start = _repeated(statistics, weights), {}, 0
        for name, shape, dtype in self._layout:
            stop = start + int(np.prod(shape))
            arrays[name] = rows[:, start:stop].reshape(-1, *shape).astype(dtype)
            start = stop
        targets = arrays.pop("")
        return float(self.own("function")(_bare(arrays), targets))


def function(
    function: ImportPath,
    kind: Literal["scores", "aggregate"] = "scores",
    statistics: ImportPath | None = None,
    unit: str = "score",
    higher_is_better: bool = True,
    range: tuple[float | None, float | None] = (None, None),  # noqa: A002 — as the workload file says it
    is_binary: bool = False,
) -> Task:
    """The user's own function of outputs and targets.

    Args:
        function: `your.module:function`, imported when the experiment runs. Of kind `scores` it is called as
            `fn(outputs, targets)` and gives `[n]`; of kind `aggregate` it gives one figure.
        kind: `scores`, whose mean is the figure, or `aggregate`, which is no mean.
        statistics: of an aggregate: `fn(outputs, targets) → [n, k]`, called batch by batch; `function` is then called
            as `fn(statistics)`. Where it is not given, outputs and targets themselves are kept, of few numbers.
        unit: of the figure.
        higher_is_better: a larger figure is a better one.
        range: smallest and largest score, or figure of an aggregate; null where there is no limit.
        is_binary: scores are exactly 0 or 1, compared as an accuracy.

    Example:
        >>> function("my_pkg.metrics:score", unit="dB", range=(0, None)).range
        (0, None)
    """
    if kind == "scores":
        if statistics is not None:
            raise ValueError("statistics are of kind aggregate; set kind, or leave statistics out")
        limits = (0.0, 1.0) if is_binary else range
        return FunctionScores(function, unit, higher_is_better, limits, is_binary)
    if is_binary:
        raise ValueError("is_binary is of kind scores; a figure that is no mean has no scores of 0 and 1")
    if statistics is None:
        return FunctionOfOutputs(function, unit, higher_is_better, range)
    return FunctionOfStatistics(function, statistics, unit, higher_is_better, range)


def _bare(outputs: Outputs) -> Outputs | NDArray[Any]:
    """The only output as an array; several by their names."""
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _copied(outputs: Outputs, targets: Targets) -> tuple[Outputs | NDArray[Any], Targets]:
    """Arrays that the function may write into: the targets are those of the next model too."""
    return _bare({name: array.copy() for name, array in outputs.items()}), targets.copy()


def _repeated(rows: Floats, weights: Floats | None) -> Floats:
    """Rows that the function may write into."""
    return rows.copy() if weights is None else np.repeat(rows, weights.astype(np.int64), axis=0)
