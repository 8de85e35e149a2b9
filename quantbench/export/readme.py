"""The card of an exported experiment as a page to read."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.errors import ConfigError
from quantbench.records.export_card import ADVICE, ExportCard, ExportedScore, ExportedTensor


def readme(card: ExportCard) -> str:
    """Markdown of what the folder holds, how accurate it is, and how it is run."""
    where = card.environment
    facts = {
        "score" if card.accuracy is None else "accuracy": figure(card),
        "lost against the reference": _lost(card),
        "data": f"{': '.join(filter(None, (card.data_name, card.data_note)))} (sha256 `{card.test_sha256[:16]}…`)",
        "recipe": ", ".join(f"{key} {value}" for key, value in card.recipe.items() if value is not None),
        "backend": ", ".join(f"{key} {value}" for key, value in card.backend.items()),
        "inputs": _listed(card.inputs),
        "outputs": _listed(card.outputs),
        "normalization": _normalization(card),
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


def figure(card: ExportCard) -> str:
    """The figure of its task with interval and n: `90.68 % [90.09, 91.23] (95 %, n = 10,000)`."""
    if (a := card.accuracy) is not None:
        low, high = a.accuracy_interval
        return f"{100 * a.accuracy:.2f} % [{100 * low:.2f}, {100 * high:.2f}] ({100 * a.level:g} %, n = {a.n:,})"
    s = _score(card)
    return f"{s.value:.4g} {s.unit}{_limits(s.interval)} ({100 * s.level:g} %, n = {s.n:,})"


def _lost(card: ExportCard) -> str:
    if (a := card.accuracy) is not None:
        least, most = a.drop_interval_pp
        groups = "" if a.clusters is None else f", in {a.clusters:,} groups"
        return (
            f"{a.drop_pp:+.2f} pp [{least:+.2f}, {most:+.2f}] on the same samples ({a.lost:,} lost, {a.gained:,} "
            f"gained{groups}); the reference has {100 * a.reference_accuracy:.2f} %"
        )
    s = _score(card)
    lost = f"{s.drop:+.3g}{_limits(s.drop_interval)} on the same samples ({s.method})"
    return f"{lost}; the reference has {s.reference:.4g} {s.unit}"


def _score(card: ExportCard) -> ExportedScore:
    if card.score is None:
        raise ConfigError(f"{card.experiment}: its card has no figure; {ADVICE}")
    return card.score


def _limits(limits: tuple[float, float] | None) -> str:
    return ", too few samples differ to tell limits" if limits is None else f" [{limits[0]:.4g}, {limits[1]:.4g}]"


def _normalization(card: ExportCard) -> str:
    if not card.normalization.get("std"):
        return "none: inputs are given as they are stored"
    listed = ", ".join(f"{key} {value}" for key, value in card.normalization.items())
    return f"{listed}; an input is (stored value / full_scale − mean) / std, for each channel"


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
