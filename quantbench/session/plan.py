"""Plan of a session: its measurements, and their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quantbench.config.schema import Experiment
from quantbench.quantities.judging import family_of, judged_of, quantities, shown_of
from quantbench.stats.multiplicity import Family


@dataclass(frozen=True)
class Claim:
    """One quantity of one experiment.

    Attributes:
        experiment: what is measured.
        quantity: its name.
        is_judged: there is a verdict; otherwise it is measured for the table alone.
        is_timed: timings decide.
    """

    experiment: Experiment
    quantity: str
    is_judged: bool
    is_timed: bool


@dataclass(frozen=True)
class Plan:
    """Claims in the order in which they are made.

    Timed ones come last: one A/A control that strays leaves no verdict on speed, and a verdict that was shown cannot be
    unsaid.
    """

    claims: tuple[Claim, ...]

    @classmethod
    def of(cls, claims: Iterable[Claim]) -> Plan:
        """The claims in order; those of one kind stay as they were given."""
        return cls(tuple(sorted(claims, key=lambda claim: claim.is_timed)))

    @classmethod
    def of_experiments(cls, experiments: Iterable[Experiment]) -> Plan:
        """Every claim about the experiments: their gates, what needs no bound, and what is shown."""
        return cls.of(
            Claim(experiment, quantity.name, is_judged, quantity.timed)
            for experiment in experiments
            for is_judged, found in ((True, judged_of(experiment)), (False, shown_of(experiment)))
            for quantity in found
        )

    @property
    def experiments(self) -> list[Experiment]:
        """Experiments that claims are about, each once."""
        return list({claim.experiment.id: claim.experiment for claim in self.claims}.values())

    @property
    def timed(self) -> list[Experiment]:
        """Experiments that are timed, each once."""
        return list({claim.experiment.id: claim.experiment for claim in self.claims if claim.is_timed}.values())

    @property
    def family(self) -> Family:
        """The verdicts that samples decide, and that share the session's false alarms."""
        return family_of(claim.quantity for claim in self.claims if claim.is_judged)


def position(quantity: str) -> int:
    """The place of a verdict in a record: that of its quantity in the table."""
    names = [each.name for each in quantities()]
    return names.index(quantity) if quantity in names else len(names)
