"""`quantbench sensitivity` and `quantbench search`: which layers can do with fewer bits."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, OUT, Configs, Engine, Golden, Out, RealData, allow_download
from quantbench.cli.search_inputs import SplitName, budget_of, check_out, memory_bytes_of, open_search
from quantbench.errors import ConfigError
from quantbench.stopping import status

if TYPE_CHECKING:
    from quantbench.records.costs import Measure
    from quantbench.records.search import BudgetRecord, SearchRecord
    from quantbench.report.search import Record
    from quantbench.report.search_plot import Fronts
    from quantbench.search.run import SearchRun

ExperimentId = Annotated[str, typer.Argument(help="An experiment's id.")]
Low = Annotated[int | None, typer.Option(help="Bits that layers are tried at; default: the experiment's, or 8 or 2.")]
Layers = Annotated[list[str] | None, typer.Option("--layer", help="Try only this layer; may be repeated.")]
Json = Annotated[Path | None, typer.Option(help="Write the record to this file.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run of the same kept.")]
EPSILON_PP = 1.0
R = TypeVar("R")


class SearchMode(StrEnum):
    """Modes in which `search` decides."""

    EXACT = "exact"
    ADAPTIVE = "adaptive"


def sensitivity(
    experiment: ExperimentId,
    low: Low = None,
    layer: Layers = None,
    split: Annotated[SplitName, typer.Option(help="Samples to measure on.")] = SplitName.SEARCH,
    json: Json = None,
    out: Out = OUT,
    fresh: Fresh = False,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Measure what each layer alone costs at fewer bits: accuracy, SQNR and divergence; a killed run continues."""
    from quantbench.report.search_plot import layers_plot

    allow_download(real_data)
    check_out("sensitivity", json, out)
    searched = open_search(experiment, low, layer, split, configs, golden, engine)
    record = _interruptible(searched, lambda: searched.sensitivities(_command(), fresh))
    plots = [out / f"{_stem('sensitivity', record)}.{suffix}" for suffix in ("png", "svg")]
    layers_plot(record, plots)
    _tell(record, json, out / f"{_stem('sensitivity', record)}.md", plots)


def search(
    experiment: ExperimentId,
    epsilon: Annotated[
        float | None, typer.Option(help="Total drop accepted, pp; default: the experiment's, or 1.")
    ] = None,
    low: Low = None,
    layer: Layers = None,
    mode: Annotated[SearchMode, typer.Option(help="Every decision certain, or at a stated risk.")] = SearchMode.EXACT,
    delta: Annotated[float, typer.Option(help="With --mode adaptive: risk of any wrong decision.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="With --mode adaptive: of the samples drawn.")] = 0,
    memory: Annotated[str, typer.Option(help="For values kept between forwards, such as 500MB or 2GB.")] = "2GB",
    budget_bytes: Annotated[float | None, typer.Option(help="Instead: least drop within so many bytes.")] = None,
    budget_bits: Annotated[float | None, typer.Option(help="Instead: within so many bits on average.")] = None,
    budget_bitops: Annotated[float | None, typer.Option(help="Instead: within so many bit operations.")] = None,
    into: Annotated[Path | None, typer.Option(help="Also replace the marked section of this Markdown file.")] = None,
    json: Json = None,
    out: Out = OUT,
    fresh: Fresh = False,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Find layers that can do with fewer bits, on the search split, and confirm that on the test split.

    A killed run continues from its last decision. Exit status: 0, or 2 if something is wrong, 130 interrupted
    (143 by SIGTERM).
    """
    from quantbench.report.search_documents import with_section
    from quantbench.report.search_plot import fronts_plot, layers_plot
    from quantbench.search.settings import SearchSettings

    budget = budget_of(budget_bytes, budget_bits, budget_bitops)
    if budget and (epsilon is not None or mode is SearchMode.ADAPTIVE):
        raise ConfigError("a budget takes the place of --epsilon and --mode; drop them, or the budget")
    memory_bytes = memory_bytes_of(memory)
    allow_download(real_data)
    check_out("search", json, out)
    if into:
        with_section(into, experiment, "")
    searched = open_search(experiment, low, layer, SplitName.SEARCH, configs, golden, engine)
    if budget:
        measure, limit = budget
        record: SearchRecord | BudgetRecord = _interruptible(
            searched, lambda: searched.within(measure, limit, _command(), fresh)
        )
    else:
        own = searched.run.experiment.config.search
        epsilon_pp = epsilon if epsilon is not None else own.epsilon_pp if own else EPSILON_PP
        settings = SearchSettings(epsilon_pp, mode.value, delta, seed)
        record = _interruptible(searched, lambda: searched.search(settings, _command(), memory_bytes, fresh))
    stem = _stem("search", record)
    plots = [out / f"{stem}{kind}.{suffix}" for kind in ("_layers", "") for suffix in ("png", "svg")]
    layers_plot(record, plots[:2])
    fronts, drop_pp = _fronts(record)
    fronts_plot(record, fronts, drop_pp, plots[2:])
    _tell(record, json, out / f"{stem}.md", plots, into)


def _interruptible(searched: SearchRun, work: Callable[[], R]) -> R:
    """Runs the work and gives its result; Ctrl-C ends it with what is kept and how to go on."""
    try:
        return work()
    except KeyboardInterrupt:
        print(f"quantbench: {searched.interrupted()}", file=sys.stderr)
        raise typer.Exit(status()) from None


def _fronts(record: SearchRecord | BudgetRecord) -> tuple[dict[Measure, Fronts], float]:
    """The fronts against each measure, and the drop of what was found on the split that was searched."""
    from quantbench.records.costs import Measure
    from quantbench.report.search_plot import Fronts
    from quantbench.search.budget import Additive, additive_front
    from quantbench.search.visited import drop_of_result, visited_front

    model = Additive.of(record.layers, record.sensitivities, record.high, record.low)
    fronts = {each: Fronts(visited_front(record, each), additive_front(model, each)) for each in Measure}
    return fronts, drop_of_result(record)


def _stem(kind: str, record: Record) -> str:
    return f"{kind}_{record.experiment.replace('/', '_')}"


def _command() -> str:
    return shlex.join(["quantbench", *sys.argv[1:]])


def _tell(record: Record, json: Path | None, document: Path, plots: Sequence[Path], into: Path | None = None) -> None:
    from quantbench.report.search import text
    from quantbench.report.search_documents import write_search

    paths = write_search(record, document, json, into)
    print(text(record) + "\n" + "\n".join(map(str, [*plots, *paths])))
