"""A first session over a drafted workload: everything measured once, gates set off it, and what was found accepted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from quantbench.config.draft import Draft
from quantbench.config.schema import Experiment
from quantbench.errors import QuantbenchError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.acceptance import accept_command
from quantbench.golden.kinds import KINDS, kind_checked_by
from quantbench.quantities.judging import family_of
from quantbench.session.first_gates import Bound, first_gates, unfit, unsound_speed
from quantbench.session.plan import Plan
from quantbench.session.result import SessionResult, run_session
from quantbench.stats.multiplicity import Family
from quantbench.stats.verdicts import Outcome


@dataclass(frozen=True)
class Start:
    """A drafted workload, measured.

    Attributes:
        draft: with the gates of the experiments that can be gated.
        runs: with all that was measured, and nothing accepted.
        left_out: a line about each experiment that is not in the draft any more, and about gates that are not set.
        result: of the session that measured.
    """

    draft: Draft
    runs: Runs
    left_out: tuple[str, ...]
    result: SessionResult


def measured_start(draft: Draft, command: str, nowhere: Path) -> Start:
    """Measures every experiment of a draft and sets its gates.

    Args:
        draft: without gates.
        command: noted in records.
        nowhere: an empty folder, since nothing is accepted yet.

    Raises:
        QuantbenchError: if nothing could be measured of any experiment, a line for each reason.
    """
    experiments = draft.read()
    whole = Plan.of_experiments(experiments)
    plan = Plan(tuple(claim for claim in whole.claims if kind_checked_by(claim.quantity) is None))
    # As many verdicts share the false alarms as will, once each has the gate on what is lost.
    family = Family(family_of(claim.quantity for claim in whole.claims if claim.is_judged).gates + len(experiments))
    runs = Runs(Settings(nowhere, family=family))
    result = run_session(runs, plan, command, configured=experiments)
    if result.interrupted:
        raise KeyboardInterrupt
    gates: dict[str, dict[str, Bound]] = {}
    left_out = []
    for experiment in experiments:
        if reason := _left_out(experiment, runs, result):
            left_out.append(f"left out: {experiment.name}: {reason}")
            continue
        run = runs.by_id[experiment.id]
        gates[experiment.name] = first_gates(run)
        if unsound := unsound_speed(run):
            accept = accept_command(experiment.id, speed_only=True)
            later = f"on a quiet machine: {accept}, and set a gate that it reaches"
            why = unsound.removesuffix("; accept it on one")
            left_out.append(f"{experiment.name}: no gate on speed, and no speed accepted: {why}; {later}")
    if not gates:
        raise QuantbenchError("\n".join(["nothing is written:", *left_out]))
    return Start(draft.with_gates(gates), runs, tuple(left_out), result)


def accepting_plan(start: Start, golden: Path) -> tuple[Plan, list[Experiment]]:
    """Claims of a session that accepts what was measured, without measuring it again, and their experiments.

    Args:
        start: its runs are made those of that session.
        golden: folder of goldens.
    """
    experiments = start.draft.read(is_saved=True)
    plan, runs = Plan.of_experiments(experiments), start.runs
    runs.settings = replace(runs.settings, golden=golden)
    runs.by_id = {experiment.id: runs.by_id[experiment.id] for experiment in experiments}
    for experiment in experiments:
        run = runs.by_id[experiment.id]
        run.experiment, run.settings = experiment, runs.settings
        run.verdicts.clear()
    claims = [
        claim
        for claim in plan.claims
        if not (claim.is_timed and kind_checked_by(claim.quantity) and unsound_speed(runs.by_id[claim.experiment.id]))
    ]
    return Plan(tuple(claims)), experiments


def goldens_of(golden: Path, workload: str) -> list[Path]:
    """Files that hold accepted facts of a workload's experiments."""
    found = [path for kind in KINDS.values() for id_, path in kind.files(golden) if id_.startswith(f"{workload}/")]
    return sorted(set(found))


def _left_out(experiment: Experiment, runs: Runs, result: SessionResult) -> str | None:
    """Reason why an experiment gets no gates; None if it does."""
    missing = [each.reason for each in result.not_run if each.experiment == experiment.id]
    errors = [each.reason for each in result.errors if each.experiment == experiment.id] or missing
    if errors:
        return errors[0]
    run = runs.by_id.get(experiment.id)
    if run is None or not run.results:
        return "nothing could be measured"
    failed = [verdict for verdict in run.verdicts.values() if verdict.outcome is Outcome.FAIL]
    if failed:
        return f"{failed[0].quantity} failed: {failed[0].measured}; required: {failed[0].requirement}"
    return unfit(run)
