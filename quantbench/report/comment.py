"""A comment on a change: verdicts, newly failing gates and flipped samples, in at most sixty lines of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.files import printable
from quantbench.records.against import VERDICTS
from quantbench.records.base import unpack_bits
from quantbench.records.run import ExperimentError, NotRun, RecordFile, RunRecord, VerdictRecord
from quantbench.report.against import rows, told
from quantbench.report.html.content import drawn_of
from quantbench.report.html.judged import Bounded, bounded
from quantbench.report.tables import not_run_lines
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome

# First line of a comment of ours, by which the next run finds it.
MARKER = "<!-- quantbench:comment -->"
MOST_LINES = 60
# Items of one list, rows of bars, and characters of a text.
ITEMS, BARS, CHARACTERS = 8, 12, 180
# Characters of a bar, and of a name before it.
WIDTH, NAME = 32, 40
# Multiples of a bound that are off the picture.
FAR = 100.0
SIGNS = {Outcome.PASS: "✅", Outcome.FAIL: "❌", Outcome.INCONCLUSIVE: "❔"}
LOSSES = ("accuracy_drop_pp", "score_drop", "parity_pp", "search_drop_pp")


@dataclass(frozen=True)
class Flipped:
    """Samples that an experiment answers otherwise than on the base.

    Attributes:
        experiment: its id.
        lost: right on the base, wrong now.
        gained: the other way round.
        n: samples.
    """

    experiment: str
    lost: int
    gained: int
    n: int


def comment(found: RecordFile, base: RecordFile | None = None, link: str = "") -> str:
    """The comment.

    Args:
        found: records of the change.
        base: records of what it is based on; None where only accepted results are known.
        link: address of the whole report; empty where there is none.
    """
    verdicts = [(record, verdict) for record in found.records for verdict in record.verdicts]
    parts = [[MARKER, f"### quantbench: {_headline(found)}", "", _counts(verdicts)]]
    before = _outcomes(base)
    failing = [(r, v) for r, v in verdicts if v.outcome == Outcome.FAIL]
    newly = [(r, v) for r, v in failing if base is not None and before.get((r.experiment, v.quantity)) != Outcome.FAIL]
    known = [pair for pair in failing if pair not in newly]
    open_ = [(r, v) for r, v in verdicts if v.outcome == Outcome.INCONCLUSIVE and v.change != Change.NO_BASELINE]
    parts += [
        _list("Errors", [f"❌ {_code(e.experiment)} {_code(e.reason)}" for e in found.errors]),
        _list("Gates gone or looser than accepted", [_code(line) for line in found.premises]),
        _list("Newly failing", [_item(r, v) for r, v in newly]),
        _list("Failing on the base as well" if base else "Failing", [_item(r, v) for r, v in known]),
        _list("Inconclusive", [_item(r, v) for r, v in open_]),
        _against(found),
        _flipped(found, base),
        _bars([*(r for r, _ in failing), *found.records]),
        _list("Not run", [_code(line) for line in not_run_lines(found.not_run)]),
    ]
    end = ["", f"[Whole report]({link})"] if link else []
    return "\n".join([*_within(parts, MOST_LINES - len(end)), *end]) + "\n"


def _headline(found: RecordFile) -> str:
    from quantbench.report.html.content import Content
    from quantbench.report.html.summary import headline

    return headline(Content(found.records, found.errors, found.not_run, found.premises))[1]


def _counts(verdicts: Sequence[tuple[RunRecord, VerdictRecord]]) -> str:
    counts = Counter(
        "no baseline" if verdict.change == Change.NO_BASELINE else verdict.outcome for _, verdict in verdicts
    )
    signs = {str(outcome): sign for outcome, sign in SIGNS.items()}
    return " · ".join(f"{signs.get(word, '○')} {n} {word}" for word, n in counts.items()) or "nothing was judged"


def _outcomes(base: RecordFile | None) -> dict[tuple[str, str], str]:
    records = base.records if base else []
    return {(record.experiment, each.quantity): each.outcome for record in records for each in record.verdicts}


def _item(record: RunRecord, verdict: VerdictRecord) -> str:
    sign = SIGNS[Outcome(verdict.outcome)]
    required = f"required: {_code(verdict.requirement)}"
    return f"{sign} {_code(record.experiment)} {_code(verdict.quantity)} {_code(verdict.measured)}, {required}"


def flipped_since(found: RecordFile, base: RecordFile) -> list[Flipped]:
    """Samples whose correctness changed since the base, of experiments that both judge on the same samples."""
    before = {record.experiment: record for record in base.records}
    changed = []
    for record in found.records:
        old = before.get(record.experiment)
        if old is None or record.accuracy is None or old.accuracy is None or old.test_sha256 != record.test_sha256:
            continue
        # In the order of the split, or of those that were drawn from it, which is the same for all; but never of both.
        if (drawn_of(old) is None) != (drawn_of(record) is None):
            continue
        n = min(old.accuracy.n, record.accuracy.n)
        one, other = (unpack_bits(a.quantized_correct, a.n)[:n] for a in (old.accuracy, record.accuracy))
        lost, gained = int((one & ~other).sum()), int((other & ~one).sum())
        if lost or gained:
            changed.append(Flipped(record.experiment, lost, gained, n))
    return sorted(changed, key=lambda each: each.gained - each.lost)


def _flipped(found: RecordFile, base: RecordFile | None) -> list[str]:
    """Samples that flipped since the base; without one, what became worse or better since it was accepted."""
    if base is not None:
        items = [
            f"{_code(each.experiment)} {each.lost} lost, {each.gained} gained of {each.n:,} samples"
            for each in flipped_since(found, base)
        ]
        return _list("Newly flipped", items)
    items = [
        f"{verdict.change}: {_code(record.experiment)} {_code(verdict.measured)}"
        for record in found.records
        for verdict in record.verdicts
        if verdict.change in (Change.REGRESSED, Change.IMPROVED) and verdict.quantity not in VERDICTS
    ]
    return _list("Changed since accepted", items)


def _against(found: RecordFile) -> list[str]:
    """Each experiment since the revision that the run was measured against, the worst first."""
    if found.base is None:
        return []
    made, same = [], 0
    for row in rows(found.records):
        if row.is_same:
            same += 1
            continue
        figures, loss, flips, size, speed, _ = row.cells
        words = f"{figures}, lost {loss}, flips {flips}, size {size}, speed {speed}"
        made.append(f"{_code(row.experiment)} {row.change}: {_code(words)}")
    lines = [_code(line) for line in told(found.base, found.records)]
    lines += [f"{same} hold the same model as the base"] if same else []
    return _list(f"Since {_code(found.base.name)}", [*made, *lines])


def _list(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"- … and {len(items) - ITEMS} more"] if len(items) > ITEMS else []
    return ["", f"**{title}** ({len(items)})", *(f"- {item}" for item in items[:ITEMS]), *more]


def _bars(records: Sequence[RunRecord]) -> list[str]:
    """Loss of each experiment against its bound, those that fail first."""
    rows = []
    for record in dict.fromkeys(each.experiment for each in records):
        own = next(each for each in records if each.experiment == record)
        judged = [(v, b) for v in own.verdicts if v.quantity in LOSSES and (b := bounded(own, v))]
        if judged:
            verdict, figures = judged[0]
            rows.append(f"{SIGNS[Outcome(verdict.outcome)]} {_name(record)} {bar(figures)} {figures.estimate:.3g}")
    if not rows:
        return []
    head = f"   {'loss':<{NAME}} {'0 to bound ┃, beyond ▒':<{WIDTH}}"
    more = [f"… and {len(rows) - BARS} more"] if len(rows) > BARS else []
    return ["", "```text", head, *rows[:BARS], *more, "```"]


def bar(figures: Bounded) -> str:
    """The interval of a figure against its bound in characters.

    Example:
        >>> bar(Bounded(0.4, 0.1, 0.7, 0.95, 1.0, True))
        '        ┣━━━━━●━━━━┫     ┃▒▒▒▒▒▒'
    """
    bound = figures.bound or 1e-9
    # The bound stands at four fifths, zero at a fifth, so that bars of different bounds can be read together.
    start, stop = round(WIDTH * 0.2), round(WIDTH * 0.8) - 1

    def place(value: float) -> int:
        # What is far outside ends at the edge, however far: a product of it may be infinite.
        ratio = min(max(value / bound, -FAR), FAR)
        share = ratio if figures.is_most else 2 - ratio
        return min(max(round(start + share * (stop - start)), 0), WIDTH - 1)

    cells = [" "] * stop + ["┃"] + ["▒"] * (WIDTH - stop - 1)
    low, high = sorted((place(figures.low), place(figures.high)))
    for i in range(low, high + 1):
        cells[i] = "┣" if i == low else "┫" if i == high else "━"
    if low < stop < high:
        cells[stop] = "╋"
    cells[place(figures.estimate)] = "●"
    return "".join(cells)


def _name(experiment: str) -> str:
    name = printable(experiment).replace("`", "'")
    return f"{name if len(name) <= NAME else '…' + name[1 - NAME :]:<{NAME}}"


def _code(text: str) -> str:
    """A text of a file as code: no markup, link, mention or picture in it is read."""
    one_line = printable(" ".join(text.split())).replace("`", "'")
    return f"`{one_line if len(one_line) <= CHARACTERS else one_line[: CHARACTERS - 1] + '…'}`"


def _within(parts: Sequence[Sequence[str]], room: int) -> list[str]:
    """The parts that fit, each whole; those that come last go first."""
    lines: list[str] = []
    left_out = 0
    for part in parts:
        if len(lines) + len(part) > room - 2:
            left_out += bool(part)
        else:
            lines += part
    return [*lines, "", "More is in the records."] if left_out else lines


def commands(records: Sequence[RunRecord], errors: Sequence[ExperimentError], not_run: Sequence[NotRun]) -> str:
    """Commands that show each verdict that is not PASS on a page of GitHub Actions.

    Source:
        https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands, `error`, `warning`.
    """
    levels = {Outcome.FAIL: "error", Outcome.INCONCLUSIVE: "warning"}
    lines = [_command("error", e.experiment, e.reason) for e in errors]
    for record in records:
        for each in record.verdicts:
            level = levels.get(Outcome(each.outcome))
            if level and each.change != Change.NO_BASELINE:
                words = f"{each.quantity}: {each.measured}; required: {each.requirement}"
                lines.append(_command(level, record.experiment, words))
    lines += [_command("notice", "not run", line) for line in not_run_lines(not_run)]
    return "".join(f"{line}\n" for line in lines)


def _command(level: str, title: str, words: str) -> str:
    def escaped(text: str, more: str = "") -> str:
        for each in f"%\r\n{more}":
            text = text.replace(each, f"%{ord(each):02X}")
        return text

    return f"::{level} title={escaped(printable(title), ':,')}::{escaped(printable(' '.join(words.split())))}"
