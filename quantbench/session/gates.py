"""The gates that experiments are held to, against those that were accepted."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from quantbench.config.schema import Experiment
from quantbench.golden import gates
from quantbench.golden.acceptance import accept_gates_command
from quantbench.golden.gate_changes import Bounds, GateChange
from quantbench.golden.gates import FILE_NAME, accepted_gates, edited_gates
from quantbench.golden.kinds import KINDS
from quantbench.quantities.interface import Quantity
from quantbench.quantities.judging import is_about, quantities

# Beside the gates: a run may, or may not, go on without the experiment's data.
DATA = "data"
REQUIRED, OPTIONAL = "required", "optional"
# In the place of the bound of a claim that needs none.
CLAIMED = "claimed"
# Edited bounds that are told; the rest is counted.
SHOWN = 8


def bounds_of(experiment: Experiment) -> Bounds:
    """Every bound that the experiment is held to, by quantity, and whether it must run at all."""
    own = [each for each in quantities() if is_about(each, experiment)]
    bounds = {each.name: bound for each in own if (bound := each.bound_of(experiment)) is not None}
    # Claims that need no bound are made all the same, and are missed where they are not.
    bounds |= {each.name: CLAIMED for each in own if each.bound is None and each.name not in bounds}
    return {**bounds, DATA: OPTIONAL if experiment.workload.config.optional else REQUIRED}


def loosened(golden: Path, configured: Sequence[Experiment], selected: Iterable[Experiment]) -> list[str]:
    """A line for each gate that is gone or looser than it was accepted, old → new, with the command that accepts it.

    So is a line for each gate of any experiment that was written into the file without an acceptance.

    Args:
        golden: folder of goldens.
        configured: every experiment; one that was accepted and is not among them is gone.
        selected: those whose gates are compared.

    Raises:
        GoldenError: if the file of accepted gates is damaged.
    """
    accepted, unknown, lines = accepted_gates(golden), [], _edited(golden, configured)
    for id_ in gone(golden, configured):
        gates_of_it = f"with the gates {', '.join(accepted[id_])}"
        lines.append(f"{id_}: was accepted {gates_of_it}, and is configured no more; {accept_command(id_)}")
    with_goldens = {id_ for kind in KINDS.values() if kind.claims for id_, _ in kind.files(golden)}
    for experiment in selected:
        if experiment.id in accepted:
            changes = _looser(accepted[experiment.id], experiment)
            lines += [f"{change}; {accept_command(experiment.id)}" for change in changes]
        elif experiment.id in with_goldens:
            unknown.append(experiment.id)
    if unknown:
        name = unknown[0] if len(unknown) == 1 else f"{len(unknown)} experiments ({unknown[0]}, …)"
        command = accept_command(unknown[0] if len(unknown) == 1 else "*")
        lines.append(f"{name}: with goldens, but without accepted gates in {golden / FILE_NAME}; {command}")
    return lines


def gone(golden: Path, configured: Iterable[Experiment], pattern: str = "*") -> list[str]:
    """Ids of accepted experiments that are configured no more, of those that an id or a glob names."""
    ids = {experiment.id for experiment in configured}
    return [id_ for id_ in sorted(accepted_gates(golden)) if id_ not in ids and fnmatch.fnmatchcase(id_, pattern)]


def accept_gates(golden: Path, chosen: Iterable[Experiment], reason: str, forgotten: Iterable[str] = ()) -> list[str]:
    """Accepts the gates of experiments as they are configured now.

    Args:
        golden: folder of goldens.
        chosen: experiments whose gates are accepted.
        reason: kept in the history.
        forgotten: ids of accepted experiments that are configured no more.

    Returns:
        A line for each change, old → new.

    Raises:
        GoldenError: if the file of accepted gates is damaged or cannot be written.
    """
    return gates.accept_gates(golden, {each.id: bounds_of(each) for each in chosen}, forgotten, reason)


def _edited(golden: Path, configured: Iterable[Experiment]) -> list[str]:
    """A line for each bound in the file that no acceptance made so, accepted → written."""
    found, known = edited_gates(golden), {experiment.id for experiment in configured} | accepted_gates(golden).keys()
    lines = []
    for change in found[:SHOWN]:
        mend = f", or {accept_command(change.experiment)}" if change.experiment in known else ""
        lines.append(
            f"{golden / FILE_NAME}: {change}: written without an acceptance and its reason; restore the file from "
            f"version control{mend}"
        )
    more = len(found) - SHOWN
    return lines + ([f"{golden / FILE_NAME}: and {more} more that no acceptance made so"] if more > 0 else [])


def accept_command(experiment: str) -> str:
    """The command that accepts the gates of an experiment as they are configured."""
    return f"accept it: {accept_gates_command(experiment)}"


def _looser(accepted: Bounds, experiment: Experiment) -> list[GateChange]:
    """Gates that let pass what the accepted ones do not; of a quantity that is not installed, any that differs."""
    known, now = {each.name: each for each in quantities()}, bounds_of(experiment)
    # A gate with a default holds before anybody accepted it.
    defaults = {name: each.default for name, each in known.items() if each.default is not None and name in now}
    return [
        GateChange(experiment.id, gate, bound, now.get(gate))
        for gate, bound in (defaults | accepted).items()
        if _is_looser(known.get(gate), gate, now.get(gate), bound)
    ]


def _is_looser(quantity: Quantity[Any] | None, gate: str, bound: Any, accepted: Any) -> bool:
    if gate == DATA:
        return bool(bound != accepted and accepted == REQUIRED)
    # What cannot be compared differs: a gate that is gone, or a bound of another sort.
    both = (bound, accepted)
    is_comparable = all(isinstance(each, int | float) for each in both) or all(isinstance(each, dict) for each in both)
    return quantity.is_looser(bound, accepted) if quantity and is_comparable else bool(bound != accepted)
