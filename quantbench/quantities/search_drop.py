"""The accuracy that is lost by the bit widths that a search finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantbench.errors import ConfigError
from quantbench.quantities.accuracy_drop import judge_drop
from quantbench.quantities.bounds import PercentagePoints
from quantbench.quantities.interface import Quantity
from quantbench.quantities.search import Search
from quantbench.stats.verdicts import Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run
    from quantbench.records.search import SearchRecord


class SearchDrop(Search):
    """For an experiment with a `search`: largest accepted drop of what that finds, percentage points.

    On the test split, which the search never saw, against all layers at their high width.
    """

    name = "search_drop_pp"
    bound = PercentagePoints
    smaller_is_looser = False
    by_interval = True

    def bound_of(self, experiment: Experiment) -> Any:
        """The gate's own."""
        return Quantity.bound_of(self, experiment)

    def judge(self, run: Run, measured: SearchRecord, bound: float) -> Verdict:
        """By Tango's interval."""
        if measured.confirmed is None:
            raise ConfigError(f"{run.experiment.id}: what was found was not confirmed; search again with --fresh")
        return judge_drop(run, measured.confirmed, bound, self.name)

    def accept(self, experiment: Experiment) -> str:
        """The bound is."""
        return Quantity.accept(self, experiment)


SEARCH_DROP = SearchDrop()
