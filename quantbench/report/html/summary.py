"""The top of the page: the verdict in a sentence, then everything that is not as it should be, and what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from quantbench.records.against import VERDICTS
from quantbench.records.run import RunRecord, VerdictRecord
from quantbench.report.html.content import Content
from quantbench.report.html.judged import badge, verdict_words
from quantbench.report.html.links import link_to
from quantbench.report.html.markup import Child, Html, element, joined, section
from quantbench.report.tables import not_run_lines
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome

# Items of a list that are shown at once; the others are one click away.
SHOWN = 12


def headline(content: Content) -> tuple[str, str]:
    """The verdict on everything: the worst outcome, and a sentence."""
    outcomes = [verdict.outcome for _, verdict in judged(content) if verdict.change != Change.NO_BASELINE]
    failed = sorted({record.experiment for record, verdict in judged(content) if verdict.outcome == Outcome.FAIL})
    count = Counter(outcomes)
    of = f"of {len(content.records)} {_plural(len(content.records), 'experiment')}"
    if failed:
        word = "fails" if len(failed) == 1 else "fail"
        return Outcome.FAIL, f"{len(failed)} {of} {word} a gate"
    if content.premises:
        n = len(content.premises)
        return Outcome.FAIL, f"{n} {_plural(n, 'gate is', 'gates are')} gone or looser than accepted"
    if content.errors:
        n = len({each.experiment for each in content.errors})
        return "error", f"{n} {_plural(n, 'experiment')} could not be measured whole"
    if count[Outcome.INCONCLUSIVE]:
        n = count[Outcome.INCONCLUSIVE]
        return Outcome.INCONCLUSIVE, f"No gate fails, but {n} {_plural(n, 'verdict is', 'verdicts are')} inconclusive"
    if not outcomes:
        return "not run", "Nothing was judged"
    n = len(content.not_run)
    rest = f"; {n} {_plural(n, 'experiment was', 'experiments were')} not run" if n else ""
    return Outcome.PASS, f"All {count[Outcome.PASS]} gates {of} hold{rest}"


def judged(content: Content) -> list[tuple[RunRecord, VerdictRecord]]:
    """Every verdict with its record."""
    return [(record, verdict) for record in content.records for verdict in record.verdicts]


def verdict_section(content: Content) -> Html:
    """The sentence, counts, and each verdict that is not PASS with its words."""
    outcome, sentence = headline(content)
    counts = Counter(
        "no baseline" if verdict.change == Change.NO_BASELINE else verdict.outcome for _, verdict in judged(content)
    )
    told = ", ".join(f"{n} {word}" for word, n in counts.items())
    lists = [
        listed("Errors", [joined(badge("error"), " ", link_to(e.experiment), ": ", e.reason) for e in content.errors]),
        listed("Gates gone or looser than accepted", list(content.premises)),
        listed("Failing", _words(content, Outcome.FAIL)),
        listed("Inconclusive", _words(content, Outcome.INCONCLUSIVE)),
        listed("Warnings", [verdict_words(r, v) for r, v in judged(content) if v.warning]),
        listed("Not run", list(not_run_lines(content.not_run))),
    ]
    said = element("p", badge(outcome), " ", element("strong", f"{sentence}."), " ", told, class_="headline")
    return section("verdict", "Verdict", said, *lists)


def _words(content: Content, outcome: str) -> list[Html]:
    return [
        verdict_words(record, verdict)
        for record, verdict in judged(content)
        if verdict.outcome == outcome and verdict.change != Change.NO_BASELINE
    ]


def changes_section(content: Content) -> Html:
    """Changes of everything that was accepted, the worst first; where nothing changed, one sentence."""
    compared = [
        (record, verdict) for record, verdict in judged(content) if verdict.change and verdict.quantity not in VERDICTS
    ]
    if not compared:
        return Html("")
    counts = Counter(str(verdict.change) for _, verdict in compared)
    told = ", ".join(f"{counts[change]} {change}" for change in Change if counts[change])
    lists = [
        listed(title, [verdict_words(record, verdict) for record, verdict in compared if verdict.change == change])
        for change, title in (
            (Change.REGRESSED, "Worse"), (Change.IMPROVED, "Better"),
            (Change.NO_BASELINE, "Nothing accepted on this class of machine"),
        )
    ]  # fmt: skip
    note = "Each experiment against the result that was accepted last, on the same samples."
    structure = listed("Saved files that differ from the accepted ones", _structure(content))
    return section("changes", "Since accepted", element("p", f"{told}."), *lists, structure, note=note)


def _structure(content: Content) -> list[Html]:
    return [
        verdict_words(record, verdict)
        for record, verdict in judged(content)
        if verdict.quantity == "checkpoint" and verdict.outcome != Outcome.PASS
    ]


def listed(title: str, items: Sequence[Child]) -> Html:
    """A titled list, the rest of a long one folded away; nothing without items."""
    if not items:
        return Html("")
    more = None
    if len(items) > SHOWN:
        rest = items[SHOWN:]
        more = element("details", element("summary", f"{len(rest)} more"), _list(rest))
    return joined(element("h3", f"{title} ({len(items)})"), _list(items[:SHOWN]), more)


def _list(items: Iterable[Child]) -> Html:
    return element("ul", [element("li", item) for item in items], class_="verdicts")


def _plural(n: int, one: str, many: str = "") -> str:
    return one if n == 1 else many or f"{one}s"
