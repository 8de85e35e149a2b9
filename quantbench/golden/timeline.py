"""Accepted results through time: from the commits of their folder, or from the history that each of them holds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from quantbench.errors import ConfigError, QuantbenchError
from quantbench.golden.accepted import AcceptedResult
from quantbench.golden.history import read_history
from quantbench.golden.results import MAX_GOLDEN_BYTES, RESULTS
from quantbench.records.trend import Observation
from quantbench.stats.proportions import wilson_interval

# Metric → its name with its unit, and the factor of the unit.
METRICS = {
    "accuracy": ("accuracy, %", 100.0),
    "drop_pp": ("accuracy lost, pp", 1.0),
    "score": ("score", 1.0),
    "score_drop": ("score lost", 1.0),
    "size_ratio": ("size, ×", 1.0),
    "int8_share": ("int8 share, %", 100.0),
}
# A line of the history: `name: old → new`, with an interval behind a speed-up.
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
CHANGE = re.compile(rf"(?P<name>.+): .* → (?P<value>{NUMBER})×?(?: \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\])?")
# Version of torch in the words for a class of machine.
TORCH_OF_MACHINE = re.compile(r", torch [^,]+")
# Between fields of a commit, which no date or hash holds.
FIELD = "\x1f"
# Seconds that git may take for all of it.
PATIENCE = 120


@dataclass
class Timeline:
    """Figures of accepted results, the oldest first.

    Attributes:
        observations: of all.
        notes: lines about what could not be read.
        is_of_git: commits were read.
    """

    observations: list[Observation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_of_git: bool = False


def timeline(golden: Path) -> Timeline:
    """Accepted results of a folder of goldens through time.

    From the commits that changed them where the folder is under version control by git; else from the history that each
    golden holds, which tells figures without most of their intervals.

    Raises:
        ConfigError: if the folder holds no accepted result.
    """
    folder = golden / RESULTS.folder
    if not any(folder.rglob("*.json")) and not folder.is_dir():
        raise ConfigError(
            f"{golden}: holds no accepted results (results/*/*.json); name a folder of goldens or records"
        )
    found = _of_commits(folder)
    return found if found.observations else _of_histories(golden)


def _of_commits(folder: Path) -> Timeline:
    """Every version of every result that was committed."""
    found, unread = Timeline(is_of_git=True), 0
    try:
        versions = list(_versions(folder))
        texts = _blobs(folder, [f"{commit}:{path}" for commit, _, path in versions])
    except (OSError, subprocess.SubprocessError):
        return found
    for (commit, date, _), text in zip(versions, texts, strict=True):
        if text is None:
            continue
        try:
            found.observations += _observed(AcceptedResult.model_validate_json(text), date, commit[:9])
        except (ValidationError, ValueError, QuantbenchError):
            unread += 1
    if unread:
        found.notes.append(f"{unread} versions of accepted results could not be read, and are left out")
    if _is_shallow(folder):
        found.notes.append(
            f"{folder}: this is a shallow clone, which lacks the commits before; git fetch --unshallow (in CI: "
            "fetch-depth: 0)"
        )
    return found


def _is_shallow(folder: Path) -> bool:
    """True where older commits are not here; False where git does not say."""
    try:
        return _git(folder, "rev-parse", "--is-shallow-repository").strip() == "true"
    except (OSError, subprocess.SubprocessError):
        return False


def _versions(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Commit, day and path within the repository of each version, the oldest first."""
    logged = _git(folder, "log", "--reverse", f"--format={FIELD}%H{FIELD}%cs", "--name-only", "--relative", "--", ".")
    commit = date = ""
    for line in logged.splitlines():
        if line.startswith(FIELD):
            _, commit, date = line.split(FIELD)
        elif line.endswith(".json"):
            yield commit, date, f"./{line}"


def _blobs(folder: Path, names: list[str]) -> list[bytes | None]:
    """Contents by `commit:path`; None of a file that the commit removed, or that is larger than any result."""
    asked = "".join(f"{name}\n" for name in names).encode()
    command = ["git", "-C", str(folder), "cat-file", "--batch"]
    raw = subprocess.run(command, input=asked, capture_output=True, check=True, timeout=PATIENCE).stdout  # noqa: S603
    contents: list[bytes | None] = []
    for _ in names:
        head, _, raw = raw.partition(b"\n")
        words = head.split(b" ")
        if words[-1] == b"missing" or len(words) != 3:
            contents.append(None)
            continue
        size = int(words[2])
        contents.append(raw[:size] if size <= MAX_GOLDEN_BYTES else None)
        raw = raw[size + 1 :]
    return contents


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(  # noqa: S603
        command, capture_output=True, check=True, timeout=PATIENCE, encoding="utf-8", errors="replace"
    ).stdout


def _observed(result: AcceptedResult, date: str, source: str) -> Iterator[Observation]:
    machine, reason = str(result.machine), result.history[-1].reason if result.history else ""
    for name, value in result.metrics.items():
        if name not in METRICS:
            continue
        title, factor = METRICS[name]
        interval = None
        if name == "accuracy" and result.correct is not None:
            own = wilson_interval(int(result.bits.sum()), result.n)
            interval = (100 * own.low, 100 * own.high)
        yield Observation(
            result.experiment, title, date, factor * value, interval, machine, result.versions, reason, source
        )
    for each in result.speedups:
        title = _speedup_on(str(each.machine))
        yield Observation(
            result.experiment, title, date, each.speedup, each.speedup_interval, str(each.machine), result.versions,
            reason, source,
        )  # fmt: skip


def _speedup_on(machine: str) -> str:
    """Name of a speed-up, the same for all versions of torch on one class of machine, so that they are one series."""
    return f"speed-up, × on {TORCH_OF_MACHINE.sub('', machine)}"


def _of_histories(golden: Path) -> Timeline:
    """Figures that the histories of goldens tell as `name: old → new`."""
    found = Timeline()
    for experiment, path in RESULTS.files(golden):
        for entry in read_history(path):
            if not isinstance(entry, dict):
                continue
            date, reason = str(entry.get("date", "")), str(entry.get("reason", ""))
            for line in entry.get("changed") or ():
                told = CHANGE.fullmatch(str(line))
                if told and (made := _told(experiment, told, date, reason)):
                    found.observations.append(made)
    found.observations.sort(key=lambda each: each.when)
    if not found.observations:
        found.notes.append(f"{golden}: no history of an accepted result tells a figure")
    return found


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _told(experiment: str, told: re.Match[str], date: str, reason: str) -> Observation | None:
    name, value = told["name"], _number(told["value"])
    interval = (_number(told["low"]), _number(told["high"])) if told["low"] else None
    if name.startswith("speed-up on "):
        machine = name.removeprefix("speed-up on ")
        return Observation(experiment, _speedup_on(machine), date, value, interval, machine, {}, reason)
    if name not in METRICS:
        return None
    title, factor = METRICS[name]
    return Observation(experiment, title, date, factor * value, None, "", {}, reason)
