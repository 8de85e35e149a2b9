"""Goldens that no experiment claims."""

from __future__ import annotations

from collections.abc import Iterable
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
