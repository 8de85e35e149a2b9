"""Everything that the page is made of, read before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantbench.records.against import Base
from quantbench.records.blame import BlameRecord
from quantbench.records.run import ExperimentError, NotRun, RunRecord
from quantbench.records.samples import Samples
from quantbench.report.curves import Curves
from quantbench.report.html.media import Media

# A sample: its workload, whether its number counts those that were drawn in random order, and the number.
Place = tuple[str, bool, int]


@dataclass(frozen=True)
class Content:
    """Recorded runs with what belongs to them.

    Attributes:
        records: of experiments that were measured.
        errors: of experiments of which something could not be measured.
        not_run: those that could not be started.
        premises: lines about gates that are gone or looser than accepted.
        files: names of the files that were read.
        curves: of trainings of the weights that records are about.
        media: pictures and sounds of samples.
        notes: lines about what is not shown, and why.
        blames: of experiments that were looked into.
        base: the revision that the run was measured against; None without one.
    """

    records: Sequence[RunRecord]
    errors: Sequence[ExperimentError] = ()
    not_run: Sequence[NotRun] = ()
    premises: Sequence[str] = ()
    files: Sequence[str] = ()
    curves: Sequence[Curves] = ()
    media: Mapping[Place, Media] = field(default_factory=dict)
    notes: Sequence[str] = ()
    blames: Sequence[BlameRecord] = ()
    base: Base | None = None

    def blame_of(self, experiment: str) -> BlameRecord | None:
        """The blame of an experiment; None where it was not looked into."""
        return next((each for each in self.blames if each.experiment == experiment), None)

    def workload(self, name: str) -> list[RunRecord]:
        """Records of one workload."""
        return [each for each in self.records if workload_of(each) == name]

    @property
    def workloads(self) -> list[str]:
        """Names of all, in order."""
        return list(dict.fromkeys(workload_of(each) for each in self.records))


def drawn_of(record: RunRecord) -> Samples | None:
    """Samples that were looked at in random order, fewer than all; None in the order of the split."""
    figure = record.accuracy or record.score
    samples = figure.samples if figure else None
    return samples if samples and samples.is_part else None


def workload_of(record: RunRecord) -> str:
    """Name of the workload in a record's id."""
    return record.experiment.partition("/")[0]
