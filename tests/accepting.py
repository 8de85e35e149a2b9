"""Facts of a run made goldens in tests, without a session; and accepted results by the id of their experiment."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from quantbench.experiment.result import RunEvidence
from quantbench.experiment.run import Run
from quantbench.files import write_json
from quantbench.golden.acceptance import accept as accept_fact
from quantbench.golden.accepted import AcceptedResult
from quantbench.golden.checkpoints import CHECKPOINTS
from quantbench.golden.results import PREDICTIONS, RESULTS, SPEED
from quantbench.golden.searches import SEARCHES
from quantbench.session.gates import accept_gates

read_result, result_path = RESULTS.read, RESULTS.path


def accept(run: Run, reason: str, predictions: bool, speed: bool, today: datetime.date | None = None) -> str | None:
    """Makes what the run found the accepted result; the lines that tell it, or None if nothing changed."""
    claims = [claim for claim, is_accepted in ((PREDICTIONS, predictions), (SPEED, speed)) if is_accepted]
    return "\n".join(accept_fact(RESULTS, RunEvidence(run), claims, reason, today).lines) or None


def accept_checkpoint(run: Run, reason: str = "as it was trained") -> None:
    """Makes the run's checkpoint and gates the accepted ones."""
    accept_fact(CHECKPOINTS, RunEvidence(run), CHECKPOINTS.claims, reason)
    accept_gates(run.settings.golden, [run.experiment], reason)


def checkpoint_document(run: Run) -> dict[str, Any]:
    """What would be accepted of the run's checkpoint."""
    return CHECKPOINTS.document(RunEvidence(run))


def write_result(golden: Path, result: AcceptedResult) -> Path:
    """Writes an accepted result as it is, history included."""
    path = result_path(golden, result.experiment)
    write_json(path, result.model_dump(mode="json"))
    return path


def search_document(run: Run) -> dict[str, Any]:
    """What would be accepted of the run's search, which is made now if it was not yet."""
    run.measured("search")
    return SEARCHES.document(RunEvidence(run))


def search_path(run: Run) -> Path:
    """Where the accepted search of the run's experiment lies."""
    return SEARCHES.place(RunEvidence(run))
