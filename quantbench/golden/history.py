"""Files of goldens, written whole or not at all below the history of their acceptances."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from quantbench.errors import GoldenError
from quantbench.files import write_json
from quantbench.strict_json import read_json_value


def read_history(path: Path) -> list[Any]:
    """When and why a golden was accepted, oldest first; empty where there is none."""
    try:
        history = read_json_value(path)["history"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return history if isinstance(history, list) else []


def write_golden(
    path: Path,
    content: dict[str, Any],
    reason: str,
    changes: list[str] | None = None,
    today: datetime.date | None = None,
) -> None:
    """Writes an accepted fact below its history, which grows by one entry.

    Args:
        path: its file.
        content: the fact, without a history.
        reason: of the new entry.
        changes: the same, old → new; None where the history does not tell them.
        today: date of the new entry.

    Raises:
        GoldenError: if it cannot be written; what was there stays.
    """
    entry: dict[str, Any] = {"date": str(today or datetime.date.today()), "reason": reason}
    if changes is not None:
        entry["changed"] = changes
    try:
        write_json(path, {**content, "history": [*read_history(path), entry]})
    except OSError as error:
        raise GoldenError(f"{path}: cannot be written ({error.strerror}); what was accepted stays as it was") from None
