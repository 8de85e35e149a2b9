"""Inputs of `quantbench sensitivity` and `search`: which search, and what it may cost."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.errors import ConfigError
from quantbench.extras import require

if TYPE_CHECKING:
    from quantbench.records.costs import Measure
    from quantbench.search.run import SearchRun


class SplitName(StrEnum):
    """Splits that `sensitivity` can measure on."""

    SEARCH = "search"
    TEST = "test"


def open_search(
    experiment: str,
    low: int | None,
    layers: list[str] | None,
    split: SplitName,
    configs: Path,
    golden: Path,
    engine: str | None,
) -> SearchRun:
    """The search of one experiment, at its own low width where none is given."""
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.search.run import SearchRun

    selected = select(load_experiments(configs), experiment)
    if len(selected) > 1:
        raise ConfigError(f"{experiment}: {len(selected)} experiments match; name one, such as {selected[0].id}")
    own = selected[0].config.search
    wanted = low if low is not None or own is None else own.low
    return SearchRun(Runs(Settings(golden, engine)).run(selected[0]), wanted, split.value, layers or ())


def budget_of(
    budget_bytes: float | None, budget_bits: float | None, budget_bitops: float | None
) -> tuple[Measure, float] | None:
    """The one budget that is given, or None.

    Raises:
        ConfigError: if several are, or it is no number above zero.
    """
    from quantbench.records.costs import Measure

    measures = (Measure.BYTES, Measure.BITS, Measure.BIT_OPERATIONS)
    given = [
        (measure, limit)
        for measure, limit in zip(measures, (budget_bytes, budget_bits, budget_bitops), strict=True)
        if limit is not None
    ]
    if len(given) > 1:
        raise ConfigError("--budget-bytes, --budget-bits and --budget-bitops: give one of them")
    if given and not (math.isfinite(given[0][1]) and given[0][1] > 0):
        raise ConfigError(f"a budget of {given[0][1]:g} {given[0][0]} is none; give a number above zero")
    return given[0] if given else None


def memory_bytes_of(text: str) -> int:
    """Bytes that `--memory` names.

    Raises:
        ConfigError: if it names none.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size <= 0:
        raise ConfigError(f"--memory {text}: is no number of bytes above zero; write it as 500MB, 2GB or 1.5GiB")
    return size


def check_out(command: str, json: Path | None, out: Path) -> None:
    """Before minutes of measuring, not after."""
    require(f"quantbench {command}", "matplotlib")
    from quantbench.report.documents import check_place

    if json:
        check_place(json)
    out.mkdir(parents=True, exist_ok=True)
