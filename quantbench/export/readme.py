"""The card of an exported experiment as a page to read."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.records.export_card import ExportCard, ExportedTensor


def readme(card: ExportCard) -> str:
    """Markdown of what the folder holds, how accurate it is, and how it is run."""
    low, high = card.accuracy_interval
    least, most = card.drop_interval_pp
    level = f"{100 * card.level:g} %"
    where = card.environment
    facts = {
        "accuracy": f"{100 * card.accuracy:.2f} % [{100 * low:.2f}, {100 * high:.2f}] ({level}, n = {card.n:,})",
        "lost against the reference": (
            f"{card.drop_pp:+.2f} pp [{least:+.2f}, {most:+.2f}] on the same samples ({card.lost:,} lost, "
            f"{card.gained:,} gained); the reference has {100 * card.reference_accuracy:.2f} %"
        ),
        "data": f"{': '.join(filter(None, (card.data_name, card.data_note)))} (sha256 `{card.test_sha256[:16]}…`)",
        "recipe": ", ".join(f"{key} {value}" for key, value in card.recipe.items() if value is not None),
        "backend": ", ".join(f"{key} {value}" for key, value in card.backend.items()),
        "inputs": _listed(card.inputs),
        "outputs": _listed(card.outputs),
        "normalization": ", ".join(f"{key} {value}" for key, value in card.normalization.items())
        + "; an input is (stored value / full_scale − mean) / std, for each channel",
        "classes": ", ".join(card.classes) or "none",
        "measured on": f"{where.processor} ({', '.join(where.isa)}), {where.system}, Python {where.python}",
        "versions": ", ".join(f"{name} {version}" for name, version in where.versions.items()),
        "made by": f"`{card.command}`",
        "revision": card.revision or "not known",
        "licence of the weights": card.licence,
    }
    lines = [
        f"# {card.experiment}",
        "",
        *_running(card),
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {_cell(value)} |" for name, value in facts.items()),
        "",
        "| file | | bytes | sha256 |",
        "| --- | --- | ---: | --- |",
        *(f"| `{_cell(each.name)}` | {each.role} | {each.size_bytes:,} | `{each.sha256}` |" for each in card.files),
    ]
    return "\n".join(lines) + "\n"


def _running(card: ExportCard) -> Sequence[str]:
    if not any(each.role == "program" for each in card.files):
        return ["No program is known for this backend; load the file with what reads its format."]
    needed = " ".join([*(f"{name}=={version}" for name, version in card.requires.items())])
    return [f"    pip install {needed}", "    python run.py [batch.npz [answers.npz]]"]


def _listed(tensors: Sequence[ExportedTensor]) -> str:
    return "; ".join(
        f"`{each.name}` {each.dtype} [{', '.join('any' if size is None else str(size) for size in each.shape)}]"
        + (f", scale {each.scale:g}, zero point {each.zero_point}" if each.scale is not None else "")
        for each in tensors
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
