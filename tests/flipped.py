"""Goldens edited by hand: predictions that really flipped, so that the same model lost or gained since then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from accepting import read_result, result_path

from quantbench.records.base import pack_bits


def flip(golden: Path, experiment: str, lost: int = 0, gained: int = 0) -> None:
    """Rewrites the accepted bits, and the accuracy that they have.

    Args:
        golden: folder of goldens; what is accepted there are the predictions of now.
        experiment: its id.
        lost: samples that are wrong now and will have been right when accepted.
        gained: samples that are right now and will have been wrong.
    """
    bits = read_result(golden, experiment).bits
    wrong, right = np.flatnonzero(~bits), np.flatnonzero(bits)
    if lost > len(wrong) or gained > len(right):
        raise ValueError(f"of {len(bits)} samples {len(wrong)} are wrong and {len(right)} right")
    bits[wrong[:lost]], bits[right[:gained]] = True, False
    metrics = {"accuracy": round(float(bits.mean()), 6)}
    rewrite(golden, experiment, correct=pack_bits(bits), metrics=metrics)


def rewrite(golden: Path, experiment: str, **parts: object) -> None:
    """Replaces keys of an accepted result by hand; of a mapping only those of its keys that are given."""
    path = result_path(golden, experiment)
    content = json.loads(path.read_text())
    for key, value in parts.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(content, indent=2))


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file below a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(before: dict[str, bytes], folder: Path) -> list[str]:
    """Files below a folder that are not as they were: changed, new or gone."""
    after = contents(folder)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def recalibrate(project) -> None:
    """Changes a recipe of the project in miniature so that its checkpoint changes and its predictions flip."""
    project.edit(
        "{name: static_int8_per_channel, calibration_n: 32}", "{name: static_int8_per_tensor, calibration_n: 2}"
    )
