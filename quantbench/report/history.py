"""Figures through time, as a table: each beside the one before it, with changes of machine and version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantbench.records.base import Environment
from quantbench.records.run import RunRecord
from quantbench.records.trend import Observation
from quantbench.report.documents import read_file
from quantbench.report.tables import NOTHING, plain_table

COLUMNS = ("when", "value [interval]", "change", "what else changed")


@dataclass(frozen=True)
class Series:
    """One quantity of one experiment, the oldest figure first.

    Attributes:
        experiment: its id.
        quantity: its name with its unit.
        observations: at least one.
    """

    experiment: str
    quantity: str
    observations: tuple[Observation, ...]


def of_records(paths: Sequence[Path]) -> list[Observation]:
    """Figures of files of records, in the order of the files.

    Raises:
        ConfigError: if one cannot be read.
    """
    return [each for path in paths for record in read_file(path).records for each in _of_record(record, path.name)]


def _of_record(record: RunRecord, when: str) -> Iterable[Observation]:
    figures: list[tuple[str, float, tuple[float, float] | None]] = []
    if accuracy := record.accuracy:
        low, high = accuracy.quantized_interval
        figures.append(("accuracy, %", 100 * accuracy.quantized, (100 * low, 100 * high)))
        figures.append(("accuracy lost, pp", accuracy.drop_pp, accuracy.drop_interval_pp))
    if score := record.score:
        figures.append(("score", score.candidate, score.candidate_interval))
        figures.append(("score lost", score.drop, score.interval))
    if record.size:
        figures.append(("size, ×", record.size.ratio, None))
    if record.memory and record.memory.ratio is not None:
        figures.append(("memory, ×", record.memory.ratio, record.memory.ratio_range))
    if record.coverage:
        figures.append(("int8 share, %", 100 * record.coverage.int8_share, None))
    machine = machine_of(record.environment)
    if record.latency:
        title = f"speed-up, × on {machine}, engine {record.engine}, {record.latency.threads} thread(s)"
        figures.append((title, record.latency.speedup, record.latency.speedup_interval))
    versions = record.environment.versions
    for title, value, interval in figures:
        yield Observation(record.experiment, title, when, value, interval, machine, versions, source=record.command)


def machine_of(environment: Environment) -> str:
    """Processor and instruction sets in words."""
    return f"{environment.processor}, {environment.architecture} {' '.join(environment.isa)}"


def series_of(observations: Iterable[Observation]) -> list[Series]:
    """Observations by experiment and quantity, in the order in which they are first met."""
    found: dict[tuple[str, str], list[Observation]] = {}
    for each in observations:
        found.setdefault((each.experiment, each.quantity), []).append(each)
    order = {id_: i for i, id_ in enumerate(dict.fromkeys(id_ for id_, _ in found))}
    keys = sorted(found, key=lambda key: order[key[0]])
    return [Series(*key, tuple(found[key])) for key in keys]


def surroundings(before: Observation, after: Observation) -> list[str]:
    """Another machine, and other versions, where both are known."""
    words = []
    if before.machine and after.machine and before.machine != after.machine:
        words.append(f"machine: {before.machine} → {after.machine}")
    known = before.versions.keys() & after.versions.keys()
    return words + [
        f"{name} {before.versions[name]} → {after.versions[name]}"
        for name in sorted(known)
        if before.versions[name] != after.versions[name]
    ]


def changes(before: Observation | None, after: Observation) -> list[str]:
    """Changes beside the figure: another machine, other versions, and the reason of an acceptance."""
    words = [] if before is None else surroundings(before, after)
    if after.reason and (before is None or before.reason != after.reason):
        words.append(after.reason)
    return words


def rows(series: Series) -> list[tuple[str, ...]]:
    """A row for each figure that differs from the one before it in anything, in the order of `COLUMNS`."""
    listed: list[tuple[str, ...]] = []
    before: Observation | None = None
    for each in series.observations:
        beside = changes(before, each)
        is_same = before is not None and (before.value, before.interval) == (each.value, each.interval)
        if not is_same or beside:
            listed.append((_when(each), figure(each), _change(before, each), "; ".join(beside) or NOTHING))
        before = each
    return listed


def _when(each: Observation) -> str:
    return f"{each.when} {each.source}" if each.source and " " not in each.source else each.when


def figure(each: Observation) -> str:
    """A figure with its interval."""
    if each.interval is None:
        return f"{each.value:.4g}"
    return f"{each.value:.4g} [{each.interval[0]:.4g}, {each.interval[1]:.4g}]"


def _change(before: Observation | None, after: Observation) -> str:
    if before is None:
        return "first"
    change = after.value - before.value
    return f"{change:+.3g}" if abs(change) > 1e-12 * max(1.0, abs(after.value)) else "same"


def history_text(found: Sequence[Series], notes: Sequence[str] = ()) -> str:
    """All series for the terminal."""
    parts = [
        f"{each.experiment}: {each.quantity}\n{plain_table(COLUMNS, rows(each), text_last=True)}" for each in found
    ]
    return "\n".join([*parts, *(f"{note}\n" for note in notes)])
