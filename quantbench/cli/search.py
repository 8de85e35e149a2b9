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
from quantbench.stopping import HINT, status

if TYPE_CHECKING:
    from quantbench.config.schema import SearchConfig
    from quantbench.records.costs import Measure
    from quantbench.records.search import BudgetRecord, SearchRecord
    from quantbench.report.search import Record
    from quantbench.report.search_plot import Fronts
    from quantbench.search.many import Wanted
    from quantbench.search.run import SearchRun

ExperimentId = Annotated[str, typer.Argument(help="An experiment's id.")]
Low = Annotated[int | None, typer.Option(help="Bits that layers are tried at; default: the experiment's, or 8 or 2.")]
Layers = Annotated[list[str] | None, typer.Option("--layer", help="Try only this layer; may be repeated.")]
Json = Annotated[Path | None, typer.Option(help="Write the record to this file.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run of the same kept.")]
SearchJobs = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        help="Search every experiment that matches, so many at once, or by the workers of dask:tcp://HOST:PORT.",
    ),
]
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
    jobs: SearchJobs = None,
    json: Json = None,
    out: Out = OUT,
    fresh: Fresh = False,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Find layers that can do with fewer bits, on the search split, and confirm that on the test split.

    With --jobs every experiment that matches is searched. A killed run continues from its last decision. Exit status: 0
    found, 2 something is wrong, 130 interrupted (143 by SIGTERM).
    """
    from quantbench.report.search_documents import with_section
    from quantbench.search.many import Wanted
    from quantbench.search.settings import SearchSettings

    budget = budget_of(budget_bytes, budget_bits, budget_bitops)
    if budget and (epsilon is not None or mode is SearchMode.ADAPTIVE):
        raise ConfigError("a budget takes the place of --epsilon and --mode; drop them, or the budget")
    memory_bytes = memory_bytes_of(memory)
    allow_download(real_data)
    check_out("search", json, out)

    def wanted(own: SearchConfig | None) -> Wanted:
        epsilon_pp = epsilon if epsilon is not None else own.epsilon_pp if own else EPSILON_PP
        settings = SearchSettings(epsilon_pp, mode.value, delta, seed)
        own_low = low if low is not None or own is None else own.low
        return Wanted(own_low, tuple(layer or ()), budget, settings, memory_bytes, fresh, _command())

    if jobs is not None:
        _search_each(experiment, jobs, wanted, configs, golden, engine, json or into, out)
        return
    if into:
        with_section(into, experiment, "")
    searched = open_search(experiment, low, layer, SplitName.SEARCH, configs, golden, engine)
    asked = wanted(searched.run.experiment.config.search)
    _draw(_interruptible(searched, lambda: asked.of(searched)), json, out, into)


def _search_each(
    pattern: str,
    jobs: str,
    wanted: Callable[[SearchConfig | None], Wanted],
    configs: Path,
    golden: Path,
    engine: str | None,
    given: Path | None,
    out: Path,
) -> None:
    """Searches every experiment that matches, writes each one's files, and fails where one has none."""
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.errors import QuantbenchError, named
    from quantbench.jobs.places import check_jobs
    from quantbench.search.many import search_each

    check_jobs(jobs)
    if given:
        raise ConfigError(f"--jobs: {given} is one place, and each search has a record; drop --json and --into")
    cells = [(each, wanted(each.config.search)) for each in select(load_experiments(configs), pattern)]
    try:
        ended = search_each(cells, golden, engine, jobs)
    except KeyboardInterrupt:
        print(f"quantbench: {HINT}", file=sys.stderr)
        raise typer.Exit(status()) from None
    for each in ended.values():
        if each.result is not None:
            _draw(each.result, out / f"{_stem('search', each.result)}.json", out)
    if failed := [named(name, each.failed) for name, each in ended.items() if each.result is None]:
        raise QuantbenchError("\n".join(failed))


def _draw(record: SearchRecord | BudgetRecord, json: Path | None, out: Path, into: Path | None = None) -> None:
    """Writes the pictures and documents of what was found, and prints it."""
    from quantbench.report.search_plot import fronts_plot, layers_plot

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
