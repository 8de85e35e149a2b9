"""Comparisons of backends as lines for a terminal, and as tables of a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantbench.records.base import Environment
from quantbench.records.parity import Difference, ParityRecord, ScalePair, Side

HEADER = (
    "| | accuracy, % | lost, gained | same answers, % | logits: largest | RMS | scales of weights × | of outputs × |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)
LEGEND = (
    "Change and flips are on the same samples, with 95 % intervals (Tango); same answers, too (Wilson: in the record). "
    "Size × is bytes over the base's, below 1 is smaller; speed × is the base's time over its own in the same "
    "interleaved rounds, with a 99 % interval, above 1 is faster. Scales × are its own over the base's, of layers that "
    "both quantize."
)
UNKNOWN = "–"


def parity_line(record: ParityRecord, found: Difference) -> str:
    """One difference in a line.

    Args:
        record: the comparison.
        found: one of its differences.
    """
    low, high = found.interval_pp
    parts = [
        f"accuracy {_signed(found.change_pp)} pp [{_signed(low)}, {_signed(high)}]",
        f"n = {record.sides[0].n:,}",
        f"size ×{found.size_ratio:.2f}",
    ]
    if found.speed is not None:
        limits = f"[{found.speed.interval[0]:.2f}, {found.speed.interval[1]:.2f}]"
        doubt = " (in doubt)" if found.speed.doubt else ""
        parts.append(f"speed ×{found.speed.ratio:.2f} {limits}{doubt}")
    return f"{record.sides[0].name} → {found.name}: {', '.join(parts)}"


def parity_text(record: ParityRecord) -> str:
    """A comparison for a terminal."""
    base = record.sides[0]
    lines = [
        f"{_heading(record)}: {record.title}",
        f"{base.name}: {_accuracy(base)}, {base.size_bytes:,} bytes",
    ]
    for side, found in zip(record.sides[1:], record.differences, strict=True):
        lines += [parity_line(record, found), *(f"  {line}" for line in _details(side, found))]
    for each in record.left_out:
        lines.append(f"{'not compared' if each.failed else 'left out'}: {each.name}: {each.reason}")
    return "\n".join([*lines, *_surroundings(record)])


def parity_tables(records: Sequence[ParityRecord]) -> str:
    """Comparisons as Markdown."""
    parts = [LEGEND]
    for record in records:
        base = record.sides[0]
        parts += [
            "",
            f"**{_heading(record)}**: {record.title}",
            "",
            *(f"- {parity_line(record, found)}" for found in record.differences),
            "",
            *HEADER,
            f"| {base.name} | {100 * base.accuracy:.2f} | {' | '.join([UNKNOWN] * 6)} |",
            *(_row(side, found) for side, found in zip(record.sides[1:], record.differences, strict=True)),
            "",
            *(line for found in record.differences for line in _unmatched(base.name, found)),
            *(f"Not compared: {each.name}: {each.reason}.\n" for each in record.left_out),
        ]
    where = dict.fromkeys(line for record in records for line in _surroundings(record))
    commands = dict.fromkeys(f"`{record.command}`" for record in records)
    return "\n".join([*parts, *(f"{line}.\n" for line in where), f"Made by {', '.join(commands)}."])


def _heading(record: ParityRecord) -> str:
    return record.workload if record.title != record.sides[0].experiment else "the same experiment"


def _row(side: Side, found: Difference) -> str:
    same = UNKNOWN if found.same is None else f"{100 * found.same / side.n:.2f}"
    logits = [UNKNOWN, UNKNOWN] if found.logits is None else [f"{found.logits.largest:.3g}", f"{found.logits.rms:.3g}"]
    scales = [_range(found.scales, part) for part in ("weights", "outputs")]
    cells = [f"{100 * side.accuracy:.2f}", f"{found.lost:,}, {found.gained:,}", same, *logits, *scales]
    return f"| → {found.name} | {' | '.join(cells)} |"


def _range(scales: Sequence[ScalePair], part: str) -> str:
    """Least and largest ratio of a part of all layers, and how many there are."""
    own = [each for each in scales if each.part == part]
    if not own:
        return UNKNOWN
    low, high = min(each.ratio[0] for each in own), max(each.ratio[1] for each in own)
    limits = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return f"{limits} ({len(own)})"


def _unmatched(base: str, found: Difference) -> Iterator[str]:
    """Paragraphs about scales that are not compared."""
    if found.no_scales:
        yield f"{base} → {found.name}: no scales are compared: {found.no_scales}.\n"
    if found.unmatched:
        yield (
            f"<details><summary>{base} → {found.name}: {len(found.unmatched)} not matched</summary>\n\n"
            f"{'; '.join(found.unmatched)}.\n\n</details>\n"
        )


def _details(side: Side, found: Difference) -> Iterator[str]:
    """Lines for all that the first one leaves out."""
    answers = ""
    if found.same is not None and found.same_interval is not None:
        low, high = found.same_interval
        answers = f"; same answers {100 * found.same / side.n:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"
    yield f"{_accuracy(side)}, {side.size_bytes:,} bytes; {found.lost:,} lost, {found.gained:,} gained{answers}"
    if found.logits is not None:
        note = f" ({found.logits.note})" if found.logits.note else ""
        yield (
            f"logits: largest difference {found.logits.largest:.4g}, RMS {found.logits.rms:.4g}, of values up to "
            f"{found.logits.range:.4g}{note}"
        )
    if found.speed is None:
        yield f"speed: {found.untimed or 'not timed'}"
    else:
        speed = found.speed
        doubt = f"; in doubt: {speed.doubt}" if speed.doubt else ""
        yield (
            f"speed: {speed.rounds} rounds of batch {speed.batch_size}, {speed.clock} time; the base against itself "
            f"{speed.control:.3f} [{speed.control_interval[0]:.3f}, {speed.control_interval[1]:.3f}]{doubt}"
        )
    if found.no_scales:
        yield f"scales: none are compared: {found.no_scales}"
    yield from (_scale_line(each) for each in found.scales)
    yield from (f"not matched: {line}" for line in found.unmatched)


def _scale_line(pair: ScalePair) -> str:
    name = pair.layer if pair.other_layer == pair.layer else f"{pair.layer} = {pair.other_layer}"
    by = " (by its weights)" if pair.matched_by == "weights" else ""
    scales = f"scale {_limits(pair.scale)} → {_limits(pair.other_scale)}, ×{_limits(pair.ratio, '.3f')}"
    return (
        f"{name}{by}: {pair.part}: {scales}, zero point {_limits(pair.zero_point)} → {_limits(pair.other_zero_point)}"
    )


def _limits(limits: tuple[float, float], digits: str = ".4g") -> str:
    low, high = (f"{each:{digits}}" for each in limits)
    return low if low == high else f"{low}…{high}"


def _accuracy(side: Side) -> str:
    low, high = side.accuracy_interval
    return f"{100 * side.accuracy:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def _signed(value: float) -> str:
    """With a minus sign, and none before what rounds to 0."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def _surroundings(record: ParityRecord) -> list[str]:
    """Processor and versions: once where they are the same, and of each side where they differ."""
    words = {side.name: _words(side.environment) for side in record.sides}
    if len(set(words.values())) == 1:
        return [next(iter(words.values()))]
    return [f"{name}: {text}" for name, text in words.items()]


def _words(where: Environment) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    return f"{where.processor} ({', '.join(where.isa)}), {where.system}, Python {where.python}, {versions}"
