"""The search for mixed precision that an experiment asks for: as it was accepted, and what it costs in accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench.config.schema import SearchConfig
from quantbench.errors import ConfigError
from quantbench.experiment.result import machine_of
from quantbench.experiment.run import Run
from quantbench.golden.documents import differences, read_document, shortened
from quantbench.quantities.accuracy import judge_drop
from quantbench.records.search import Decision, SearchRecord
from quantbench.search.run import SearchRun
from quantbench.search.settings import SearchSettings
from quantbench.stats.verdicts import Outcome, Verdict

SEARCH = "search"
SEARCH_DROP = "search_drop_pp"


def searched(run: Run) -> SearchRecord:
    """What the experiment's search finds, made once a run.

    Raises:
        ConfigError: if the experiment asks for no search.
    """
    if run.search is None:
        config = _config(run)
        settings = SearchSettings(config.epsilon_pp)
        command = f"quantbench search {run.experiment.id}"
        run.search = SearchRun(run, config.low).search(settings, command)
    return run.search


def _config(run: Run) -> SearchConfig:
    config = run.experiment.config.search
    if config is None:
        raise ConfigError(f"{run.experiment.where('search')}: is not set; add search: {{low: …, epsilon_pp: …}}")
    return config


def search_path(run: Run) -> Path:
    """Where the accepted search of an experiment lies; searches by other int8 kernels have files of their own."""
    return run.settings.golden / "searches" / f"{run.golden_name}.json"


def search_document(run: Run) -> dict[str, Any]:
    """What is accepted of a search: the widths found and the decision log, with what they were found from.

    Of a rejection no drop is accepted: how far beyond ε it was seen to be depends on how early it was certain.
    """
    import torch

    record = searched(run)
    return {
        "machine": str(machine_of(run, torch.get_num_threads())),
        "samples": {"split": record.split, "n": record.n, "sha256": record.split_sha256},
        "epsilon_pp": record.epsilon_pp,
        "high": record.high,
        "low": record.low,
        "bits": dict(zip((layer.name for layer in record.layers), record.bits, strict=True)),
        "decisions": {f"{i:02} {each.layer}": _words(each) for i, each in enumerate(record.decisions, start=1)},
    }


def _words(decision: Decision) -> str:
    if decision.accepted and decision.drop_pp is not None:
        return f"accepted, total drop {decision.drop_pp:.3f} pp"
    return "rejected, logits not finite" if decision.reason == "not_finite" else "rejected"


def judge_search(run: Run) -> Verdict:
    """The widths and the decision log against what was accepted.

    Predictions may flip between classes of machines, and so may a close decision: elsewhere a difference is no verdict.
    """
    accepted, found = read_document(search_path(run)), search_document(run)
    if accepted is None:
        return _verdict(Outcome.FAIL, f"no golden {search_path(run)} was ever accepted")
    machine, here = accepted.pop("machine", "–"), found.pop("machine")
    changed = differences(accepted, found)
    if not changed:
        return _verdict(Outcome.PASS, "as accepted")
    lines = f"{len(changed)} difference(s), old → new:\n{shortened(changed)}"
    if machine != here:
        return _verdict(Outcome.INCONCLUSIVE, f"accepted on another class of machine ({machine} → {here}); {lines}")
    return _verdict(Outcome.FAIL, lines)


def _verdict(outcome: Outcome, measured: str) -> Verdict:
    return Verdict(SEARCH, outcome, None, None, None, 1, measured, "the accepted widths and decision log")


def judge_search_drop(run: Run, bound: float) -> Verdict:
    """What was found against all layers high, on the test split, which the search never saw."""
    confirmed = searched(run).confirmed
    if confirmed is None:
        raise ConfigError(f"{run.experiment.id}: what was found was not confirmed; search again with --fresh")
    return judge_drop(run, confirmed, bound, SEARCH_DROP)
