"""Goldens that nothing checks: no experiment claims them, or no test looks at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from quantbench.config.schema import Experiment
from quantbench.golden.kinds import KINDS


def orphans(golden: Path, experiments: Iterable[Experiment]) -> list[Path]:
    """Goldens that no configured experiment claims, of every kind that claims check.

    A fact that is checked whenever it is loaded is never one: nobody relies on it unseen.
    """
    known = list(experiments)
    return [
        path
        for kind in KINDS.values()
        if kind.claims
        for id_, path in kind.files(golden)
        if id_ not in {experiment.id for experiment in known if kind.is_claimed_by(experiment)}
    ]


def unchecked(golden: Path, experiments: Iterable[Experiment], checked: Mapping[str, set[str]]) -> list[Path]:
    """Goldens of some experiments that no test of a run looks at.

    Args:
        golden: folder of all goldens.
        experiments: those that the run selected.
        checked: claim → ids of the experiments that the run's tests make it about.
    """
    selected = {experiment.id for experiment in experiments}
    return [
        path
        for kind in KINDS.values()
        if kind.claims
        for id_, path in kind.files(golden)
        if id_ in selected and not any(id_ in checked.get(claim, ()) for claim in kind.claims)
    ]
