"""Searches of several experiments, each a cell of a sweep, with the record that it has when it is searched alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantbench.config.schema import Experiment
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.jobs.sweep import run_each
from quantbench.jobs.worker import Ended
from quantbench.progress import Progress, progress
from quantbench.records.costs import Measure
from quantbench.records.search import BudgetRecord, SearchRecord
from quantbench.search.run import SearchRun
from quantbench.search.settings import SearchSettings
from quantbench.torch_process import get_threads, set_threads

# Steps of a search on the display, whose number nobody knows before.
STEPS = 100


@dataclass(frozen=True)
class Wanted:
    """A search, as the command line asks for it.

    Attributes:
        low: width that layers are tried at; None for the experiment's own.
        layers: to be tried; none for all.
        budget: measure and limit, in the place of `settings`.
        settings: ε, mode, risk and seed.
        memory_bytes: for values kept between forwards.
        fresh: forget what an earlier one kept.
        command: for the record.
    """

    low: int | None
    layers: Sequence[str]
    budget: tuple[Measure, float] | None
    settings: SearchSettings
    memory_bytes: int
    fresh: bool
    command: str

    def of(self, searched: SearchRun) -> SearchRecord | BudgetRecord:
        """The record of what is found."""
        if self.budget:
            return searched.within(*self.budget, self.command, self.fresh)
        return searched.search(self.settings, self.command, self.memory_bytes, self.fresh)


@dataclass(frozen=True)
class SearchJob:
    """All that a worker needs to search one experiment.

    Attributes:
        golden: folder of goldens and baselines.
        engine: quantized engine.
        threads: as many as where it is searched alone.
    """

    experiment: Experiment
    golden: Path
    engine: str | None
    wanted: Wanted
    threads: int


def search_one(job: SearchJob, show: Progress) -> SearchRecord | BudgetRecord:  # noqa: ARG001 — shown by what it calls
    """Searches one experiment."""
    set_threads(job.threads)
    run = Runs(Settings(job.golden, job.engine)).run(job.experiment)
    return job.wanted.of(SearchRun(run, job.wanted.low, "search", job.wanted.layers))


def search_each(
    wanted: Sequence[tuple[Experiment, Wanted]], golden: Path, engine: str | None, jobs: str
) -> dict[str, Ended[SearchRecord | BudgetRecord]]:
    """Searches several experiments, some of them at once.

    Args:
        wanted: experiments, and what is searched in each.
        golden: folder of goldens and baselines.
        engine: quantized engine.
        jobs: place and number, as `--jobs` has them.

    Returns:
        The outcome by experiment, in their order.

    Raises:
        ConfigError: if there is no such place.
        KeyboardInterrupt: when interrupted; finished steps are kept.
    """
    threads = get_threads()
    cells = {each.id: SearchJob(each, golden, engine, asked, threads) for each, asked in wanted}
    with progress(f"searching {len(cells)} experiments") as show:
        return run_each(search_one, cells, dict.fromkeys(cells, STEPS), show, jobs, threads)
