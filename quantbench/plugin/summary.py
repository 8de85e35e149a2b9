"""The end of a run on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quantbench.plugin.properties import BEHAVIOUR_PROPERTY, MESSAGE_PROPERTY, NO_BASELINE_PROPERTY, WARNING_PROPERTY
from quantbench.plugin.state import STATE
from quantbench.streams import degrade


def write_summary(terminalreporter: Any) -> None:
    """Writes what the session tells, what was inconclusive, and the table of results."""
    state = terminalreporter.config.stash[STATE]
    # pytest would write the whole table as one line of escapes where the terminal cannot encode a character of it.
    degrade(getattr(terminalreporter._tw, "_file", None))
    if state.mistake is not None and terminalreporter.config.getoption("numprocesses", None):
        terminalreporter.write_line(f"ERROR: {state.mistake}", red=True)
    for text in state.session_lines:
        terminalreporter.write_line(text)
    _section(terminalreporter, "FAILED: what this run rests on", state.premises)
    for text in state.lost:
        terminalreporter.write_line(text)
    _section(
        terminalreporter,
        "inconclusive: more samples, or a quiet machine without parallel workers, decide",
        list(_properties(terminalreporter, MESSAGE_PROPERTY)),
    )
    if new := [(value[0], value[1]) for value in _properties(terminalreporter, NO_BASELINE_PROPERTY)]:
        from quantbench.report.tables import without_baseline

        _section(terminalreporter, "no baseline for this machine: nothing to compare speed with", without_baseline(new))
    _section(terminalreporter, "warnings", list(_properties(terminalreporter, WARNING_PROPERTY)))
    _section(
        terminalreporter,
        "change of behaviour: predictions flipped although nothing else changed",
        list(_properties(terminalreporter, BEHAVIOUR_PROPERTY)),
    )
    if not state.has_results:
        _write_count(terminalreporter, state)
        return
    told = set(state.lost)
    for what, write in {"the step summary": _append_summary, "showing the table": _write_table}.items():
        with state.losing(what):
            write(terminalreporter, state)
    for text in state.lost.keys() - told:
        terminalreporter.write_line(text)


def _append_summary(_: Any, state: Any) -> None:
    from quantbench.report.step_summary import append_step_summary

    append_step_summary(state.records(), state.not_run_list(), state.sentences(), state.errors())


def _write_table(terminalreporter: Any, state: Any) -> None:
    from quantbench.report.sensitivity_plot import sensitivity_summary
    from quantbench.report.tables import terminal_table

    records, not_run = state.records(), state.not_run_list()
    if not records and not not_run:
        _write_count(terminalreporter, state)
        return
    terminalreporter.section("quantbench")
    width, color = terminalreporter._tw.fullwidth, terminalreporter._tw.hasmarkup
    terminalreporter.write(terminal_table(records, not_run, width, color, state.errors()))
    for sentence in state.sentences():
        terminalreporter.write_line(sentence)
    terminalreporter.write(sensitivity_summary(records, state.folder("plots")))


def _write_count(terminalreporter: Any, state: Any) -> None:
    """Counts the claims that were not looked at where no table has done it."""
    if state.not_looked_at:
        terminalreporter.write_line(state.not_looked_at)


def _section(terminalreporter: Any, title: str, lines: list[str]) -> None:
    if lines:
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


def _properties(terminalreporter: Any, name: str) -> Iterator[Any]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                yield from (value for key, value in report.user_properties if key == name)
