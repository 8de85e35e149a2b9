"""Coverage of intervals of scores: `python benchmarks/coverage_of_score_intervals.py` (hours for 1,000 trials).

Trials are kept in `out/coverage/scores.json`, a few at a time: `--seconds 150` stops after so long, and the same
command goes on from there. The table shows the trials that are done.

Pairs of models are drawn whose true loss is known: scores within a range and without one, figures that are no means,
and samples in clusters; light and heavy tails; 1 % of the samples changed, 10 % and all of them. The interval that a
gate uses either holds the true loss or does not, and so do the bootstrap alone and the normal interval. At 95 %.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.experiment.figures import paired
from quantbench.registry import TASKS
from quantbench.stats.bca import bca_intervals
from quantbench.stats.bootstrap import mean_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.tasks.interface import Task

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats, NDArray[np.int64] | None]
LEVEL, Z = 0.95, 1.959964
SIZES, SHARES = (200, 1_000, 10_000), (0.01, 0.1, 1.0)
POPULATION, SEED = 1_000_000, 7
# Of the largest test sets, of which a bootstrap takes a second.
FEWER = 4
CLASSES, CLUSTER = 10, 20
# Trials that are drawn from one seed and kept together.
PART = 25
KEPT = Path("out/coverage/scores.json")
BOUNDED = TASKS.create("function", "here", {"function": "a:b", "range": [0.0, 1.0]})


@dataclass(frozen=True)
class Case:
    """A kind of score.

    Attributes:
        name: in the table.
        task: that gives the figure.
        draw: random numbers, samples and share that changed → statistics of both models, and clusters.
    """

    name: str
    task: Task
    draw: Callable[[np.random.Generator, int, float], Pair]


def _changed(random: np.random.Generator, n: int, share: float) -> Floats:
    return (random.random(n) < share).astype(float)


def _mean(change: Callable[[np.random.Generator, int], Floats], base: float) -> Callable[..., Pair]:
    def draw(random: np.random.Generator, n: int, share: float) -> Pair:
        before = np.full(n, base)
        return before[:, None], (before + _changed(random, n, share) * change(random, n))[:, None], None

    return draw


def _squares(change: Callable[[np.random.Generator, int], Floats]) -> Callable[..., Pair]:
    def draw(random: np.random.Generator, n: int, share: float) -> Pair:
        before = random.exponential(1.0, n)
        after = before * np.where(_changed(random, n, share) > 0, change(random, n), 1.0)
        ones = np.ones(n)
        return np.stack([before, ones], axis=1), np.stack([after, ones], axis=1), None

    return draw


def _answers(random: np.random.Generator, n: int, share: float | Floats) -> tuple[Floats, Floats]:
    """Labels and answers of both models, `[n, 2]` each; classes are as uneven as 1 to 10."""
    labels = random.choice(CLASSES, n, p=np.arange(1, CLASSES + 1) / 55)
    wrong = random.random(n) < 0.1
    before = np.where(wrong, random.integers(0, CLASSES, n), labels)
    flipped = random.random(n) < share
    after = np.where(flipped, random.integers(0, CLASSES, n), before)
    return np.stack([labels, before], axis=1).astype(float), np.stack([labels, after], axis=1).astype(float)


def _alone(random: np.random.Generator, n: int, share: float) -> Pair:
    # Of all samples half at most: a model that answers by chance is another question.
    return *_answers(random, n, min(share, 0.5)), None


def _in_clusters(random: np.random.Generator, n: int, share: float) -> Pair:
    """Flips that come together: each cluster has a share of its own."""
    cluster = np.arange(n) // CLUSTER
    own = random.beta(0.5, 0.5 / min(share, 0.5) - 0.5, int(cluster[-1]) + 1)
    return *_answers(random, n, own[cluster]), cluster


def _errors_in_clusters(random: np.random.Generator, n: int, share: float) -> Pair:
    cluster = np.arange(n) // CLUSTER
    before, after, _ = _squares(lambda random, n: random.lognormal(0.1, 0.3, n))(random, n, share)
    after[:, 0] *= np.where(after[:, 0] != before[:, 0], random.lognormal(0.0, 0.3, int(cluster[-1]) + 1)[cluster], 1.0)
    return before, after, cluster


MAE, RMSE, F1 = (TASKS.create(name, "here", {}) for name in ("mae", "rmse", "macro_f1"))
CASES = (
    Case("mean in 0..1, light", BOUNDED, _mean(lambda random, n: random.uniform(-0.5, 0.3, n), 0.5)),
    Case("mean in 0..1, heavy", BOUNDED, _mean(lambda r, n: np.clip(0.05 * r.standard_t(2, n) - 0.02, -0.5, 0.5), 0.5)),
    Case("mean, light (normal)", MAE, _mean(lambda random, n: random.normal(0.1, 1.0, n), 5.0)),
    Case("mean, heavy (lognormal, σ = 1.5)", MAE, _mean(lambda random, n: random.lognormal(-1.125, 1.5, n), 5.0)),
    Case("RMSE, light", RMSE, _squares(lambda random, n: random.uniform(0.8, 1.3, n))),
    Case("RMSE, heavy (lognormal, σ = 1)", RMSE, _squares(lambda random, n: random.lognormal(-0.4, 1.0, n))),
    Case("macro F1, 10 uneven classes", F1, _alone),
    Case("macro F1 in clusters of 20", F1, _in_clusters),
    Case("RMSE in clusters of 20", RMSE, _errors_in_clusters),
)


@cache
def truth(case: Case, share: float) -> float:
    """The loss of a very large test set."""
    before, after, _ = case.draw(np.random.default_rng(SEED), POPULATION, share)
    sign = 1.0 if case.task.higher_is_better else -1.0
    return sign * (case.task.figure(before) - case.task.figure(after))


def alone(case: Case, before: Floats, after: Floats, clusters: NDArray[np.int64] | None) -> tuple[float, float]:
    """The bootstrap as it is, however few samples changed."""
    sign = 1.0 if case.task.higher_is_better else -1.0
    if case.task.is_mean:
        found = mean_interval(sign * (before - after)[:, 0], LEVEL)
        return found.low, found.high

    def losses(weights: Floats) -> Floats:
        return (sign * (case.task.figures(before, weights) - case.task.figures(after, weights)))[:, None]

    (own,) = bca_intervals(losses, len(before), [LEVEL], clusters)
    limits = own.intervals[0]
    return (0.0, 0.0) if limits is None else (limits.low, limits.high)


def covered(case: Case, n: int, share: float, part: int, trials: int) -> dict[str, Any]:
    """How often each interval held the truth in one part of the trials, and how often each method was used.

    Parts of all cells share their random numbers.
    """
    random, true, hits = np.random.default_rng([n, part]), truth(case, share), [0, 0, 0]
    methods: dict[str, int] = {}
    for _ in range(trials):
        before, after, clusters = case.draw(random, n, share)
        found = paired(case.task, before, after, [LEVEL], clusters, with_own=False)
        used = found.intervals[0]
        methods[found.method] = methods.get(found.method, 0) + 1
        is_bootstrap = "bootstrap" in found.method and used is not None
        other = (used.low, used.high) if used and is_bootstrap else alone(case, before, after, clusters)
        half = Z * (found.error if np.isfinite(found.error) else 0.0)
        for at, (low, high) in enumerate((
            (-np.inf, np.inf) if used is None else (used.low, used.high), other, (found.drop - half, found.drop + half)
        )):  # fmt: skip
            hits[at] += int(low <= true <= high)
    return {"trials": trials, "hits": hits, "methods": methods}


def added(parts: list[dict[str, Any]]) -> tuple[int, list[int], str]:
    """Trials of the parts of one cell, the hits of each interval, and the method that was used most."""
    methods: dict[str, int] = {}
    for part in parts:
        for method, times in part["methods"].items():
            methods[method] = methods.get(method, 0) + times
    hits = [sum(part["hits"][at] for part in parts) for at in range(3)]
    return sum(part["trials"] for part in parts), hits, max(methods, key=lambda method: methods[method])


def row(case: Case, share: float, n: int, parts: list[dict[str, Any]]) -> str:
    """The line of one cell."""
    trials, hits, method = added(parts)
    shares = []
    for each in hits:
        own = wilson_interval(each, trials)
        shares.append(f"{100 * each / trials:.1f} % [{100 * own.low:.1f}, {100 * own.high:.1f}]")
    return f"| {case.name} | {100 * share:g} % | {n:,} | {trials:,} | {method} | {' | '.join(shares)} |"


def main() -> None:
    """Goes on with the trials, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000, help="of each cell; a quarter of it for the largest n")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--kept", type=Path, default=KEPT, help="file of the trials that are done")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    kept: dict[str, list[dict[str, Any]]] = json.loads(options.kept.read_text()) if options.kept.exists() else {}
    cells = [(case, share, n) for case in CASES for share in SHARES for n in SIZES]
    wanted = {n: -(-options.trials // (FEWER if n == max(SIZES) else 1) // PART) for n in SIZES}
    # A part of every cell before the next part of any, so that what is done is spread evenly.
    for part in range(max(wanted.values())):
        for case, share, n in cells:
            parts = kept.setdefault(f"{case.name}, {share:g}, {n}", [])
            if part != len(parts) or part >= wanted[n] or time.monotonic() > until:
                continue
            parts.append(covered(case, n, share, part, PART))
            options.kept.parent.mkdir(parents=True, exist_ok=True)
            options.kept.write_text(json.dumps(kept))
    print("| score | changed | n | test sets | used | coverage of it | bootstrap alone | normal |")
    print("| --- | ---: | ---: | ---: | --- |" + " ---: |" * 3)
    for case, share, n in cells:
        if parts := kept[f"{case.name}, {share:g}, {n}"]:
            print(row(case, share, n, parts))


if __name__ == "__main__":
    main()
