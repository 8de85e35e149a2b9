"""One figure at one time, wherever it was noted, so that figures of many times can be set beside each other."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Observation:
    """One figure of one experiment.

    Attributes:
        experiment: its id.
        quantity: its name with its unit, and the class of machine where it depends on that.
        when: date of the acceptance or commit, or name of the file of records.
        value: the figure.
        interval: of it; None where none was noted.
        machine: class of machine in words; empty where it is not known.
        versions: of the libraries that computed.
        reason: why it was accepted; empty where nothing was.
        source: commit, or what else it was read from.
    """

    experiment: str
    quantity: str
    when: str
    value: float
    interval: tuple[float, float] | None = None
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    source: str = ""
