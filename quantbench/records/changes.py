"""Changes of an experiment since it was accepted, recorded, or made at another revision, as checked JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantbench.records.base import Record

SCHEMA_VERSION = 1
Count = Annotated[int, Field(ge=0)]


class LayerChange(Record):
    """A layer with values that are not what they were.

    Attributes:
        layer: its name.
        words: its changes.
        back: flipped answers that come back with its earlier values alone; None where nobody tried.
        refused: why nobody could; empty where somebody did.
    """

    layer: str
    words: str
    back: Count | None = None
    refused: str = ""


class ChangesRecord(Record):
    """Changes of one experiment.

    Attributes:
        experiment: its id.
        against: what it is compared with, in words.
        n: samples that both answered; 0 where the earlier answers are not known.
        lost: answers that were better before; of other tasks than those of right and wrong, all that changed.
        gained: the other way round.
        layers: values of the file that changed, in the order of their effect.
        is_ranked: by the answers that come back; otherwise by the size of the change.
        all_back: answers that come back with all earlier values.
        left_out: layers that were not put back.
        entries: what only one of both files has, or has in another form, as `entry: before → now`.
        unknown: why values are not compared; empty where they are.
        configured: parts of the configuration, weights and samples that changed.
        circumstances: machine and versions that changed.
        command: that compared.
    """

    experiment: str
    against: str
    n: Count = 0
    lost: Count = 0
    gained: Count = 0
    layers: list[LayerChange] = Field(default_factory=list)
    is_ranked: bool = False
    all_back: Count | None = None
    left_out: Count = 0
    entries: list[str] = Field(default_factory=list)
    unknown: str = ""
    configured: list[str] = Field(default_factory=list)
    circumstances: list[str] = Field(default_factory=list)
    command: str

    @property
    def flipped(self) -> int:
        """Answers that changed."""
        return self.lost + self.gained

    def impossible(self) -> str | None:
        """More changes than samples, or more that come back than changed."""
        back = [each.back for each in self.layers if each.back is not None] + [self.all_back or 0]
        if self.flipped > self.n or max(back) > self.flipped:
            return f"{self.flipped} flipped of {self.n} samples, of which {max(back)} come back"
        return None


class ChangesFile(Record):
    """File that `quantbench blame --against --json` writes."""

    schema_version: int = SCHEMA_VERSION
    changes: list[ChangesRecord]
