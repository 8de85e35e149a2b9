"""Claims that a run made, against those that its experiments ask for: nothing is left out without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import pytest

from quantbench.plugin.properties import CLAIM_PROPERTY, FAILS_PROPERTY, NOT_RUN_PROPERTY
from quantbench.plugin.selected import set_up, typed, untimed_by

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment

# Quantities that are named; the rest is counted.
SHOWN = 6

# With which pytest-benchmark skips what its options leave out.
BENCHMARK_REASONS = (
    "Skipping benchmark (--benchmark-skip active).", "Skipping non-benchmark (--benchmark-only active).",
)  # fmt: skip

# Experiment and quantity.
Claimed = tuple[str, str]


class LookedAt:
    """Claims of one run.

    Attributes:
        made: those with a verdict or an error, and those whose facts are accepted.
        skipped: those that a mark or a fixture skipped → the reason given.
        hidden: those that fail, and whose test was reported as passed.
        dropped: those whose test was collected and removed, by no selection of pytest's.
        selected: those whose test was collected and not left out.
    """

    def __init__(self) -> None:
        self.made: set[Claimed] = set()
        self.skipped: dict[Claimed, str] = {}
        self.hidden: set[Claimed] = set()
        self.dropped: set[Claimed] = set()
        self.selected: set[Claimed] = set()

    def note(self, report: pytest.TestReport) -> None:
        """Notes the claim of a test's report, if it makes one."""
        properties = dict(report.user_properties)
        if (text := properties.get(CLAIM_PROPERTY)) is None:
            return
        experiment, _, quantity = str(text).partition(" ")
        claim = experiment, quantity
        # Of this quantity, since a test may show verdicts of its own.
        if report.failed or f"quantbench_{quantity}" in properties:
            self.made.add(claim)
            if FAILS_PROPERTY in properties and not report.failed and report.when == "call":
                self.hidden.add(claim)
        elif report.skipped and NOT_RUN_PROPERTY not in properties:
            self.skipped[claim] = _reason(report)

    def skipped_by_code(self, is_benchmark_selected: bool) -> dict[Claimed, str]:
        """Skipped claims, but for those that pytest-benchmark skips where the command line asks for it."""
        reasons = BENCHMARK_REASONS if is_benchmark_selected else ()
        return {claim: reason for claim, reason in self.skipped.items() if reason not in reasons}

    def unjudged(self, planned: Iterable[Claimed], not_run: Collection[str]) -> list[Claimed]:
        """Claims whose test was selected and neither skipped nor failed, and gave no verdict."""
        return [claim for claim in self.left_out(planned, not_run) if claim in self.selected - self.skipped.keys()]

    def left_out(self, planned: Iterable[Claimed], not_run: Collection[str]) -> list[Claimed]:
        """Planned claims that were not made, but for those of experiments without data."""
        return [claim for claim in planned if claim not in self.made and claim[0] not in not_run]


def planned_claims(selected: Iterable[Experiment]) -> list[Claimed]:
    """Every claim that experiments ask for: a verdict on each of their gates, and on what needs no bound."""
    from quantbench.session.plan import Plan

    plan = Plan.of_experiments(selected)
    return [(claim.experiment.id, claim.quantity) for claim in plan.claims if claim.is_judged]


def refuse_xfail(report: pytest.TestReport, claim: Claimed) -> None:
    """Fails a claim that was expected to fail by a mark that its fixtures set, or by `pytest.xfail()`."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
        report.outcome = "failed"
        report.longrepr = f"{claim[0]}: {claim[1]}: xfail on a claim is refused; loosen the gate instead"


def outcome(
    config: pytest.Config, looked_at: LookedAt, planned: list[Claimed], not_run: Collection[str], is_cut_short: bool
) -> tuple[list[str], str | None]:
    """Claims that a run left out.

    Returns:
        Lines that fail the run, and the sentence that counts what the command line left out, if anything.
    """
    by_user, by_settings = typed(config), set_up(config)
    missing = looked_at.left_out(planned, not_run)
    lines = []
    if looked_at.hidden:
        lines.append(f"claims that fail were reported as passed: {shown(looked_at.hidden)}; a FAIL is no pass")
    if looked_at.dropped:
        lines.append(
            f"tests of claims were removed after they were collected, by no selection of pytest's: "
            f"{shown(looked_at.dropped)}; take that hook out of conftest.py"
        )
    skipped = looked_at.skipped_by_code(any("--benchmark" in option for option in by_user))
    unjudged = looked_at.unjudged(planned, not_run)
    if unjudged and not is_cut_short:
        lines.append(
            f"tests of claims gave no verdict: {shown(unjudged)}; let them call the fixture that judges, "
            "which a conftest.py may have replaced"
        )
    if skipped:
        reasons = ", ".join(dict.fromkeys(filter(None, skipped.values())))
        lines.append(f"claims were skipped ({reasons}): {shown(skipped)}; a claim that is skipped is no pass")
    elif missing and by_settings and not is_cut_short:
        lines.append(f"settings leave claims out ({', '.join(by_settings)}): {shown(missing)}; take that out of them")
    elif missing and not by_user and not is_cut_short and not lines:
        lines.append(f"claims that nothing on the command line leaves out were not made: {shown(missing)}")
    untimed, by_option = _untimed(config, looked_at, planned)
    if untimed and not by_option and not is_cut_short:
        _, settings = untimed_by(config)
        lines.append(
            f"settings leave claims about speed without a verdict ({', '.join(settings)}): {shown(untimed)}; take that "
            "out of them and type it, or leave these claims out with -m 'not latency'"
        )
    count = len(missing) + (len(untimed) if by_option else 0)
    if not count:
        return lines, None
    why = f" (left out by {' '.join([*by_user, *by_option])})" if by_user or by_option else ""
    return lines, f"{count:,} of {len(planned):,} claims of these experiments were not looked at{why}"


def _untimed(config: pytest.Config, looked_at: LookedAt, planned: list[Claimed]) -> tuple[list[Claimed], list[str]]:
    """Claims about speed that were made without timing, and the options of the command line that ask for it."""
    by_user, settings = untimed_by(config)
    if not by_user and not settings:
        return [], []
    from quantbench.quantities.judging import quantities

    timed = {each.name for each in quantities() if each.timed}
    return [claim for claim in planned if claim in looked_at.made and claim[1] in timed], by_user


def shown(claims: Iterable[Claimed]) -> str:
    """Quantities with the experiments that lack them: named where there is one, otherwise counted."""
    found = list(claims)
    counts = Counter(quantity for _, quantity in found)
    first = {quantity: id_ for id_, quantity in reversed(found)}
    words = [
        f"{quantity} of {first[quantity]}" + (f" and {n - 1} more" if n > 1 else "") for quantity, n in counts.items()
    ]
    return "; ".join(words[:SHOWN]) + (f"; and {len(words) - SHOWN} more quantities" if len(words) > SHOWN else "")


def _reason(report: pytest.TestReport) -> str:
    found = report.longrepr
    return str(found[2]).removeprefix("Skipped: ") if isinstance(found, tuple) else ""
