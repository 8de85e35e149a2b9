"""The search for mixed precision that an experiment asks for, as it was accepted."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from quantbench.errors import ConfigError
from quantbench.quantities.interface import Quantity
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run
    from quantbench.records.search import SearchRecord

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

    def bound_of(self, experiment: Experiment) -> Any:
        """Width and total drop of the search; None where the experiment asks for none."""
        search = experiment.config.search
        return None if search is None else search.model_dump(mode="json")

    def measure(self, run: Run) -> SearchRecord:
        """Runs the experiment's search.

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
        from quantbench.experiment.result import RunEvidence
        from quantbench.golden.gates import missing_golden
        from quantbench.golden.interface import shortened
        from quantbench.golden.searches import SEARCHES

        evidence = RunEvidence(run)
        accepted, found = SEARCHES.accepted(evidence), SEARCHES.document(evidence)
        if accepted is None:
            path, others = SEARCHES.place(evidence), dict(SEARCHES.files(evidence.golden))
            words, id_ = f"no golden {path} was ever accepted", run.experiment.id
            text = missing_golden(evidence.golden, id_, words, path, id_ in others)
            return self._verdict(Outcome.FAIL, text)
        machine, here = accepted.pop("machine", "–"), found.pop("machine")
        changed = SEARCHES.compare(accepted, found)
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
        from quantbench.golden.acceptance import accept_command

        return accept_command(experiment.id)


SEARCH = Search()
