"""Changes of accepted gates, as the history of `golden/gates.json` tells them, and the gates that they come to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from quantbench.golden.accepted import Acceptance

# Gate → its bound, as JSON.
Bounds = dict[str, Any]

NONE, GONE = "none", "gone"
# JSON escapes the arrow, so that it stands between the two bounds alone.
LINE = re.compile(r"(?P<experiment>.+?): gate (?P<gate>.+?): (?P<accepted>.+) → (?P<bound>.+)")


@dataclass(frozen=True)
class GateChange:
    """A difference between two bounds of a gate.

    Attributes:
        experiment: its id.
        gate: that differs.
        accepted: its bound, or None where the gate is new.
        bound: that takes its place, or None where the gate is gone.
    """

    experiment: str
    gate: str
    accepted: Any
    bound: Any

    def __str__(self) -> str:
        accepted = NONE if self.accepted is None else json.dumps(self.accepted)
        bound = GONE if self.bound is None else json.dumps(self.bound)
        return f"{self.experiment}: gate {self.gate}: {accepted} → {bound}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """The change that was written as this line.

        Raises:
            ValueError: if it is none.
        """
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"{line!r:.80} is no change of a gate")
        accepted, bound = found["accepted"], found["bound"]
        return cls(
            found["experiment"],
            found["gate"],
            None if accepted == NONE else json.loads(accepted),
            None if bound == GONE else json.loads(bound),
        )


def changes(before: Mapping[str, Bounds], after: Mapping[str, Bounds]) -> list[GateChange]:
    """Every gate that differs, by experiment; of an experiment that only one of them has, all of its gates."""
    return [
        GateChange(id_, gate, before.get(id_, {}).get(gate), after.get(id_, {}).get(gate))
        for id_ in sorted({*before, *after})
        for gate in sorted({*before.get(id_, {}), *after.get(id_, {})})
        if before.get(id_, {}).get(gate) != after.get(id_, {}).get(gate)
    ]


def gates_after(history: Iterable[Acceptance]) -> dict[str, Bounds]:
    """The gates that a history of acceptances comes to; an entry without a reason accepts nothing.

    Raises:
        ValueError: if an entry tells something else than changes of gates.
    """
    found: dict[str, Bounds] = {}
    lines = [line for entry in history if entry.reason.strip() for line in entry.changed]
    for change in map(GateChange.parse, lines):
        bounds = found.setdefault(change.experiment, {})
        bounds.pop(change.gate, None)
        if change.bound is not None:
            bounds[change.gate] = change.bound
    return {id_: bounds for id_, bounds in found.items() if bounds}
