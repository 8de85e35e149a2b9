"""Changes of an experiment since it was accepted, recorded, or made at another revision: a sentence, a table, lines."""

from __future__ import annotations

from quantbench.records.changes import ChangesRecord
from quantbench.report.tables import plain_table

# Rows of the table, and lines of a list; the rest is counted.
ROWS, LINES = 24, 12


def changes_text(record: ChangesRecord) -> str:
    """The whole, for the terminal."""
    lines = [f"{record.experiment}: {sentence(record)}"]
    if record.layers:
        shown = [(each.layer, _back(each.back, each.refused), each.words) for each in record.layers[:ROWS]]
        lines += ["", plain_table(("layer", "come back", "changed since"), shown).rstrip("\n"), ""]
        if len(record.layers) > ROWS:
            lines.append(f"… and {len(record.layers) - ROWS} more layers")
        if not record.is_ranked:
            lines.append("in the order of the size of the change")
        if record.left_out:
            lines.append(f"{record.left_out} layers that changed least were not put back")
    lines += _listed("configuration", record.configured)
    lines += _listed("entries of the file", record.entries)
    lines += _listed("machine and versions", record.circumstances)
    lines += [f"not compared: {record.unknown}"] if record.unknown else []
    return "\n".join(line for line in lines)


def _back(back: int | None, refused: str) -> str:
    return "not tried" if back is None and not refused else "–" if refused else f"{back}"


def _listed(title: str, items: list[str]) -> list[str]:
    more = [f"  … and {len(items) - LINES} more"] if len(items) > LINES else []
    return [f"{title}:", *(f"  {item}" for item in items[:LINES]), *more] if items else []


def sentence(record: ChangesRecord) -> str:
    """The result in a sentence."""
    flips = (
        f"{record.flipped:,} of {record.n:,} answers flipped since {record.against} ({record.lost:,} lost, "
        f"{record.gained:,} gained)"
        if record.n
        else f"answers cannot be compared with {record.against}, which are of other samples"
    )
    return f"{flips}: {_cause(record)}"


def _cause(record: ChangesRecord) -> str:
    if record.layers and record.is_ranked:
        return _ranked(record)
    model = [
        f"{len(record.layers)} layers" if record.layers else "",
        f"{len(record.entries)} entries" * bool(record.entries),
    ]
    changed = " and ".join(each for each in model if each)
    if changed:
        return f"{changed} of the model changed"
    # Of a model whose values are not known, that is all that can be said.
    nothing = "nothing that is known of the model changed" if record.unknown else "nothing in the model changed"
    others = [*record.configured, *record.circumstances]
    return f"{nothing}; {', '.join(others)} did" if others else f"{nothing}, nor anything else that is recorded"


def _ranked(record: ChangesRecord) -> str:
    first = record.layers[0]
    if first.back:
        return f"{first.back:,} of them come back with the earlier values of {first.layer} alone ({first.words})"
    return (
        f"none comes back with the earlier values of one layer alone; with those of all {len(record.layers)} "
        f"{record.all_back or 0:,} do"
    )
