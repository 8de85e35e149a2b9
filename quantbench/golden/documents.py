"""Accepted facts under version control: where they lie, how they differ from what was found, which are orphans."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from quantbench.config.schema import Experiment
from quantbench.errors import CheckpointError, GoldenError
from quantbench.files import write_json
from quantbench.recipes.translation import neutral

# The engine whose goldens carry no suffix; other engines choose other observers and so have goldens of their own.
DEFAULT_ENGINE = "x86"
# Kinds of goldens of which there may be one for each engine.
BY_ENGINE = ("checkpoints", "searches")
MISSING = "(absent)"
# Lines of a difference that are shown; the rest is counted.
SHOWN_LINES = 24


def checkpoint_name(experiment: Experiment, engine: str) -> str:
    """The golden's path below `golden/checkpoints/`, without `.json`."""
    return experiment.id if engine == DEFAULT_ENGINE else f"{experiment.id}@{engine}"


def read_golden(golden: Path, name: str) -> dict[str, Any] | None:
    """An accepted checkpoint description, or None if none was accepted.

    Raises:
        CheckpointError: if the file is not JSON.
    """
    return read_document(golden / "checkpoints" / f"{name}.json")


def read_document(path: Path) -> dict[str, Any] | None:
    """The same by its file.

    Raises:
        CheckpointError: if the file is not JSON.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise CheckpointError(f"{path}: nested too deeply; restore it from version control") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); restore it from version control") from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, not a checkpoint's description; restore it from version control"
        )
    return dict(without_history(content))


def write_document(path: Path, document: dict[str, Any], reason: str) -> None:
    """Writes an accepted checkpoint description below the history of its acceptances, whole or not at all.

    Raises:
        GoldenError: if it cannot be written; what was there stays.
    """
    entry = {"date": str(datetime.date.today()), "reason": reason}
    try:
        write_json(path, {**document, "history": [*read_history(path), entry]})
    except OSError as error:
        raise GoldenError(f"{path}: cannot be written ({error.strerror}); what was accepted stays as it was") from None


def read_history(path: Path) -> list[Any]:
    """When and why a golden was accepted, oldest first; empty where there is none."""
    try:
        history = json.loads(path.read_text(encoding="utf-8"))["history"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return history if isinstance(history, list) else []


def without_history(content: Any) -> Any:
    """What was accepted, without when and why, its recipe in the words of today."""
    if not isinstance(content, dict):
        return content
    accepted = {key: value for key, value in content.items() if key != "history"}
    if isinstance(accepted.get("recipe"), dict):
        accepted["recipe"] = neutral(accepted["recipe"])
    return accepted


def differences(old: Any, new: Any) -> list[str]:
    """Every leaf that differs as `path: old → new`, in order of path."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    return [
        f"{path}: {before.get(path, MISSING)} → {after.get(path, MISSING)}"
        for path in sorted({*before, *after})
        if before.get(path, MISSING) != after.get(path, MISSING)
    ]


def shortened(lines: list[str]) -> str:
    """The first lines, indented, and how many more there are."""
    more = [f"… and {len(lines) - SHOWN_LINES} more"] if len(lines) > SHOWN_LINES else []
    return "\n".join(f"    {line}" for line in lines[:SHOWN_LINES] + more)


def golden_files(folder: Path) -> list[tuple[str, Path]]:
    """Every golden below a folder with the id of its experiment; some kinds may be for any engine."""
    found = [(path.relative_to(folder).with_suffix("").as_posix(), path) for path in sorted(folder.rglob("*.json"))]
    is_by_engine = folder.name in BY_ENGINE
    return [(name.partition("@")[0] if is_by_engine else name, path) for name, path in found]


def orphans(golden: Path, experiments: list[Experiment]) -> list[Path]:
    """Goldens that no configured experiment claims: checkpoints, results, and searches that none asks for."""
    known = {experiment.id for experiment in experiments}
    searched = {experiment.id for experiment in experiments if experiment.config.search is not None}
    claimed = {"checkpoints": known, "results": known, "searches": searched}
    return [path for folder, ids in claimed.items() for id_, path in golden_files(golden / folder) if id_ not in ids]


def _leaves(value: Any, path: str) -> list[tuple[str, str]]:
    """Leaves of nested dictionaries as (path, compact JSON); lists count as leaves, so that a shape reads as one."""
    if isinstance(value, dict) and value:
        return [leaf for key in sorted(value) for leaf in _leaves(value[key], f"{path} / {key}" if path else key)]
    return [(path, json.dumps(value))]
