"""Accepted facts under version control: where they lie, how they differ from what was found, which are orphans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quantbench.config import Experiment
from quantbench.errors import CheckpointError

# The engine whose goldens carry no suffix; other engines choose other observers and so have goldens of their own.
DEFAULT_ENGINE = "x86"
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
    path = golden / "checkpoints" / f"{name}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); restore it from version control") from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, not a checkpoint's description; restore it from version control"
        )
    return content


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


def orphans(golden: Path, experiments: list[Experiment]) -> list[Path]:
    """Checkpoint goldens that no configured experiment claims, whichever engine they are for."""
    folder = golden / "checkpoints"
    known = {experiment.id for experiment in experiments}
    return [
        path
        for path in sorted(folder.rglob("*.json"))
        if path.relative_to(folder).with_suffix("").as_posix().partition("@")[0] not in known
    ]


def _leaves(value: Any, path: str) -> list[tuple[str, str]]:
    """Leaves of nested dictionaries as (path, compact JSON); lists count as leaves, so that a shape reads as one."""
    if isinstance(value, dict) and value:
        return [leaf for key in sorted(value) for leaf in _leaves(value[key], f"{path} / {key}" if path else key)]
    return [(path, json.dumps(value))]
