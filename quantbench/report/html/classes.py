"""Answers by class, before and after: which classes lost, and what they are taken for now."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantbench.records.classes import ClassFacts, unpack_answers
from quantbench.records.run import RunRecord
from quantbench.report.html.markup import Child, Html, element, part, scrolling, table

# Classes of which a matrix can be read; of more, the pairs that changed most are listed.
MOST_CLASSES, SHOWN_PAIRS = 12, 15


def classes_part(record: RunRecord) -> Html:
    """The confusion matrix before → after, or its pairs that changed most, and the classes that changed."""
    facts = record.parts.get("classes")
    if not isinstance(facts, ClassFacts):
        return Html("")
    labels, before, after = (
        unpack_answers(each, facts.n) for each in (facts.labels, facts.fp32_answers, facts.quantized_answers)
    )
    if (before == after).all():
        return part("Classes", element("p", f"Both models give all {facts.n:,} samples the same class."))
    matrices = [_confusion(labels, answers, len(facts.classes)) for answers in (before, after)]
    names = [each.name for each in facts.classes]
    shown = _matrix(names, *matrices) if len(names) <= MOST_CLASSES else _pairs(names, *matrices)
    return part("Classes", shown, _by_class(facts), note="Confusion of the reference → of the candidate, in samples.")


def _confusion(labels: NDArray[np.int64], answers: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """`[n, n]` counts: class of the sample, class that is answered."""
    return np.bincount(labels * n + answers, minlength=n * n).reshape(n, n)


def _matrix(names: list[str], before: NDArray[np.int64], after: NDArray[np.int64]) -> Html:
    most = max(int(np.abs(after - before).max()), 1)
    rows = []
    for i, name in enumerate(names):
        cells = [_cell(int(before[i, j]), int(after[i, j]), i == j, most) for j in range(len(names))]
        rows.append(element("tr", element("th", name, scope="row"), cells))
    head = element(
        "tr", element("th", "class ↓ taken for →", scope="col"), [element("th", n, scope="col") for n in names]
    )
    made = element(
        "table",
        element("caption", "Confusion before → after", class_="hidden"),
        element("thead", head),
        element("tbody", rows),
        class_="matrix",
    )
    return scrolling("Confusion before and after", made)


def _cell(before: int, after: int, is_right: bool, most: int) -> Html:
    change = after - before
    if not change:
        return element("td", f"{after:,}" if after else "·", class_="muted" if not is_right else "same")
    better = (change > 0) == is_right
    strength = 1 + round(2 * abs(change) / most)
    words: list[Child] = [f"{before:,} → {after:,} ", element("span", f"({change:+d})")]
    return element("td", words, class_=f"{'better' if better else 'worse'}-{strength}")


def _pairs(names: list[str], before: NDArray[np.int64], after: NDArray[np.int64]) -> Html:
    change = after - before
    np.fill_diagonal(change, 0)
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:SHOWN_PAIRS]
    places = [(int(k) // len(names), int(k) % len(names)) for k in order if change.flat[k]]
    rows = [
        (f"{names[i]} taken for {names[j]}", f"{before[i, j]:,}", f"{after[i, j]:,}", f"{change[i, j]:+d}")
        for i, j in places
    ]
    return table(
        f"Confusions that changed most, of {len(names)} classes", ("confusion", "before", "after", "change"), rows
    )


def _by_class(facts: ClassFacts) -> Html:
    changed = sorted((each for each in facts.classes if each.lost or each.gained), key=lambda c: c.gained - c.lost)
    rows = [
        (each.name, f"{each.n:,}", f"{each.fp32:,}", f"{each.quantized:,}", str(each.lost), str(each.gained))
        for each in changed[:SHOWN_PAIRS]
    ]
    titles = ("class", "samples", "right before", "right after", "lost", "gained")
    return table("Classes with samples that became right or wrong, most lost first", titles, rows)
