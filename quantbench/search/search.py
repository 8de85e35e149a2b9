"""Per-layer sensitivities and the greedy mixed-precision search: the entry points."""

from __future__ import annotations

from typing import Protocol

from quantbench.measure.allocator import keep_freed_memory
from quantbench.progress import Progress
from quantbench.records.base import pack_bits
from quantbench.records.search import Decision, LayerSensitivity
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.adaptive import AdaptiveSearch
from quantbench.search.engine import Engine, allowed_drop
from quantbench.search.exact import ExactSearch
from quantbench.search.ledger import Ledger
from quantbench.search.problem import Entry, Journal, Mode, Problem, SearchResult
from quantbench.search.sensitivity import Table, measured_table

__all__ = ["DEFAULT_MEMORY_BYTES", "Entry", "Journal", "Mode", "Problem", "SearchResult", "search", "sensitivities"]

# For values cached between forwards; the model and the batch in work come on top.
DEFAULT_MEMORY_BYTES = 2 << 30


def sensitivities(
    problem: Problem, journal: Journal | None = None, show: Progress | None = None
) -> list[LayerSensitivity]:
    """Accuracy, SQNR and divergence with each layer alone at the low width, on every sample.

    See `measured`.
    """
    return measured(problem, journal, show)[0]


def measured(
    problem: Problem, journal: Journal | None = None, show: Progress | None = None
) -> tuple[list[LayerSensitivity], str]:
    """Sensitivities, and why every forward was a whole one, empty where values were reused.

    Args:
        problem: model, split and widths.
        journal: of an earlier, killed call of the same problem; None to begin anew and keep nothing.
        show: progress, in passes.

    Returns:
        One sensitivity per layer, in the model's order, and the reason.

    Raises:
        QuantizationError: if no layer can be switched, a layer does not exist, or has no such width.
        EvaluationError: if the model's output does not fit the labels, or is not finite with all layers high.
    """
    # Each batch allocates large blocks, which would be faulted in anew every time.
    keep_freed_memory()
    engine = Engine(problem)
    table = measured_table(engine, Ledger(engine, journal, show, 1 + len(engine.names)))
    return table.records(), engine.replay.not_replayable


def search(
    problem: Problem,
    epsilon_pp: float,
    mode: Mode = "exact",
    *,
    delta: float = 0.05,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    seed: int = 0,
    journal: Journal | None = None,
    show: Progress | None = None,
) -> SearchResult:
    """Greedy mixed precision: layers from least to most sensitive, each kept at the low width if the total drop allows.

    Args:
        problem: model, split and widths.
        epsilon_pp: total drop that is accepted, percentage points.
        mode: `exact` for the decisions of the published way at less cost; `adaptive` for those of a stated risk at much
            less.
        delta: in adaptive mode, the risk of any wrong decision outside the indifference zone.
        memory_bytes: for values cached between forwards.
        seed: of the samples drawn in adaptive mode.
        journal: of an earlier, killed search of the same problem and settings; the caller keys it by all that decides
            the result. None to begin anew and keep nothing.
        show: progress, in passes of the published way.

    Raises:
        QuantizationError: as `sensitivities`.
        EvaluationError: as `sensitivities`.
        StatisticsError: if ε is below zero, δ is no probability, or the split is too small to decide about ε.
    """
    allowed = allowed_drop(epsilon_pp, len(problem.split), problem.split.name)
    keep_freed_memory()
    engine = Engine(problem)
    ledger = Ledger(engine, journal, show, published_passes(engine))
    cache = ActivationCache(engine.replay, engine.names, engine.n, memory_bytes)
    searcher: ExactSearch | AdaptiveSearch
    if mode == "adaptive":
        searcher = AdaptiveSearch(engine, cache, allowed, delta, seed)
    else:
        searcher = ExactSearch(engine, measured_table(engine, ledger, cache), cache, allowed)
    searcher.run(ledger)
    return result_of(searcher, engine, ledger, cache.peak_bytes)


class FinishedSearch(Protocol):
    """A search that has run: its table of sensitivities and its decisions."""

    @property
    def table(self) -> Table:
        """Correctness with all layers high, and with each alone at the low width."""

    @property
    def decisions(self) -> list[Decision]:
        """One per layer, in the order of the search."""

    @property
    def accepted(self) -> list[str]:
        """Layers kept at the low width."""

    def records(self) -> list[LayerSensitivity]:
        """One per layer, in the model's order."""


def published_passes(engine: Engine) -> int:
    """Passes of the published way: one with all layers high, one per layer alone, one per decision."""
    return 1 + 2 * len(engine.names)


def result_of(searched: FinishedSearch, engine: Engine, ledger: Ledger, memory_bytes: int) -> SearchResult:
    """The outcome of a finished search with its costs.

    Args:
        searched: after its run.
        engine: that it ran on.
        ledger: that counted its work.
        memory_bytes: most that cached values took.
    """
    return SearchResult(
        names=engine.names,
        bits=[engine.low if name in searched.accepted else engine.high for name in engine.names],
        n=engine.n,
        correct=pack_bits(searched.table.correct),
        accuracy=float(searched.table.correct.mean()),
        sensitivities=searched.records(),
        decisions=searched.decisions,
        layer_macs=engine.replay.layer_macs,
        macs_spent=ledger.macs,
        macs_naive=published_passes(engine) * engine.replay.macs * engine.n,
        seconds=ledger.seconds,
        memory_bytes=memory_bytes,
        full_passes=engine.replay.not_replayable,
    )
