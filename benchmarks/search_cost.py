"""What a mixed-precision search costs in each mode, side by side, and how often the adaptive one is right.

Run `python benchmarks/search_cost.py [vgg16_cifar10/low_bit_4]`. In one process, on the same samples: the published
loop (a whole pass for every figure), the exact search and the adaptive one. The script fails unless the exact search
gives the published loop's table and decisions to the last sample. Then the adaptive search is repeated with other seeds
on recorded outcomes, and its decisions outside the indifference zone are compared with whole passes of the same
configurations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from naive_search import naive_search
from numpy.typing import NDArray

from quantbench.arrays import INPUT
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.data.splits import Split
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.residency import reset_peak, resident
from quantbench.progress import progress
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.adaptive import ZONE_PP, AdaptiveSearch
from quantbench.search.engine import Engine, TrialOutcome, allowed_drop
from quantbench.search.ledger import Ledger, packed
from quantbench.search.problem import Entry
from quantbench.search.run import SearchRun
from quantbench.search.sampled_layers import SampledLayers
from quantbench.search.search import Mode, Problem, SearchResult, search
from quantbench.search.sensitivity import Table, measured_table
from quantbench.stats.draws import Ids
from quantbench.stats.proportions import wilson_interval

ROOT = Path(__file__).parents[1]
TRIAL_BATCH = 128
# Targets: fewer multiply-accumulates and less time than the published loop by these factors.
EXACT_MACS, EXACT_TIME, ADAPTIVE_MACS = 2.5, 2.0, 6.0


class RecordedEngine(Engine):
    """Remembers what became of every sample in every configuration; what it has not seen it computes, whole splits at a
    time, from values with all layers high.

    Args:
        problem: see `Engine`.
        memory_bytes: for these values.
    """

    def __init__(self, problem: Problem, memory_bytes: int) -> None:
        super().__init__(problem)
        self.high_values = ActivationCache(self.replay, self.names, self.n, memory_bytes)
        self.table: Table = measured_table(self, Ledger(self, None, None, 1), self.high_values)
        self.outcomes: dict[frozenset[str], TrialOutcome] = {}

    @property
    def set_low(self) -> frozenset[str]:
        """Layers that are at the low width now."""
        return frozenset(name for name, layer in self.layers.items() if layer.bits == self.low)

    def trial(self, ids: Ids, layer: str, cache: ActivationCache) -> TrialOutcome:  # noqa: ARG002 — all is kept here
        """See `Engine.trial`."""
        outcome = self.of(self.set_low)
        return TrialOutcome(outcome.correct[ids], outcome.finite[ids], outcome.margin[ids])

    def of(self, low: frozenset[str]) -> TrialOutcome:
        """What becomes of every sample with these layers low."""
        if low not in self.outcomes:
            changed = {name for layer in low for name in self.replay.influenced[layer]}
            at_hand = frozenset(name for name in self.high_values.names if name not in changed)
            reads = self.replay.plan(self.everything, at_hand).reads & at_hand
            with self.configured(low):
                parts = [self._part(ids, reads) for ids in np.array_split(np.arange(self.n), -(-self.n // TRIAL_BATCH))]
            fields = ("correct", "finite", "margin")
            self.outcomes[low] = TrialOutcome(
                *(np.concatenate([getattr(part, each) for part in parts]) for each in fields)
            )
        return self.outcomes[low]

    def _part(self, ids: Ids, reads: frozenset[str]) -> TrialOutcome:
        values = self.run(ids, self.high_values.rows(reads, ids))
        return self.outcome(values[self.replay.output], ids)


class RecordedLayers(SampledLayers):
    """Sensitivities from recorded outcomes, its first pass and its pilot from the exact table."""

    engine: RecordedEngine

    def measured_base(self) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """See `SampledLayers.measured_base`."""
        return self.engine.table.correct, self.engine.table.margin

    def measured_pilot(self, ids: Ids) -> Entry:
        """See `SampledLayers.measured_pilot`; without divergences, which decide nothing."""
        table = self.engine.table
        layers = {name: [packed(np.packbits(bits[ids])), 0, [0.0] * 6] for name, bits in table.low_correct.items()}
        return {
            "correct": packed(np.packbits(table.correct[ids])),
            "margin": packed(table.margin[ids]),
            "layers": layers,
        }


class RecordedSearch(AdaptiveSearch):
    """The adaptive search on recorded outcomes."""

    engine: RecordedEngine

    def sampled_layers(self, alpha: float, seed: int) -> SampledLayers:
        """See `AdaptiveSearch.sampled_layers`."""
        return RecordedLayers(self.engine, self.cache, self.allowed, alpha, seed)


def opened(name: str, n: int, split: str, low: int | None) -> Problem:
    """The problem of an experiment on `n` samples of a split, drawn at random if it has more."""
    experiment = select(load_experiments(ROOT / "configs"), name)[0]
    runs = Runs(Settings(ROOT / "golden"))
    run = SearchRun(runs.run(experiment), low, "test" if split == "test" else "search")
    whole = run.problem.split
    if n >= len(whole):
        return run.problem
    drawn = np.sort(np.random.default_rng(0).permutation(len(whole))[:n])
    part = Split(whole.name, whole.side, drawn if whole.indices is None else whole.indices[drawn], whole.normalization)
    return Problem(run.model, part, run.low, run.high, run.names)


def measured(
    problem: Problem, epsilon_pp: float, mode: Mode | Literal["naive"], memory_bytes: int, delta: float
) -> tuple[SearchResult, int]:
    """One search, and the most memory that the process had meanwhile."""
    reset_peak()
    with progress(mode) as show:
        if mode == "naive":
            found = naive_search(problem, epsilon_pp, show)
        else:
            found = search(problem, epsilon_pp, mode, delta=delta, memory_bytes=memory_bytes, show=show)
    return found, resident().peak


def check_equal(exact: SearchResult, naive: SearchResult) -> None:
    """Ends the script unless both have the same table and the same decisions."""
    for one, other in zip(exact.sensitivities, naive.sensitivities, strict=True):
        if (one.layer, one.lost, one.gained, one.correct) != (other.layer, other.lost, other.gained, other.correct):
            sys.exit(f"the sensitivities of {one.layer} differ: {one} against {other}")
    for mine, theirs in zip(exact.decisions, naive.decisions, strict=True):
        same_drop = mine.reason == "early" or mine.drop_pp == theirs.drop_pp
        if (mine.layer, mine.accepted) != (theirs.layer, theirs.accepted) or not same_drop:
            sys.exit(f"the decisions differ: {mine} against {theirs}")
    if (exact.bits, exact.correct) != (naive.bits, naive.correct):
        sys.exit(f"what was found differs: {exact.bits} against {naive.bits}")


def wrong_decisions(engine: RecordedEngine, searcher: RecordedSearch) -> int:
    """Decisions outside of the zone that whole passes of the same configurations would not give."""
    accepted: set[str] = set()
    wrong, right = 0, int(engine.table.correct.sum())
    for each in searcher.decisions:
        low = frozenset({*accepted, each.layer})
        lost = right - int(engine.of(low).correct.sum())
        wrong += abs(lost - searcher.allowed) > searcher.zone and each.accepted != (lost <= searcher.allowed)
        accepted |= {each.layer} if each.accepted else set()
    return wrong


def repeat(problem: Problem, epsilon_pp: float, arguments: argparse.Namespace, exact: SearchResult) -> None:
    """Repeats the adaptive search and prints how often it was right."""
    engine = RecordedEngine(problem, arguments.memory)
    allowed = allowed_drop(epsilon_pp, engine.n, problem.split.name)
    right = same = 0
    with progress("repetitions") as show:
        for seed in range(arguments.repetitions):
            cache = ActivationCache(engine.replay, engine.names, engine.n, 0)
            searcher = RecordedSearch(engine, cache, allowed, arguments.delta, seed)
            searcher.run(Ledger(engine, None, None, 1))
            right += wrong_decisions(engine, searcher) == 0
            bits = [problem.low if name in searcher.accepted else problem.high for name in engine.names]
            same += bits == exact.bits
            show.update(seed + 1, arguments.repetitions, f"{right} right")
    n = arguments.repetitions
    interval = wilson_interval(right, n)
    print(
        f"\nAdaptive, δ = {arguments.delta:g}: in {right} of {n} seeded repetitions all decisions outside of "
        f"ε ± {ZONE_PP} pp were right; the 95 % interval of that share is {100 * interval.low:.0f} to "
        f"{100 * interval.high:.0f} %. {same} of {n} found the bits of the exact search. "
        f"{len(engine.outcomes)} configurations were tried."
    )
    if right < (1 - arguments.delta) * n:
        sys.exit("the adaptive search was wrong more often than it promised")


def table(results: Mapping[Mode | Literal["naive"], tuple[SearchResult, int]]) -> None:
    """Prints costs side by side."""
    naive = results["naive"][0]
    print("| mode | passes | fewer MACs | seconds | less time | kept, MB | peak RSS, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for mode, (found, peak) in results.items():
        passes = found.macs_spent / (found.macs_naive / (1 + 2 * len(found.names)))
        print(
            f"| {mode} | {passes:.2f} | {naive.macs_spent / found.macs_spent:.2f}× | {found.seconds:.1f} | "
            f"{naive.seconds / found.seconds:.2f}× | {found.memory_bytes / 1e6:,.0f} | {peak / 1e6:,.0f} |"
        )


def log(found: SearchResult) -> None:
    """Prints the decisions of one search."""
    print("\n| layer | drop, pp | samples | decision | why |\n| --- | ---: | ---: | --- | --- |")
    for each in found.decisions:
        drop = "–" if each.drop_pp is None else f"{each.drop_pp:+.2f}"
        print(f"| {each.layer} | {drop} | {each.n:,} | {'kept low' if each.accepted else 'put back'} | {each.reason} |")


def main() -> None:
    """Prints the tables and fails where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", default="vgg16_cifar10/low_bit_4")
    parser.add_argument("--n", type=int, default=10_000, help="samples")
    parser.add_argument(
        "--split", choices=["test", "search"], default="test", help="section C searches on the test split"
    )
    parser.add_argument("--epsilon", type=float, default=1.0, help="pp")
    parser.add_argument("--low", type=int, help="width that layers are tried at; 2, or 8 for layers in fp32")
    parser.add_argument("--memory", type=float, default=2e9, help="bytes for values kept between forwards")
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.memory = int(arguments.memory)
    torch.set_num_threads(arguments.threads)
    problem = opened(arguments.experiment, arguments.n, arguments.split, arguments.low)
    print(
        f"{arguments.experiment}, n = {len(problem.split):,} of '{problem.split.name}', ε = {arguments.epsilon:g} pp, "
        f"{problem.high} → {problem.low} bits, {arguments.threads} threads\n",
        flush=True,
    )
    # Loads kernels and thread pools before anything is timed.
    with torch.inference_mode():
        problem.model(torch.from_numpy(next(problem.split.batches(64))[INPUT]))
    modes: tuple[Mode | Literal["naive"], ...] = ("naive", "exact", "adaptive")
    results = {mode: measured(problem, arguments.epsilon, mode, arguments.memory, arguments.delta) for mode in modes}
    check_equal(results["exact"][0], results["naive"][0])
    table(results)
    if results["exact"][0].full_passes:
        print("\nEvery forward was a whole one: values upstream of a changed layer could not be reused.")
    print(
        f"\nExact: the published loop's table to the last sample, and its decisions. Bits {results['exact'][0].bits}."
    )
    log(results["exact"][0])
    log(results["adaptive"][0])
    sys.stdout.flush()
    if arguments.repetitions:
        repeat(problem, arguments.epsilon, arguments, results["exact"][0])
    naive, exact, adaptive = (results[mode][0] for mode in modes)
    if naive.macs_spent < max(EXACT_MACS * exact.macs_spent, ADAPTIVE_MACS * adaptive.macs_spent):
        sys.exit(f"fewer MACs were promised: {EXACT_MACS}× exact, {ADAPTIVE_MACS}× adaptive")
    if naive.seconds < EXACT_TIME * exact.seconds:
        sys.exit(f"less time was promised: {EXACT_TIME}× exact")


if __name__ == "__main__":
    main()
