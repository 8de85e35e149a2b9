"""Sensitivities, searches and budgets of an experiment: on its search split, kept by content, confirmed on another."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn

from quantbench.backends.module import ModulePredictor
from quantbench.cache import CacheEntry, Meta
from quantbench.config.schema import NO_SEARCH_POOL
from quantbench.data.checks import check_disjoint
from quantbench.data.splits import Split
from quantbench.errors import ConfigError, QuantizationError
from quantbench.experiment.accuracy import paired_accuracy
from quantbench.experiment.run import Run
from quantbench.experiment.switchable import switchable_model
from quantbench.files import sha256_of_file, write_text
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.progress import progress
from quantbench.quant.switchable import switchable_layers
from quantbench.records.base import read_json
from quantbench.records.costs import Measure
from quantbench.records.run import Accuracy
from quantbench.records.search import BudgetRecord, FoundArtifact, LayerSensitivity, SearchRecord, SensitivityRecord
from quantbench.registry import unknown_name
from quantbench.search.budget import Additive, within_budget
from quantbench.search.engine import allowed_drop
from quantbench.search.found import found_artifact
from quantbench.search.journal import FileJournal, entry_of, journal_of, searches_dir
from quantbench.search.layer_costs import layer_costs
from quantbench.search.search import DEFAULT_MEMORY_BYTES, Problem, measured, search
from quantbench.search.settings import SearchSettings
from quantbench.stats.betting import check_risk
from quantbench.tasks.top1 import Top1

# The file of a finished search in its cache entry.
RECORD = "record.json"


class SearchRun:
    """The layers of one experiment, tried at another width on one split.

    Args:
        run: the experiment.
        low: width that layers are tried at; None for 8 where layers are in int8 or fp32, else 2.
        split: `search`, or `test` for sensitivities that are nothing but looked at.
        layers: those to be tried, of one width; none for all that have the width of most.

    Raises:
        ConfigError: if the workload holds out no samples to search on, or its task is not top-1.
        QuantizationError: if no layer can be switched, none has that width, or one that is named does not exist.
    """

    def __init__(
        self,
        run: Run,
        low: int | None = None,
        split: Literal["search", "test"] = "search",
        layers: Collection[str] = (),
    ) -> None:
        self.run = run
        self.kept: FileJournal | None = None
        if not isinstance(run.opened.task, Top1):
            config = run.opened.workload.config.task
            raise ConfigError(
                f"{run.opened.workload.where('task')}: a search counts samples whose largest logit is their label, and "
                f"the task is '{config.name}'; search a workload of task top1"
            )
        splits = run.opened.splits
        self.split: Split = getattr(splits, split)
        if len(self.split) == 0:
            raise ConfigError(f"{run.opened.workload.where('data.search_pool')}: {NO_SEARCH_POOL}")
        if split != "test":
            # What is reported must not have been searched on, whatever made the splits.
            check_disjoint([self.split, splits.test], run.opened.workload.where("data"))
        self.high, self.names = self._layers_to_try(layers)
        self.low = low if low is not None else (8 if self.high == 32 else 2)
        if self.low >= self.high:
            raise QuantizationError(
                f"{run.experiment.id}: its layers have {self.high} bits; a search tries fewer, not {self.low}"
            )

    def _layers_to_try(self, wanted: Collection[str]) -> tuple[int, tuple[str, ...]]:
        """Their width, and their names in the model's order."""
        widths = {name: layer.bits for name, layer in switchable_layers(self.model).items()}
        for name in wanted:
            if name not in widths:
                raise QuantizationError(f"{self.run.experiment.id}: {unknown_name('layer', name, list(widths))}")
        if len({widths[name] for name in wanted}) > 1:
            others = ", ".join(f"'{name}' has {widths[name]}" for name in widths if name in wanted)
            raise QuantizationError(f"{self.run.experiment.id}: {others} bits; name layers of one width")
        # Of all layers, first and last ones of another width are left as they are.
        high = Counter(widths[name] for name in wanted or widths).most_common(1)[0][0]
        return high, tuple(name for name in widths if widths[name] == high and (not wanted or name in wanted))

    @cached_property
    def model(self) -> nn.Module:
        """The switchable model, from the experiment's checkpoint."""
        run = self.run
        return switchable_model(run.opened, run.experiment, run.baseline.artifact, run.artifact)

    @property
    def problem(self) -> Problem:
        """Problem that the search solves."""
        return Problem(self.model, self.split, self.low, self.high, self.names)

    def sensitivities(self, command: str, fresh: bool = False) -> SensitivityRecord:
        """Every layer alone at the low width, from what was kept or measured now."""
        journal = self.journal({}, fresh)
        with entry_of(journal).locked(), progress(f"sensitivity of {self.run.experiment.id}") as show:
            found, full_passes = measured(self.problem, journal, show)
        return SensitivityRecord(
            **self._shared(found), accuracy=self._accuracy(found), full_passes=full_passes, command=command
        )

    def within(self, measure: Measure, limit: float, command: str, fresh: bool = False) -> BudgetRecord:
        """The configuration that loses least within a budget, confirmed on the test split.

        Raises:
            QuantizationError: if the budget cannot be met.
        """
        found = self.sensitivities(command, fresh)
        model = Additive.of(found.layers, found.sensitivities, self.high, self.low)
        best = within_budget(model, measure, limit)
        confirmed, artifact = self.confirm(best.bits)
        return BudgetRecord(
            **{name: getattr(found, name) for name in SensitivityRecord.model_fields},
            measure=measure,
            limit=limit,
            bits=list(best.bits),
            predicted_pp=best.drop_pp,
            confirmed=confirmed,
            artifact=artifact,
        )

    def search(
        self, settings: SearchSettings, command: str, memory_bytes: int = DEFAULT_MEMORY_BYTES, fresh: bool = False
    ) -> SearchRecord:
        """The search, from what was kept or continued where a killed one stopped, confirmed on the test split.

        Raises:
            StatisticsError: if ε or δ is none, or the split is too small to decide about ε.
        """
        allowed_drop(settings.epsilon_pp, len(self.split), self.split.name)
        check_risk(settings.delta)
        journal = self.journal(asdict(settings), fresh)
        entry = entry_of(journal)
        with entry.locked():
            if not fresh and (kept := _kept(entry)) is not None:
                # Its steps are still there where a process was killed right after it wrote the record.
                journal.forget()
                return kept.model_copy(update={"command": command})
            record = self._searched(settings, journal, command, memory_bytes)
            entry.write(lambda folder: _write_record(folder, record))
            journal.forget()
        return record

    def _searched(
        self, settings: SearchSettings, journal: FileJournal, command: str, memory_bytes: int
    ) -> SearchRecord:
        with progress(f"searching {self.run.experiment.id}") as show:
            found = search(
                self.problem, settings.epsilon_pp, settings.mode, delta=settings.delta, memory_bytes=memory_bytes,
                seed=settings.seed, journal=journal, show=show,
            )  # fmt: skip
        confirmed, artifact = self.confirm(found.bits)
        return SearchRecord(
            **self._shared(found.sensitivities),
            mode=settings.mode,
            delta=settings.delta if settings.mode == "adaptive" else None,
            epsilon_pp=settings.epsilon_pp,
            accuracy=found.accuracy,
            decisions=found.decisions,
            bits=found.bits,
            macs_spent=found.macs_spent,
            macs_naive=found.macs_naive,
            seconds=round(found.seconds, 3),
            memory_bytes=found.memory_bytes,
            confirmed=confirmed,
            artifact=artifact,
            full_passes=found.full_passes,
            command=command,
        )

    def confirm(self, bits: Sequence[int]) -> tuple[Accuracy, FoundArtifact | None]:
        """Compares the configuration found with all layers high, on the same samples of the test split.

        Returns: That of the model that was searched, and that of what the backend makes of the same layers.
        """
        test = self.run.opened.splits.test
        low = [name for name, width in zip(self.names, bits, strict=True) if width == self.low]
        with progress("confirming on the test split") as show:
            show.update(0, 3)
            before = self._evaluated([self.high] * len(self.names), test)
            show.update(1, 3)
            after = self._evaluated(bits, test)
            show.update(2, 3)
            return paired_accuracy(before, after), found_artifact(self.run, low, before, after)

    def _evaluated(self, bits: Sequence[int], split: Split) -> Evaluation:
        """The model with these widths, which it keeps."""
        layers = switchable_layers(self.model)
        for name, width in zip(self.names, bits, strict=True):
            layers[name].bits = width
        return evaluate(ModulePredictor(self.model), split, self.run.opened.task)

    def _shared(self, found: Sequence[LayerSensitivity]) -> dict[str, Any]:
        """Fields of the experiment and its layers that every record has."""
        return {
            "experiment": self.run.experiment.id,
            "split": self.split.name,
            "split_sha256": self.split.sha256,
            "checkpoint_sha256": sha256_of_file(self.run.artifact.path),
            "n": len(self.split),
            "high": self.high,
            "low": self.low,
            "layers": layer_costs(self.problem),
            "sensitivities": list(found),
            "environment": environment(),
        }

    def _accuracy(self, found: Sequence[LayerSensitivity]) -> float:
        """With all layers high, from what each layer lost and gained: no forward is needed for it."""
        for each in found:
            if not each.failed and each.correct is not None:
                return (int(each.bits.sum()) + each.lost - each.gained) / each.n
        return self._evaluated([self.high] * len(self.names), self.split).accuracy

    def journal(self, settings: dict[str, Any], fresh: bool = False) -> FileJournal:
        """The steps that were kept of the same search: same weights, checkpoint, data, code, versions and settings."""
        decides = {"split": self.split.sha256, "layers": self.names, "widths": [self.high, self.low]}
        self.kept = journal_of(self.run, decides | {"settings": settings})
        if fresh:
            self.kept.forget()
        return self.kept

    def interrupted(self) -> str:
        """The words for a search that was stopped."""
        steps = len(self.kept.entries()) if self.kept else 0
        return (
            f"{self.run.experiment.id}: interrupted: {steps} finished step(s) are kept in {searches_dir()}; the same "
            "command goes on from there"
        )


def _kept(entry: CacheEntry) -> SearchRecord | None:
    """A finished search, or None, with a notice where its record is damaged or contradicts itself."""
    if entry.read() is None:
        return None
    try:
        return read_json(SearchRecord, entry.folder / RECORD, ConfigError, entry.again)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None


def _write_record(folder: Path, record: SearchRecord) -> Meta:
    write_text(folder / RECORD, record.model_dump_json(indent=1) + "\n")
    return {}
