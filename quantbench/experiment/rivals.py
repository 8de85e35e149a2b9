"""The fastest fp32 form of a reference, of all runtimes that are installed: what int8 must beat to be worth it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from quantbench.backends.interface import Backend, BackendSpec, Predictor
from quantbench.errors import FormLeftOutWarning, QuantbenchError
from quantbench.experiment.costs import MODEL, Costs
from quantbench.extras import installed
from quantbench.foreign import about, calling
from quantbench.measure.fastest_form import fastest_form
from quantbench.recipes.lowering import RUNTIMES


@dataclass(frozen=True)
class Fastest:
    """The fastest fp32 form at hand.

    Attributes:
        name: of the form, after its runtime where that is not the reference's.
        predictor: loaded with as many threads as are timed.
        source: whose form it is.
        form: its name in `Backend.forms` of that source.
        left_out: lines about forms that cannot be timed.
    """

    name: str
    predictor: Predictor
    source: Costs
    form: str
    left_out: tuple[str, ...] = ()


def fastest_fp32(baseline: Costs, lowered_to: Callable[[Backend], Costs]) -> Fastest:
    """Times every fp32 form of a reference for a moment, of its own backend and of each runtime that is installed.

    Args:
        baseline: the reference.
        lowered_to: the reference in the format of a backend.
    """
    left_out: list[str] = []
    with about(MODEL), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FormLeftOutWarning)
        found = _forms(baseline, lowered_to, left_out)
        forms = {name: form for name, (_, _, form) in found.items()}
        name, predictor = fastest_form(forms, baseline.latency_inputs, baseline.threads)
    for each in caught:
        if issubclass(each.category, FormLeftOutWarning):
            left_out.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    source, form, _ = found[name]
    return Fastest(name, predictor, source, form, tuple(left_out))


def _forms(
    baseline: Costs, lowered_to: Callable[[Backend], Costs], left_out: list[str]
) -> dict[str, tuple[Costs, str, Predictor]]:
    """Every form, by name, with its source and its name there; adds a line for each runtime that cannot run it."""
    own = baseline.backend.forms(baseline.artifact, baseline.threads)
    found = {name: (baseline, name, form) for name, form in own.items()}
    for name in _rivals(baseline):
        try:
            with calling(f"writing it for '{name}'"):
                source = lowered_to(BackendSpec(name, {}, baseline.opened.workload.where("latency.runtimes")).create())
                forms = {} if source is baseline else source.backend.forms(source.artifact, baseline.threads)
        except QuantbenchError as error:
            left_out.append(f"the fp32 model's form '{name}' is not timed: {error}")
            continue
        found |= {_named(name, each, len(forms)): (source, each, form) for each, form in forms.items()}
    return found


def _rivals(baseline: Costs) -> list[str]:
    """Runtimes beside the reference's own that the workload names, or whose libraries are installed."""
    own, named = baseline.artifact.backend.name, baseline.opened.workload.config.latency.runtimes
    if named is not None:
        return [name for name in named if name != own]
    return [name for name, libraries in RUNTIMES.items() if name != own and installed(*libraries)]


def _named(runtime: str, form: str, n_forms: int) -> str:
    return runtime if n_forms == 1 else f"{runtime}, {form}"
