"""Samples that the candidate answers otherwise than the reference, with their pictures or sounds if they are here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbench.records.base import unpack_bits
from quantbench.records.classes import ClassFacts, unpack_answers
from quantbench.records.run import RunRecord
from quantbench.records.scores import unpack_scores
from quantbench.report.html.content import Content, Place, drawn_of, workload_of
from quantbench.report.html.markup import Child, Html, element, joined, part

# Samples that are shown of an experiment, and of them those that were lost, if others are to be shown.
SHOWN, SHOWN_LOST = 18, 12


@dataclass(frozen=True)
class Flip:
    """A sample whose answer changed.

    Attributes:
        position: in the test split, from 0; of those that were looked at where not all were.
        kind: `lost`, `gained`, or `changed` where it is wrong both times or neither is known.
        words: class, and answers before and after, or scores.
    """

    position: int
    kind: str
    words: str


def flips(record: RunRecord) -> list[Flip]:
    """Samples that changed, those that were lost first."""
    facts = record.parts.get("classes")
    if isinstance(facts, ClassFacts):
        found = _of_answers(facts)
    elif record.accuracy:
        before, after = (
            unpack_bits(bits, record.accuracy.n)
            for bits in (record.accuracy.fp32_correct, record.accuracy.quantized_correct)
        )
        found = [Flip(int(i), "lost" if before[i] else "gained", "") for i in np.flatnonzero(before != after)]
    elif record.score:
        return _of_scores(record)
    else:
        return []
    return sorted(found, key=lambda flip: (("lost", "gained", "changed").index(flip.kind), flip.position))


def shown(found: Sequence[Flip]) -> list[Flip]:
    """Those that a page has room for: of each kind some."""
    lost = [flip for flip in found if flip.kind == "lost"]
    others = [flip for flip in found if flip.kind != "lost"]
    kept = max(SHOWN_LOST, SHOWN - len(others))
    return [*lost[:kept], *others[: SHOWN - len(lost[:kept])]]


def _of_answers(facts: ClassFacts) -> list[Flip]:
    labels, before, after = (
        unpack_answers(each, facts.n) for each in (facts.labels, facts.fp32_answers, facts.quantized_answers)
    )
    found = []
    for i in np.flatnonzero(before != after):
        label, first, second = (facts.classes[int(each[i])].name for each in (labels, before, after))
        kind = "lost" if first == label else "gained" if second == label else "changed"
        found.append(Flip(int(i), kind, f"{label}: {first} → {second}"))
    return found


def _of_scores(record: RunRecord) -> list[Flip]:
    """Samples whose score changed most; of statistics of several numbers nothing is one sample's score."""
    score = record.score
    if score is None:
        return []
    before, after = (unpack_scores(each, score.n) for each in (score.reference_scores, score.candidate_scores))
    if before.shape[1] != 1:
        return []
    loss = (before - after)[:, 0] * (1 if score.higher_is_better else -1)
    order = [int(i) for i in np.argsort(-np.abs(loss), kind="stable")[:SHOWN] if loss[i]]
    return [Flip(i, "lost" if loss[i] > 0 else "gained", f"{before[i, 0]:.4g} → {after[i, 0]:.4g}") for i in order]


def wanted(records: Sequence[RunRecord]) -> dict[str, list[Place]]:
    """Samples that the page shows, by workload: those of the most experiments first.

    Classes may be compared on more samples than were drawn; of these nobody knows the place.
    """
    counts: dict[str, Counter[Place]] = {}
    for record in records:
        workload, drawn = workload_of(record), drawn_of(record)
        places = [place_of(record, flip) for flip in shown(flips(record))]
        known = [place for place in places if drawn is None or place[2] < drawn.used]
        counts.setdefault(workload, Counter()).update(known)
    return {workload: [place for place, _ in count.most_common()] for workload, count in counts.items() if count}


def place_of(record: RunRecord, flip: Flip) -> Place:
    """The sample of a flip, among those of all records."""
    return workload_of(record), drawn_of(record) is not None, flip.position


def media_class(place: Place, workloads: Sequence[str]) -> str:
    """Class of an element that shows a picture, whose bytes are in the page once."""
    workload, is_drawn, position = place
    return f"s{workloads.index(workload)}-{'d' if is_drawn else ''}{position}"


def media_style(content: Content) -> str:
    """Rules that give each picture to the elements of its class."""
    rules = []
    for place, media in content.media.items():
        if media.kind == "picture":
            name = media_class(place, content.workloads)
            rules.append(f'.{name}{{background-image:url("{media.uri}")}}')
    return "\n".join(rules)


def samples_part(record: RunRecord, content: Content, heard: set[Place]) -> Html:
    """Samples that changed; a sound is in the page once, where it is met first.

    Args:
        record: of the experiment.
        content: of the page.
        heard: sounds that are in the page already; grows.
    """
    found = flips(record)
    if not found:
        return Html("")
    counts = Counter(flip.kind for flip in found)
    told = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("lost", "gained", "changed") if counts[kind])
    if record.score and not record.accuracy:
        told = f"{record.score.changed:,} scores changed; the largest changes"
    rest = f" {SHOWN} of them are shown." if len(found) > SHOWN else ""
    if (drawn := drawn_of(record)) is not None:
        rest += (
            f" {drawn.used:,} of {drawn.total:,} samples were looked at, in random order, in which they are counted."
        )
    items = [_item(flip, place_of(record, flip), content, heard) for flip in shown(found)]
    return part("Samples that flipped", element("p", f"{told}.{rest}"), element("ul", items, class_="samples"))


def _item(flip: Flip, key: Place, content: Content, heard: set[Place]) -> Html:
    medium: Child = None
    found = content.media.get(key)
    if found and found.kind == "picture":
        name = media_class(key, content.workloads)
        words = f"Sample {flip.position}, {flip.words or flip.kind}"
        medium = element("span", role="img", aria_label=words, class_=f"sample {name}")
    elif found and key not in heard:
        heard.add(key)
        medium = element(
            "audio", controls=True, preload="none", src=Html(found.uri), id=_sound_id(content, key),
            aria_label=f"Sample {flip.position}",
        )  # fmt: skip
    elif found:
        medium = element("a", "listen above", href=f"#{_sound_id(content, key)}")
    words = joined(element("b", f"#{flip.position}"), f" {flip.kind} ", element("span", flip.words))
    return element("li", medium, element("span", words, class_="caption"), class_=flip.kind)


def _sound_id(content: Content, key: Place) -> str:
    return f"sound-{media_class(key, content.workloads)}"
