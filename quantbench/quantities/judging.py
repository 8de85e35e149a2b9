"""An experiment's measurements against its gates, made from the table of quantities, and the words for a verdict."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from quantbench.config.pair import OPTIONS
from quantbench.config.schema import Experiment
from quantbench.errors import ConfigError, ForeignError, MeasurementError
from quantbench.foreign import calling
from quantbench.quantities.interface import NOTHING_TO_ACCEPT, Quantity
from quantbench.registry import QUANTITIES
from quantbench.stats.multiplicity import Family
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.experiment.run import Run


def quantities() -> list[Quantity[Any]]:
    """Every quantity of the table, in its order."""
    return [QUANTITIES.get(name, "quantities") for name in QUANTITIES.names()]


def judged_of(experiment: Experiment) -> list[Quantity[Any]]:
    """Quantities judged of an experiment: the gates that it sets or that have a default, then the claims about it;
    timed ones last in each."""
    found = [
        each
        for each in quantities()
        if each.name in experiment.config.gates.bounds
        or ((each.bound is None or each.default is not None) and is_about(each, experiment))
    ]
    return sorted(found, key=lambda each: (each.bound is None, each.timed))


def is_about(quantity: Quantity[Any], experiment: Experiment) -> bool:
    """True if the quantity applies to an experiment, and if it cannot tell, so that the claim says why."""
    try:
        return quantity.applies(experiment)
    except ForeignError:
        return True


def shown_of(experiment: Experiment) -> list[Quantity[Any]]:
    """Quantities that are measured of an experiment for the table alone: no bound is set."""
    judged = judged_of(experiment)
    return [each for each in quantities() if each.columns and each not in judged and is_about(each, experiment)]


def family_of(judged: Iterable[str]) -> Family:
    """The verdicts of a session that samples decide, and that share its false alarms.

    Args:
        judged: the quantity of each of its verdicts.
    """
    by_interval = {each.name for each in quantities() if each.by_interval}
    return Family(sum(name in by_interval for name in judged))


def judge(run: Run, name: str) -> Verdict:
    """Measures a quantity and judges it; the verdict is kept with the run.

    Args:
        run: the experiment's.
        name: of the quantity: a gate that the experiment sets, or a claim that needs no bound.

    Raises:
        ConfigError: if the quantity needs a bound, has no default, and the experiment sets none.
    """
    from quantbench.measure.environment import environment

    gates = run.experiment.where("gates")
    quantity: Quantity[Any] = QUANTITIES.get(name, gates)
    bound = run.experiment.config.gates.bound(name, environment().isa)
    if bound is None:
        bound = quantity.default
    if bound is None and quantity.bound is not None:
        raise ConfigError(f"{gates}: '{name}' is not set")
    # Where it raises, the claim was planned all the same.
    quantity.applies(run.experiment)
    with calling(f"quantity '{name}'"):
        try:
            measured = run.measured(quantity.part)
        except MeasurementError as error:
            verdict = quantity.unmeasured(run, bound, error)
        else:
            verdict = quantity.judge(run, measured, bound)
    if not isinstance(verdict, Verdict):
        raise ForeignError(f"quantity '{name}': judge gave a {type(verdict).__name__}; return a Verdict")
    return run.add_verdict(verdict)


def measure(run: Run, part: str) -> Verdict | None:
    """Measures a part that no gate asked for.

    Returns:
        None, or INCONCLUSIVE if there is nothing to show.
    """
    for quantity in quantities():
        if quantity.part == part:
            quantity.applies(run.experiment)
    try:
        with calling(f"measuring '{part}'"):
            run.measured(part)
    except MeasurementError as error:
        required = "a figure to show; no bound is set"
        return Verdict(part, Outcome.INCONCLUSIVE, None, None, None, 0, str(error), required)
    return None


def explain(experiment: Experiment, verdict: Verdict) -> str:
    """The words for a verdict: experiment, quantity, measured, bound, and the commands that lead on."""
    quantity = next((each for each in quantities() if each.name == verdict.quantity), None)
    if quantity is None:
        # A part that was to be shown and could not be measured.
        return explain_briefly(experiment, verdict)
    return _explained(experiment, verdict, quantity.further(experiment), verdict.accept or quantity.accept(experiment))


def explain_briefly(experiment: Experiment, verdict: Verdict) -> str:
    """The same words without asking the quantity."""
    further = f"run {shlex.quote(experiment.id)} --json record.json"
    return _explained(experiment, verdict, further, verdict.accept or NOTHING_TO_ACCEPT)


def _explained(experiment: Experiment, verdict: Verdict, further: str, accept: str) -> str:
    if not experiment.workload.is_saved:
        # No command could find the experiment by its id.
        further = "compare … --json record.json: this command again, with a record of every figure"
        option = OPTIONS.get(verdict.quantity)
        accept = f"this command again with the bound that you accept: {option} …" if option else NOTHING_TO_ACCEPT
    return (
        f"{experiment.id}: {verdict.quantity}: {verdict.change or verdict.outcome}\n"
        f"  measured:     {verdict.measured}\n"
        f"  required:     {verdict.requirement}\n"
        f"{f'  blame:        {verdict.blame}' + chr(10) if verdict.blame else ''}"
        f"  look further: quantbench {further}\n"
        f"  accept:       {accept}"
    )
