"""How far verdicts on speed can be trusted: `python benchmarks/latency_verdicts.py` (some minutes).

Replays verdicts from the series that `benchmarks/latency_series.py` recorded. A trial is one verdict of the package,
the confirmation of a FAIL included, on rounds of one cell: is the candidate as fast as the reference within 2 %, or is
int8 as much faster as on the quiet machine? Its rounds are drawn as blocks of consecutive ones with replacement (the
circular block bootstrap, Politis and Romano 1992), so that what disturbs neighbours together stays together; rounds of
a cell are fewer than those of all its trials, and their number stands in the table.
Beside each verdict stands what pytest-benchmark's `--benchmark-compare-fail` says of the same rounds, and how far wall
time, wall time of clean rounds and processor time are from the truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from latency_series import FORMS, SLEEPS, SLOWER, Cell, cells
from numpy.typing import NDArray

from quantbench.config.schema import LatencyConfig
from quantbench.measure.belief import believed
from quantbench.measure.belief import measurement as measurement_of
from quantbench.measure.clocks import CLOCKS, PROCESSOR, WALL, Samples
from quantbench.measure.confirmation import answers
from quantbench.measure.environment import environment
from quantbench.measure.latency import FP32, FP32_AGAIN, INT8, LATENCY_LEVEL, REPEATED, Timings
from quantbench.measure.load import Load
from quantbench.quantities.speed import confirmed
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import SpeedQuestions, Speedup
from quantbench.stats.verdicts import Outcome, Verdict, at_least

# As configured by default.
LATENCY = LatencyConfig()
LOOKS = Looks(LATENCY.rounds, LATENCY.looks, LATENCY_LEVEL, instruments=len(CLOCKS))
BLOCK = 10
MARGIN = 0.02
# A bound so far above, or below, the true ratio of int8 is surely missed, or reached.
BESIDE = 0.05
COMPARISONS = ("median:2%", "mean:5%")
TWICE = 2


@dataclass(frozen=True)
class Question:
    """A candidate of a series and its bound.

    Attributes:
        candidate: form.
        bound: on the ratio of reference to candidate.
        right: outcomes that are no error.
        repeated: form of the control of unequal lengths.
    """

    candidate: str
    bound: float
    right: tuple[Outcome, ...]
    repeated: str

    @property
    def name(self) -> str:
        """For the table."""
        if self.candidate == "int8":
            return f"int8, bound {100 * BESIDE:g} % {'below' if Outcome.PASS in self.right else 'above'} the truth"
        known = {"same": "the same (A/A)", "sleeps": f"sleeps {100 * SLEEPS:g} %"}
        return known.get(self.candidate) or f"{100 * SLOWER[self.candidate]:g} % slower"


class Series:
    """The rounds of one cell.

    Args:
        cell: recorded.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        with np.load(cell.path) as file:
            self.readings: NDArray[np.float64] = file["readings"]
            self.facts: dict[str, Any] = json.loads(str(file["facts"]))

    @property
    def rounds(self) -> int:
        """That were recorded."""
        return int(self.readings.shape[1])

    @cached_property
    def load(self) -> Load:
        """Of the machine meanwhile."""
        return Load(**self.facts["load"])

    def seconds(self, form: str, clock: str = WALL) -> NDArray[np.float64]:
        """Times of a form, `[rounds]`."""
        return self.readings[FORMS.index(form), :, 0 if clock == WALL else 1]

    def ratio(self, candidate: str, clock: str = WALL) -> float:
        """Median of fp32 / candidate."""
        return float(np.median(self.seconds("fp32", clock) / self.seconds(candidate, clock)))

    def timings(self, question: Question, rows: NDArray[np.int64], looks: int) -> Timings:
        """Some rounds, as the package would have them."""
        forms = {FP32: "fp32", FP32_AGAIN: "fp32_again", INT8: question.candidate, REPEATED: question.repeated}
        samples = {name: _samples(self.readings[FORMS.index(form), rows]) for name, form in forms.items()}
        repeated = (INT8, self.facts["repeats"]) if question.repeated == "int8_repeated" else (FP32, TWICE)
        return Timings(samples, looks, 0, False, repeated, self.load)

    def drawn(self, random: np.random.Generator, rounds: int) -> NDArray[np.int64]:
        """Rounds in blocks of consecutive ones."""
        starts = random.integers(0, self.rounds, -(-rounds // BLOCK))
        return ((starts[:, None] + np.arange(BLOCK)) % self.rounds).ravel()[:rounds]


def _samples(readings: NDArray[np.float64]) -> Samples:
    return Samples(*readings[:, :3].T, *readings[:, 3:].astype(np.int64).T)


@dataclass(frozen=True)
class Trial:
    """One verdict.

    Attributes:
        outcome: of it.
        doubted: no clock was believed.
        clock: that was believed.
        seconds: of all rounds that it took.
        compared: what pytest-benchmark says, by comparison: True where it fails.
        ratio: that is shown.
    """

    outcome: Outcome
    doubted: bool
    clock: str
    seconds: float
    compared: dict[str, bool]
    ratio: float


def measured(series: Series, question: Question, random: np.random.Generator) -> tuple[Timings, float]:
    """Rounds until they decide or the budget ends, and how long they took."""
    rows = series.drawn(random, LOOKS.rounds[-1])
    asked, found, spent = SpeedQuestions(bound=question.bound), None, 0.0
    for look, rounds in enumerate(LOOKS.rounds, 1):
        timings = series.timings(question, rows[:rounds], look)
        taken = sum(float(each.wall_s.sum()) for each in timings.samples.values())
        # As `time_forwards` does: rounds that would not fit are not begun.
        if found is not None and taken > LATENCY.budget_s:
            break
        found, spent = timings, taken
        if answers(timings, LOOKS, series.cell.threads, asked):
            break
    return found or timings, spent


def tried(series: Series, question: Question, seed: int) -> Trial:
    """One verdict, the confirmation of a FAIL included."""
    from pytest_benchmark.utils import parse_compare_fail

    random = np.random.default_rng(seed)
    timings, seconds = measured(series, question, random)
    first = measurement_of(timings, LOOKS, series.cell.threads)
    took = [seconds]

    def judge(found: Speedup) -> Verdict:
        return at_least("speedup", found.estimate, found.interval, question.bound, timings.rounds, "", "×")

    def again() -> Any:
        second, seconds = measured(series, question, random)
        took.append(seconds)
        return measurement_of(second, LOOKS, series.cell.threads)

    verdict, failed_control = confirmed(first, judge, again)
    # Of int8 the times that it would take if it were as fast as fp32 at its bound.
    factors = {FP32: 1.0, INT8: question.bound / (1 - MARGIN)}
    walls = {name: timings.samples[name].wall_s * factor for name, factor in factors.items()}
    fields = {name: {"median": float(np.median(each)), "mean": float(np.mean(each))} for name, each in walls.items()}
    compared = {
        each: bool(parse_compare_fail(each).fails(fields[INT8], fields[FP32]))  # type: ignore[no-untyped-call]
        for each in COMPARISONS
    }
    belief = believed(timings, LOOKS, series.cell.threads)
    doubted = failed_control is not None or first.doubt is not None
    return Trial(verdict.outcome, doubted, belief.clock, sum(took), compared, first.speedup.estimate)


def questions(truth: Series) -> list[Question]:
    """What is asked of a cell of a model, whose true ratios are those of the quiet machine."""
    open_ = (Outcome.INCONCLUSIVE,)
    reached, missed = (Outcome.PASS, *open_), (Outcome.FAIL, *open_)
    bound, true = 1 - MARGIN, truth.ratio("int8")
    return [
        Question("same", bound, reached, "fp32_twice"),
        *(Question(name, bound, missed, "fp32_twice") for name in (*SLOWER, "sleeps")),
        Question("int8", true * (1 - BESIDE), reached, "int8_repeated"),
        Question("int8", true * (1 + BESIDE), missed, "int8_repeated"),
    ]


def share(hits: int, n: int) -> str:
    """Per cent with Wilson's interval at 95 %."""
    interval = wilson_interval(hits, n)
    return f"{100 * hits / n:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


Group = dict[tuple[str, int, int, int], list[tuple[Question, Trial]]]


def print_verdicts(groups: Group, rounds: dict[Any, int]) -> None:
    """Outcomes by load and question, over all models."""
    print(
        "| load | threads | candidate | n (of rounds) | FAIL | PASS | INCONCLUSIVE | of them no clock believed |",
        end="",
    )
    print(" wrong | by processor time | time, s |", *(f" pytest-benchmark, {c} |" for c in COMPARISONS), sep="")
    print("| --- |" + " ---: |" * (8 + 2 + len(COMPARISONS)))
    for (kind, processes, threads, _), trials in sorted(groups.items(), key=lambda item: _order(item[0])):
        n, question = len(trials), trials[0][0]
        outcomes = [trial.outcome for _, trial in trials]
        counts = [str(outcomes.count(each)) for each in (Outcome.FAIL, Outcome.PASS, Outcome.INCONCLUSIVE)]
        doubted = sum(trial.doubted for _, trial in trials)
        wrong = sum(trial.outcome not in asked.right for asked, trial in trials)
        by = sum(trial.clock == PROCESSOR for _, trial in trials)
        seconds = [trial.seconds for _, trial in trials]
        compared = [share(sum(trial.compared[each] for _, trial in trials), n) for each in COMPARISONS]
        load = f"{processes} × {kind}" if processes else "quiet"
        figures = [f"{n} ({rounds[kind, processes, threads]})", *counts, str(doubted), share(wrong, n), f"{by}"]
        timing = f"{np.median(seconds):.1f}, at most {max(seconds):.1f}"
        print(f"| {load} | {threads} | {question.name} | {' | '.join([*figures, timing, *compared])} |")


def _order(key: tuple[str, int, int, int]) -> tuple[Any, ...]:
    kind, processes, threads, at = key
    return threads, processes, kind, at


def print_estimators(found: Sequence[tuple[Series, Series]]) -> None:
    """How far each estimator is from the truth, over the windows of a trial."""
    print("\n| load | rounds clean | estimator | bias, median of pairs | spread of a trial of 80 rounds, IQR |")
    print("| --- | ---: | --- | ---: | ---: |")
    by_load: dict[tuple[str, int], dict[str, list[tuple[float, float]]]] = {}
    cleans: dict[tuple[str, int], list[float]] = {}
    for series, truth in found:
        key = series.cell.kind, series.cell.processes
        for candidate in ("same", *SLOWER, "int8"):
            clean = _clean(series, candidate)
            cleans.setdefault(key, []).append(float(clean.mean()))
            for name, ratios in _estimators(series, candidate, clean).items():
                if len(ratios):
                    true = truth.ratio(candidate, PROCESSOR if name == "processor time" else WALL)
                    by_load.setdefault(key, {}).setdefault(name, []).append(_bias(ratios, true, len(clean)))
    for key in sorted(by_load, key=lambda key: (key[1], key[0])):
        for name, pairs in by_load[key].items():
            bias, spread = np.array(pairs).T
            load = f"{key[1]} × {key[0]}" if key[1] else "quiet"
            worst = float(np.abs(bias).max())
            typical = float(np.median(np.abs(bias)))
            print(
                f"| {load} | {100 * np.mean(cleans[key]):.0f} % | {name} | {100 * typical:.1f} %, "
                f"at most {100 * worst:.1f} % | {100 * np.median(spread):.1f} % |"
            )


def _clean(series: Series, candidate: str) -> NDArray[np.bool_]:
    forms = [FORMS.index(name) for name in ("fp32", candidate)]
    preempted: NDArray[np.bool_] = np.any(series.readings[forms, :, 4] > 0, axis=0)
    return np.logical_not(preempted)


def _estimators(series: Series, candidate: str, clean: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    wall = series.seconds("fp32") / series.seconds(candidate)
    return {
        "wall time": wall,
        "wall time of clean rounds": wall[clean],
        "processor time": series.seconds("fp32", PROCESSOR) / series.seconds(candidate, PROCESSOR),
    }


def _bias(ratios: NDArray[np.float64], true: float, rounds: int) -> tuple[float, float]:
    """Relative error of the median, and the interquartile range of medians of as many rounds as a trial has left."""
    random = np.random.default_rng(0)
    n = max(1, round(80 * len(ratios) / rounds))
    medians = [float(np.median(random.choice(ratios, n))) for _ in range(200)]
    low, high = np.percentile(medians, [25, 75])
    return float(np.median(ratios)) / true - 1, float(high - low) / true


def main() -> None:
    """Replays and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100, help="trials of each cell and question")
    options = parser.parse_args()
    known = {cell: Series(cell) for cell in cells() if cell.path.is_file()}
    groups: Group = {}
    rounds: dict[Any, int] = {}
    pairs = []
    for cell, series in known.items():
        truth = known.get(Cell(cell.model, cell.threads, "quiet", 0))
        if truth is None:
            continue
        pairs.append((series, truth))
        place = cell.kind, cell.processes, cell.threads
        rounds[place] = rounds.get(place, 0) + series.rounds
        for at, question in enumerate(questions(truth)):
            trials = [(question, tried(series, question, 1000 * at + i)) for i in range(options.n)]
            groups.setdefault((*place, at), []).extend(trials)
    here = environment()
    print(
        f"{here.processor} ({', '.join(here.isa)}), {here.cores} cores, torch {here.versions['torch']}, "
        f"Python {here.python}; margin {100 * MARGIN:g} %, {LOOKS.count} looks from {LOOKS.first} rounds on at "
        f"{100 * LATENCY_LEVEL:g} %, at most {LATENCY.budget_s:g} s a measurement, {len(known)} cells\n"
    )
    print_verdicts(groups, rounds)
    print_estimators([pair for pair in pairs if pair[0].cell.threads == 1])


if __name__ == "__main__":
    main()
