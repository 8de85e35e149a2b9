"""Everything that the page is made of, read before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantbench.records.run import ExperimentError, NotRun, RunRecord
from quantbench.report.curves import Curves
from quantbench.report.html.media import Media


@dataclass(frozen=True)
class Content:
    """Recorded runs with what belongs to them.

    Attributes:
        records: of experiments that were measured.
        errors: of experiments of which something could not be measured.
        not_run: those that could not be started.
        files: names of the files that were read.
        curves: of trainings of the weights that records are about.
        media: pictures and sounds of samples, by workload and position in the test split.
        notes: lines about what is not shown, and why.
    """

    records: Sequence[RunRecord]
    errors: Sequence[ExperimentError] = ()
    not_run: Sequence[NotRun] = ()
    files: Sequence[str] = ()
    curves: Sequence[Curves] = ()
    media: Mapping[tuple[str, int], Media] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def workload(self, name: str) -> list[RunRecord]:
        """Records of one workload."""
        return [each for each in self.records if workload_of(each) == name]

    @property
    def workloads(self) -> list[str]:
        """Names of all, in order."""
        return list(dict.fromkeys(workload_of(each) for each in self.records))


def workload_of(record: RunRecord) -> str:
    """Name of the workload in a record's id."""
    return record.experiment.partition("/")[0]
