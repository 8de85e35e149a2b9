"""The results of a run where a CI service shows them: appended as Markdown to the file that it names."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from quantbench.files import append_text
from quantbench.records.run import ExperimentError, NotRun, RunRecord, VerdictRecord
from quantbench.report.sensitivity import sensitivity_markdown
from quantbench.report.tables import markdown_table, not_run_lines, provenance, without_baseline
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome

# Set by GitHub Actions to a file whose Markdown it shows on the page of the run.
VARIABLE = "GITHUB_STEP_SUMMARY"


def summary_markdown(
    records: Sequence[RunRecord],
    not_run: Sequence[NotRun],
    sentences: Sequence[str] = (),
    errors: Sequence[ExperimentError] = (),
) -> str:
    """Counts of verdicts, each verdict that is not PASS with what was measured, and all tables."""
    verdicts = [(record.experiment, verdict) for record in records for verdict in record.verdicts]
    counts = {outcome: sum(verdict.outcome == outcome for _, verdict in verdicts) for outcome in Outcome}
    parts = ["## quantbench", ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n) or "nothing was judged"]
    messages = [
        (verdict.outcome, verdict.change == Change.NO_BASELINE, experiment, _item(experiment, verdict))
        for experiment, verdict in verdicts
    ]
    parts += [f"- **error** `{each.experiment}`: {_one_line(each.reason)}" for each in errors]
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        parts += [text for each, is_new, _, text in messages if each == outcome and not is_new]
    parts += [
        f"- {line}" for line in without_baseline([(id_, text[2:]) for _, is_new, id_, text in messages if is_new])
    ]
    parts += [
        f"- **warning** `{experiment}`: {verdict.quantity}: {_one_line(verdict.warning)}"
        for experiment, verdict in verdicts
        if verdict.warning
    ]
    parts += [f"- {_one_line(line)}" for line in [*not_run_lines(not_run), *sentences]]
    if records or errors:
        parts += [markdown_table(records, errors), sensitivity_markdown(records), provenance(records)]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _item(experiment: str, verdict: VerdictRecord) -> str:
    """A verdict as an item of a list."""
    measured, requirement = _one_line(verdict.measured), _one_line(verdict.requirement)
    blame = f"; blame: {_one_line(verdict.blame)}" if verdict.blame else ""
    return f"- **{verdict.outcome}** `{experiment}`: {verdict.quantity}: {measured}; required: {requirement}{blame}"


def append_step_summary(
    records: Sequence[RunRecord],
    not_run: Sequence[NotRun],
    sentences: Sequence[str] = (),
    errors: Sequence[ExperimentError] = (),
) -> None:
    """Appends the summary to the service's file, if there is one; a file that cannot be written fails no run.

    Args:
        records: of the experiments that were measured.
        not_run: those that could not be started.
        sentences: about the run as a whole.
        errors: of experiments that could not be measured, or not all of them.
    """
    place = os.environ.get(VARIABLE)
    if not place or not (records or not_run or errors):
        return
    try:
        append_text(Path(place), summary_markdown(records, not_run, sentences, errors))
    except OSError as error:
        print(f"${VARIABLE}: {place}: cannot be written ({error.strerror}); the summary is left out", file=sys.stderr)


def _one_line(text: str) -> str:
    """A list item ends with its line, and a bar or a backtick in it would be read as Markdown."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
