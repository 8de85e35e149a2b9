"""The revision of a run: what decides its verdicts beside data and machine, so that parts of two are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from quantbench.config.schema import Experiment
from quantbench.experiment.built import source_digest
from quantbench.export.revision import revision_of
from quantbench.files import sha256_of_file, sha256_of_json
from quantbench.provenance import INSTALLED, loaded_code

# Before the name of a module of the user's.
CODE = "code of "


def revision(experiments: Iterable[Experiment], golden: Path) -> dict[str, str]:
    """Hashes by the name of what they are of, in words that follow "differs in".

    Weights are told by their cards, which hold their hash.

    Args:
        experiments: of all parts.
        golden: folder of goldens and baselines.
    """
    files = {each.workload.path for each in experiments if each.workload.is_saved}
    found = {
        "quantbench's own source": source_digest(),
        "workload files": sha256_of_json({str(file.name): sha256_of_file(file) for file in sorted(files)}),
        "goldens": sha256_of_json(
            {
                str(file.relative_to(golden)): sha256_of_file(file)
                for file in sorted(golden.rglob("*.json"))
                if not file.name.startswith(".")
            }
        ),
    }
    commit = revision_of(min(files).parent if files else Path())
    # A run may itself have changed files that are under version control.
    return {**found, "commit": commit.partition(",")[0]} if commit else found


def code() -> dict[str, str]:
    """Hash of each module of the user's that is loaded by now, named as by `revision`.

    Installed distributions are told by the time at which they were installed, which differs between machines.
    """
    own = {
        name: signature
        for name, (file, signature) in loaded_code().items()
        if not any(folder in file for folder in INSTALLED)
    }
    return {f"{CODE}{name}": signature for name, signature in own.items() if signature}


def differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Names of what both have, and that is not the same in both."""
    return [name for name, value in first.items() if second.get(name, value) != value]
