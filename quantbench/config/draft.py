"""A workload file before it is written: its content, its experiments, its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantbench.config.reading import experiments_of
from quantbench.config.schema import Experiment
from quantbench.config.writing import workload_text


@dataclass(frozen=True)
class Draft:
    """A workload file that is about to be written.

    Attributes:
        path: of the file.
        workload: its key `workload`.
        experiments: its key `experiments`.
        guessed: parameters of the data that nobody gave.
        comments: keys from the top down → what is said beside them.
    """

    path: Path
    workload: Mapping[str, Any]
    experiments: Mapping[str, Mapping[str, Any]]
    guessed: tuple[str, ...] = ()
    comments: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """The content of the file."""
        return {"workload": dict(self.workload), "experiments": {k: dict(v) for k, v in self.experiments.items()}}

    def read(self, is_saved: bool = False) -> list[Experiment]:
        """The experiments, as they will be read.

        Args:
            is_saved: messages may name the file, which is written with what is measured.

        Raises:
            ConfigError: one line per mistake.
        """
        return experiments_of(self.content, self.path, is_saved, self.guessed)

    def with_gates(self, gates: Mapping[str, Mapping[str, tuple[Any, str]]]) -> Draft:
        """The same with the gates of those experiments, and without the others.

        Args:
            gates: experiment → gate → its bound, and the words for what it was set by.
        """
        experiments = {
            name: {**self.experiments[name], "gates": {gate: bound for gate, (bound, _) in own.items()}}
            for name, own in gates.items()
        }
        told: dict[tuple[str, ...], str] = {
            ("experiments", name, "gates", gate): words
            for name, own in gates.items()
            for gate, (_, words) in own.items()
        }
        return replace(self, experiments=experiments, comments={**self.comments, **told})

    def text(self, head: Sequence[str] = (), has_schema: bool = False) -> str:
        """The text of the file; see `workload_text`."""
        return workload_text(self.content, self.comments, head, has_schema)
