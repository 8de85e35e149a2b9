"""Accepted gates: `golden/gates.json`, one file of all experiments, so that one that disappears is missed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from quantbench.config.schema import gate_bounds
from quantbench.errors import GoldenError
from quantbench.golden.accepted import Acceptance
from quantbench.golden.circumstances import Strict
from quantbench.golden.history import write_golden
from quantbench.golden.interface import Kind
from quantbench.records.base import read_json

FILE_NAME = "gates.json"
SCHEMA_VERSION = 1
ADVICE = (
    "restore it from version control, or remove it and accept the gates of today: "
    'quantbench gates "*" --accept --reason "…"'
)

# Gate → its bound, as JSON.
Bounds = dict[str, Any]


class AcceptedGates(Strict):
    """Every accepted experiment with the gates that it is held to.

    Attributes:
        experiments: id → gate → bound.
        history: oldest first.
    """

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION, strict=True)] = SCHEMA_VERSION
    experiments: dict[str, Bounds] = Field(default_factory=dict)
    history: list[Acceptance] = Field(default_factory=list)


class Gates(Kind[Bounds]):
    """The gates of each experiment; compared at the end of every session, by no claim that could be left out."""

    folder = "gates"

    def path(self, golden: Path, name: str) -> Path:  # noqa: ARG002
        """The one file of all experiments."""
        return golden / FILE_NAME

    def files(self, golden: Path) -> list[tuple[str, Path]]:
        """The file, once for each experiment in it."""
        return [(id_, golden / FILE_NAME) for id_ in accepted_gates(golden)]

    def read(self, golden: Path, name: str) -> Bounds | None:
        """The accepted gates of an experiment, or None if none were accepted.

        Raises:
            GoldenError: if the file is damaged, with what to do.
        """
        return accepted_gates(golden).get(name)


GATES = Gates()


@dataclass(frozen=True)
class GateChange:
    """A difference between accepted and configured gates.

    Attributes:
        experiment: its id.
        gate: that differs.
        accepted: its bound, or None where the gate is new.
        bound: that is configured, or None where the gate is gone.
    """

    experiment: str
    gate: str
    accepted: Any
    bound: Any

    def __str__(self) -> str:
        accepted = "none" if self.accepted is None else json.dumps(self.accepted)
        bound = "gone" if self.bound is None else json.dumps(self.bound)
        return f"{self.experiment}: gate {self.gate}: {accepted} → {bound}"


def accepted_gates(golden: Path) -> dict[str, Bounds]:
    """Every accepted experiment → its gates; empty where none was accepted.

    Raises:
        GoldenError: if the file is damaged, with what to do.
    """
    path = golden / FILE_NAME
    if not path.exists():
        return {}
    found = read_json(AcceptedGates, path, GoldenError, ADVICE).experiments
    for id_, bounds in found.items():
        for gate, bound in bounds.items():
            _check(bound, gate, f"{path}: experiments.{id_}.{gate}")
    return found


def _check(bound: Any, gate: str, where: str) -> None:
    """Refuses a bound that no configuration could have set, with which nothing could be compared.

    Raises:
        GoldenError: naming its place.
    """
    annotation = gate_bounds().get(gate)
    is_sound = not isinstance(bound, float) or math.isfinite(bound)
    if annotation is not None:
        try:
            TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False)).validate_python(bound)
        except ValidationError:
            is_sound = False
        # To pydantic a text may be a number.
        is_sound = is_sound and not isinstance(bound, str)
    if not is_sound:
        raise GoldenError(f"{where}: {bound!r:.40} is no bound of this gate; {ADVICE}")


def changes(accepted: Mapping[str, Bounds], configured: Mapping[str, Bounds]) -> list[GateChange]:
    """Every gate that differs, by experiment; of an experiment that only one of them has, all of its gates."""
    return [
        GateChange(id_, gate, accepted.get(id_, {}).get(gate), configured.get(id_, {}).get(gate))
        for id_ in sorted({*accepted, *configured})
        for gate in sorted({*accepted.get(id_, {}), *configured.get(id_, {})})
        if accepted.get(id_, {}).get(gate) != configured.get(id_, {}).get(gate)
    ]


def accept_gates(golden: Path, configured: Mapping[str, Bounds], gone: Iterable[str], reason: str) -> list[str]:
    """Makes gates the accepted ones; of all other experiments they stay.

    Args:
        golden: folder of goldens.
        configured: experiments whose gates are accepted → gate → bound.
        gone: accepted experiments that are configured no more, and are forgotten.
        reason: kept in the history.

    Returns:
        A line for each change, old → new; none where nothing changed.

    Raises:
        GoldenError: if the file is damaged or cannot be written.
    """
    before = accepted_gates(golden)
    after = {id_: bounds for id_, bounds in {**before, **configured}.items() if id_ not in set(gone)}
    if before == after:
        return []
    lines = [str(change) for change in changes(before, after)]
    content = AcceptedGates(experiments={id_: after[id_] for id_ in sorted(after)})
    write_golden(golden / FILE_NAME, content.model_dump(mode="json", exclude={"history"}), reason, lines)
    return lines
