"""Experiments and quantities that the tests of a run make claims about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.plugin.state import State
    from quantbench.quantities.interface import Quantity

# Fixtures that a claim asks for: an experiment's run; in the claim about any quantity, the quantity too.
FIXTURE, QUANTITY = "experiment_run", "claimed_quantity"
# Module of the claim about any quantity.
GENERIC_CLAIM = "quantbench.claims.test_quantities"


def is_claim(node: pytest.Item) -> bool:
    """True if a test asks for our fixture, directly or through an override of it, and not for a namesake."""
    info = getattr(node, "_fixtureinfo", None)
    for definition in reversed(info.name2fixturedefs.get(FIXTURE, ()) if info else ()):
        if definition.func.__module__ == "quantbench.plugin.fixtures":
            return True
        if FIXTURE not in definition.argnames:
            return False
    return False


def is_timed(item: pytest.Item) -> bool:
    """True if a test is a claim that timings decide."""
    return is_claim(item) and item.get_closest_marker("latency") is not None


def claimed_experiments(state: State, definition: pytest.Item) -> list[Experiment]:
    """The selected experiments that a test is about: of a gate's claim those that set the gate, of its `ungated` twin
    the others, of another claim those of which its quantity can be measured."""
    from quantbench.quantities.judging import is_about
    from quantbench.recipes.translation import OLD_GATES, new_word
    from quantbench.registry import QUANTITIES

    gate, ungated = definition.get_closest_marker("gate"), definition.get_closest_marker("ungated")
    claim = _claim_of(definition)
    if marker := gate or ungated:
        name = new_word(str(marker.args[0]) if marker.args else "", OLD_GATES, definition.nodeid)
        _check_gate(name, definition)
        if gate is not None:
            return [e for e in state.selected if name in e.config.gates.bounds]
        shown = QUANTITIES.get(name, definition.nodeid)
        return [e for e in state.selected if name not in e.config.gates.bounds and is_about(shown, e)]
    if claim is None:
        return state.selected
    quantity = QUANTITIES.get(claim, definition.nodeid)
    return [e for e in state.selected if is_about(quantity, e)]


def gate_of(marker: pytest.Mark) -> str:
    """The gate that a marker names, in the word of today; collection hints where it is another."""
    from quantbench.recipes.translation import OLD_GATES

    name = str(marker.args[0])
    return OLD_GATES.get(name, name)


def unclaimed() -> list[Quantity[Any]]:
    """Quantities that no claim of their own is about, such as those of other distributions."""
    from quantbench.claims import claimed_by_name
    from quantbench.quantities.judging import quantities

    return [each for each in quantities() if each.name not in claimed_by_name()]


def claimed_pairs(state: State) -> list[Any]:
    """Parameters of the claim about any quantity: each unclaimed one with each experiment of which it is judged or
    shown."""
    from quantbench.quantities.judging import judged_of, shown_of

    return [
        pytest.param(e, q.name, id=f"{e.id}-{q.name}", marks=[pytest.mark.latency] if q.timed else [])
        for q in unclaimed()
        for e in state.selected
        if q in [*judged_of(e), *shown_of(e)]
    ]


def judged_quantity(item: pytest.Item) -> str | None:
    """Name of the quantity that a claim judges; None for one that only measures."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    if name := params.get(QUANTITY):
        return name if _is_judged(name, params[FIXTURE]) else None
    gate = item.get_closest_marker("gate")
    if gate is not None and gate.args:
        return gate_of(gate)
    if item.get_closest_marker("ungated") is not None:
        return None
    return _claim_of(item)


def claim_of(item: pytest.Item) -> tuple[str, str] | None:
    """Experiment and quantity that a test judges; None for other tests."""
    if not is_claim(item):
        return None
    experiment = getattr(item, "callspec").params.get(FIXTURE) if hasattr(item, "callspec") else None  # noqa: B009
    quantity = judged_quantity(item)
    return None if experiment is None or quantity is None else (experiment.id, quantity)


def _is_judged(name: str, experiment: Experiment) -> bool:
    from quantbench.quantities.judging import judged_of

    return name in [each.name for each in judged_of(experiment)]


def _claim_of(definition: pytest.Item) -> str | None:
    """Name of the quantity of a claim without a gate; of a test without a marker, by the fixture that it uses."""
    marker = definition.get_closest_marker("claim")
    if marker is not None and marker.args:
        return str(marker.args[0])
    if definition.get_closest_marker("searched") is not None:
        return "search"
    fixtures = getattr(definition, "fixturenames", ())
    if "check_golden" in fixtures:
        return "checkpoint"
    if "check_accepted" in fixtures:
        is_of_speed = definition.get_closest_marker("latency") is not None
        return "speedup_vs_accepted" if is_of_speed else "accuracy_vs_accepted"
    return "search" if "check_search" in fixtures else None


def _check_gate(name: str, definition: pytest.Item) -> None:
    from quantbench.config.schema import gate_bounds
    from quantbench.errors import ConfigError
    from quantbench.registry import unknown_name

    if name not in gate_bounds():
        raise ConfigError(f"{definition.nodeid}: {unknown_name('gate', name, sorted(gate_bounds()))}")
