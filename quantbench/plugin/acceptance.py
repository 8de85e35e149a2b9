"""What an update accepts: noted while its claims run, written when all of them have, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

# Claims whose failure no acceptance mends: whatever is accepted, the next run finds something else.
UNSOUND = ("reload", "determinism")


def is_update(config: pytest.Config) -> bool:
    """Whether what is found becomes what is accepted, by our option or by syrupy's."""
    return bool(config.option.update_snapshots or config.option.update_new_snapshots_only)


@dataclass
class Noted:
    """What is to be accepted of one experiment.

    Attributes:
        run: with all of it measured.
        claims: about the accepted result, by name.
        checkpoint: its golden's file and new content, if that is to be written.
        search: the same of what its search found.
    """

    run: Run
    claims: set[str] = field(default_factory=set)
    checkpoint: tuple[Path, dict[str, Any]] | None = None
    search: tuple[Path, dict[str, Any]] | None = None


class Acceptances:
    """What a session is to accept, by experiment; `told` are the lines that its end prints."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._noted: dict[str, Noted] = {}
        self.told: list[str] = []

    def note_checkpoint(self, run: Run, path: Path, document: dict[str, Any]) -> None:
        """Notes a checkpoint golden that differs from the one in its file, or is new."""
        self._of(run).checkpoint = path, document

    def has_checkpoint(self, run: Run) -> bool:
        """Whether a checkpoint golden was noted for the run."""
        return self._of(run).checkpoint is not None

    def takes_search(self, run: Run) -> bool:
        """Whether the session accepts what the run's search finds, which is noted then.

        Raises:
            CheckpointError: if an accepted search is there and damaged; it is never overwritten.
        """
        if not is_update(self._config):
            return False
        from quantbench.golden.documents import read_document
        from quantbench.quantities.search import search_document, search_path

        path = search_path(run)
        if read_document(path) is not None and not self._config.option.update_snapshots:
            return False
        self._of(run).search = path, search_document(run)
        return True

    def takes_result(self, run: Run) -> bool:
        """Whether the session accepts the run's result, and so has nothing to compare it with.

        Raises:
            GoldenError: if an accepted result is there and damaged; it is never overwritten.
        """
        if not is_update(self._config):
            return False
        from quantbench.golden.results import read_result

        accepted = read_result(run.settings.golden, run.experiment.id)
        return bool(self._config.option.update_snapshots) or accepted is None

    def note_result(self, run: Run, claim: str) -> None:
        """Notes a claim about the accepted result and measures all of it now, while the test can still fail."""
        run.accuracy, run.size, run.coverage  # noqa: B018
        self._of(run).claims.add(claim)

    def write(self) -> bool:
        """Writes all that was noted; whether that succeeded."""
        # All of them, whatever becomes of the first.
        written = [self._accept(id_, noted) for id_, noted in sorted(self._noted.items())]
        return all(written)

    def _of(self, run: Run) -> Noted:
        return self._noted.setdefault(run.experiment.id, Noted(run))

    def _accept(self, id_: str, noted: Noted) -> bool:
        from quantbench.errors import GoldenError
        from quantbench.stats.verdicts import Outcome

        verdicts = noted.run.verdicts
        for claim in UNSOUND:
            if claim in verdicts and verdicts[claim].outcome is Outcome.FAIL:
                self.told.append(f"{id_}: nothing is accepted: {claim} failed: {verdicts[claim].measured}")
                return False
        try:
            if noted.checkpoint is not None:
                path, document = noted.checkpoint
                self._accept_document(path, document, f"{len(document['keys'])} keys")
            if noted.search is not None:
                path, document = noted.search
                self._accept_document(path, document, _widths_found(document))
            return self._accept_result(id_, noted) if noted.claims else True
        except GoldenError as error:
            self.told.append(str(error))
            return False

    def _accept_document(self, path: Path, document: dict[str, Any], first: str) -> None:
        """Writes a golden that differs from the one in its file; of a new one, `first` tells what is in it."""
        from quantbench.golden.documents import differences, read_document, shortened, write_document

        before = read_document(path)
        if before == document:
            return
        write_document(path, document, self._config.getoption("reason"))
        if before is None:
            self.told.append(f"{path}: accepted for the first time, {first}")
        else:
            self.told.append(f"{path}: updated, old → new:\n{shortened(differences(before, document))}")

    def _accept_result(self, id_: str, noted: Noted) -> bool:
        from quantbench.experiment.result import accept

        predictions, speed = (claim in noted.claims for claim in ("accuracy_vs_accepted", "speedup_vs_accepted"))
        if told := accept(noted.run, self._config.getoption("reason"), predictions, speed):
            self.told.append(told)
        if speed and noted.run.latency is None:
            self.told.append(f"{id_}: no speed-up is accepted: {noted.run.not_timed}")
            return predictions
        return True


def _widths_found(search: dict[str, Any]) -> str:
    bits = list(search["bits"].values())
    return f"{bits.count(search['low'])} of {len(bits)} layers at {search['low']} bits"
