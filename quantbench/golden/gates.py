"""Accepted gates: `golden/gates.json`, one file of all experiments, so that one that disappears is missed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from quantbench.config.schema import gate_bounds
from quantbench.errors import GoldenError
from quantbench.golden.acceptance import accept_command
from quantbench.golden.accepted import Acceptance
from quantbench.golden.circumstances import Strict
from quantbench.golden.gate_changes import Bounds, GateChange, changes, gates_after
from quantbench.golden.history import write_golden
from quantbench.golden.interface import Kind
from quantbench.records.base import read_json

FILE_NAME = "gates.json"
SCHEMA_VERSION = 1
ADVICE = (
    "restore it from version control, or remove it and accept the gates of today: "
    'quantbench gates "*" --accept --reason "…"'
)


class AcceptedGates(Strict):
    """Every accepted experiment with the gates that it is held to.

    Attributes:
        experiments: id → gate → bound, to be read; what counts is that the history comes to the same.
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


def accepted_gates(golden: Path) -> dict[str, Bounds]:
    """Every experiment → the gates that the history of acceptances comes to; empty where none was accepted.

    Raises:
        GoldenError: if the file is damaged, with what to do.
    """
    return _read(golden)[1]


def missing_golden(golden: Path, experiment: str, words: str, missing: Path, has_others: bool = False) -> str:
    """Words for a golden that is not there: of an experiment with accepted gates it was there before.

    Args:
        golden: folder of goldens.
        experiment: its id.
        words: for a golden that was never accepted.
        missing: the golden's file.
        has_others: the experiment has goldens of the kind, for other engines, so that this one need not have been.

    Raises:
        GoldenError: if the file of accepted gates is damaged, with what to do.
    """
    if has_others or experiment not in accepted_gates(golden):
        return words
    content = read_json(AcceptedGates, golden / FILE_NAME, GoldenError, ADVICE)
    dates = [each.date for each in content.history if gates_after([each]).get(experiment)]
    return (
        f"was accepted on {dates[-1]}, but its golden {missing} is gone: restore it from version control, or accept it "
        f"anew: {accept_command(experiment)}"
    )


def edited_gates(golden: Path) -> list[GateChange]:
    """Gates that the file holds and that no acceptance with a reason made so: accepted → written.

    Raises:
        GoldenError: if the file is damaged, with what to do.
    """
    written, accepted = _read(golden)
    return changes(accepted, written)


def _read(golden: Path) -> tuple[dict[str, Bounds], dict[str, Bounds]]:
    """The gates as they are written and as they were accepted.

    Raises:
        GoldenError: if the file is damaged, with what to do.
    """
    path = golden / FILE_NAME
    if not path.exists():
        return {}, {}
    content = read_json(AcceptedGates, path, GoldenError, ADVICE)
    try:
        accepted = gates_after(content.history)
    except ValueError as error:
        raise GoldenError(f"{path}: history: {error}; {ADVICE}") from None
    for place, found in (("experiments", content.experiments), ("history: experiments", accepted)):
        for id_, bounds in found.items():
            for gate, bound in bounds.items():
                _check(bound, gate, f"{path}: {place}.{id_}.{gate}")
    # In the order of the file, in which they are shown.
    order = {
        id_: {gate: bounds[gate] for gate in content.experiments.get(id_, {}) if gate in bounds}
        for id_, bounds in accepted.items()
    }
    return content.experiments, {id_: order[id_] | bounds for id_, bounds in accepted.items()}


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


def accept_gates(golden: Path, configured: Mapping[str, Bounds], gone: Iterable[str], reason: str) -> list[str]:
    """Makes gates the accepted ones; of all other experiments they stay.

    Args:
        golden: folder of goldens.
        configured: experiments whose gates are accepted → gate → bound.
        gone: accepted experiments that are configured no more, and are forgotten.
        reason: kept in the history.

    Returns:
        A line for each change, old → new, and for each bound of another experiment that is put back, since it was
        written without an acceptance; none where nothing changed.

    Raises:
        GoldenError: if the file is damaged or cannot be written.
    """
    written, before = _read(golden)
    after = {id_: bounds for id_, bounds in {**before, **configured}.items() if id_ not in set(gone)}
    if written == before == after:
        return []
    accepted = changes(before, after)
    names = {(each.experiment, each.gate) for each in accepted}
    put_back = [each for each in changes(written, after) if (each.experiment, each.gate) not in names]
    lines = [str(change) for change in accepted]
    content = AcceptedGates(experiments={id_: after[id_] for id_ in sorted(after)})
    write_golden(golden / FILE_NAME, content.model_dump(mode="json", exclude={"history"}), reason, lines)
    return [*lines, *(f"{change}, as it was accepted" for change in put_back)]
