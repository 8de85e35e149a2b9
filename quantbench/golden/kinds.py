"""The table of kinds of goldens. A new kind is a file beside this one, and its line here."""

from __future__ import annotations

from typing import Any

from quantbench.golden.baselines import BASELINES
from quantbench.golden.checkpoints import CHECKPOINTS
from quantbench.golden.gates import GATES
from quantbench.golden.interface import Kind, OnRequest
from quantbench.golden.results import RESULTS
from quantbench.golden.searches import SEARCHES

# Folder below that of all goldens → kind.
KINDS: dict[str, Kind[Any]] = {kind.folder: kind for kind in (BASELINES, CHECKPOINTS, GATES, RESULTS, SEARCHES)}


def kind_checked_by(claim: str) -> OnRequest[Any] | None:
    """The kind of golden whose facts a claim checks, or None if it checks none that can be accepted of a run."""
    for kind in KINDS.values():
        if claim in kind.claims and isinstance(kind, OnRequest):
            return kind
    return None
