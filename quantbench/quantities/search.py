"""The search for mixed precision that an experiment asks for, as it was accepted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.errors import ConfigError
from quantbench.quantities.interface import Quantity
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run
    from quantbench.records.search import Decision, SearchRecord

NOT_ASKED_FOR = (
    "a bound on what a search finds, but none is asked for; add search: {low: …, epsilon_pp: …} to the experiment, or "
    "remove the bound"
)


class Search(Quantity["SearchRecord"]):
    """The widths and the decision log against what was accepted."""

    name = "search"
    part = "search"

    def why_not(self, experiment: Experiment) -> str | None:
        """Only an experiment that asks for a search has one."""
        return NOT_ASKED_FOR if experiment.config.search is None else None

    def measure(self, run: Run) -> SearchRecord:
        """What the experiment's search finds.

        Raises:
            ConfigError: if the experiment asks for no search.
        """
        from quantbench.search.run import SearchRun
        from quantbench.search.settings import SearchSettings

        config = run.experiment.config.search
        if config is None:
            raise ConfigError(f"{run.experiment.where('search')}: is not set; add search: {{low: …, epsilon_pp: …}}")
        command = f"quantbench search {run.experiment.id}"
        return SearchRun(run, config.low).search(SearchSettings(config.epsilon_pp), command)

    def judge(self, run: Run, measured: SearchRecord, bound: Any) -> Verdict:
        """Exact, within a class of machines.

        Predictions may flip between classes, and so may a close decision: elsewhere a difference is no verdict.
        """
        from quantbench.golden.documents import differences, read_document, shortened

        accepted, found = read_document(search_path(run)), search_document(run)
        if accepted is None:
            return self._verdict(Outcome.FAIL, f"no golden {search_path(run)} was ever accepted")
        machine, here = accepted.pop("machine", "–"), found.pop("machine")
        changed = differences(accepted, found)
        if not changed:
            return self._verdict(Outcome.PASS, "as accepted")
        lines = f"{len(changed)} difference(s), old → new:\n{shortened(changed)}"
        if machine != here:
            elsewhere = f"accepted on another class of machine ({machine} → {here}); {lines}"
            return self._verdict(Outcome.INCONCLUSIVE, elsewhere)
        return self._verdict(Outcome.FAIL, lines)

    def _verdict(self, outcome: Outcome, text: str) -> Verdict:
        return Verdict(self.name, outcome, None, None, None, 1, text, "the accepted widths and decision log")

    def further(self, experiment: Experiment) -> str:
        """The search itself."""
        return f"search {shlex.quote(experiment.id)}"

    def accept(self, experiment: Experiment) -> str:
        """The command that updates the golden."""
        from quantbench.golden.results import accept_command

        return accept_command(experiment.id)


SEARCH = Search()


def search_path(run: Run) -> Path:
    """Where the accepted search of an experiment lies; searches by other int8 kernels have files of their own."""
    return run.settings.golden / "searches" / f"{run.golden_name}.json"


def search_document(run: Run) -> dict[str, Any]:
    """What is accepted of a search: the widths found and the decision log, with what they were found from.

    Of a rejection no drop is accepted: how far beyond ε it was seen to be depends on how early it was certain.
    """
    import torch

    from quantbench.experiment.result import machine_of

    record: SearchRecord = run.measured(SEARCH.part)
    return {
        "machine": str(machine_of(run, torch.get_num_threads())),
        "samples": {"split": record.split, "n": record.n, "sha256": record.split_sha256},
        "epsilon_pp": record.epsilon_pp,
        "high": record.high,
        "low": record.low,
        "bits": dict(zip((layer.name for layer in record.layers), record.bits, strict=True)),
        "decisions": {f"{i:02} {each.layer}": _words(each) for i, each in enumerate(record.decisions, start=1)},
    }


def _words(decision: Decision) -> str:
    if decision.accepted and decision.drop_pp is not None:
        return f"accepted, total drop {decision.drop_pp:.3f} pp"
    return "rejected, logits not finite" if decision.reason == "not_finite" else "rejected"
