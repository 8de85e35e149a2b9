"""An ablation run: each row trained in a worker, kept by its content, and compared with the first."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from quantbench.ablation.comparison import compare
from quantbench.backends.module import ModulePredictor
from quantbench.cache import CacheEntry, Meta
from quantbench.config.ablation import Ablation
from quantbench.config.schema import Workload
from quantbench.config.training import TrainingConfig
from quantbench.data import source
from quantbench.errors import ConfigError
from quantbench.experiment.workload import OpenWorkload, split_hashes
from quantbench.files import cache_dir, sha256_of_file, sha256_of_json, write_text
from quantbench.jobs.sweep import run_each
from quantbench.measure import evaluation
from quantbench.measure.environment import environment
from quantbench.progress import Progress, progress
from quantbench.records.ablation import AblationRecord, TrainedRow, read_trained
from quantbench.records.base import pack_bits
from quantbench.registry import MODELS
from quantbench.temporary import sweep_all
from quantbench.training import augmentation
from quantbench.training import loop as training
from quantbench.training import schedule as lr_schedule
from quantbench.training import state as training_state
from quantbench.training.mixed_precision import AMP

# What of our own code decides the result of a training; that of the model is found from the model.
DECIDING = (training, training_state, augmentation, lr_schedule, evaluation, source)
# Their versions are in the key, in place of their source.
LIBRARIES = ("torch", "torchvision", "torchaudio")
# The file of a finished row in its cache entry.
ROW = "row.json"


@dataclass(frozen=True)
class RowJob:
    """All that a worker needs to train a row.

    Attributes:
        key: of the row, and the name of its files.
        threads: intra-operator threads, on which the bits depend.
    """

    workload: Workload
    training: TrainingConfig
    key: str
    threads: int


def train_row(job: RowJob, show: Progress) -> TrainedRow:
    """Trains a row, or continues it, evaluates it on the test split and keeps the result."""
    torch.set_num_threads(job.threads)
    row = _trained_now(job, show)
    _keep(row)
    training_state.forget_training(_unfinished(job.key))
    return row


def _trained_now(job: RowJob, show: Progress) -> TrainedRow:
    opened = OpenWorkload(job.workload, Path())
    model, outcome = opened.fit(job.training, _unfinished(job.key), show)
    found = opened.evaluated(ModulePredictor(model))
    return TrainedRow(
        key=job.key,
        training=job.training.described(),
        n_train=len(opened.splits.train),
        n_validation=len(opened.splits.search) if outcome.best_epoch else 0,
        n_test=len(found.correct),
        correct=pack_bits(found.correct),
        loss=None if found.loss is None else round(found.loss, 6),
        history=[epoch.as_json() for epoch in outcome.history],
        best_epoch=outcome.best_epoch,
        duration_s=round(sum(epoch.seconds for epoch in outcome.history), 3),
        threads=job.threads,
        environment=environment(),
        amp=AMP if job.training.precision == "bf16" else None,
    )


def _unfinished(key: str) -> str:
    """The name under which a row's training is kept until it has ended."""
    return f"ablation-{key}"


def row_entry(key: str) -> CacheEntry:
    """The cache entry of a finished row."""
    return CacheEntry("ablations", key, "training it again", by_users_code=True)


def _keep(row: TrainedRow) -> None:
    entry = row_entry(row.key)
    with entry.locked():
        entry.write(lambda folder: _write_row(folder, row))


def _write_row(folder: Path, row: TrainedRow) -> Meta:
    write_text(folder / ROW, row.model_dump_json(indent=1) + "\n")
    return {}


def kept_row(entry: CacheEntry, key: str) -> TrainedRow | None:
    """A finished row, or None, with a notice where its file is damaged or holds what no training could have had."""
    if entry.read() is None:
        return None
    try:
        return read_trained(entry.folder / ROW, key)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None


@dataclass
class AblationRun:
    """The rows of an ablation, trained where that was not done before. Opens the data.

    Attributes:
        ablation: its checked file.
        amp: compute in bf16, whatever the files say.
        threads: of each row; another number gives other bits, as another seed does.
    """

    ablation: Ablation
    amp: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        sweep_all(cache_dir())
        self.opened = OpenWorkload(self.ablation.workload, Path())
        self.settings = {row.name: row.training.in_bf16() if self.amp else row.training for row in self.ablation.rows}
        self.keys = self._keys()
        self.trained: dict[str, TrainedRow] = {}
        self.failed: dict[str, str] = {}

    def _keys(self) -> dict[str, str]:
        """The hash of everything that decides each row's result."""
        config = self.opened.model
        versions = environment().versions
        shared = {
            "model": {"name": config.name, **self.opened.model_params()},
            "data": split_hashes(self.opened.splits),
            "normalization": vars(self.opened.splits.train.normalization),
            "code": self._code(),
            "versions": {library: versions[library] for library in LIBRARIES},
        }
        return {
            name: sha256_of_json({**shared, "training": each.described()})[:32] for name, each in self.settings.items()
        }

    def _code(self) -> list[str]:
        """Hashes of the source of the training loop, of the model's factory and of every class in the model."""
        config = self.opened.model
        own: set[Callable[..., object]] = {type(module) for module in self.opened.build_model().modules()}
        own.add(MODELS.factory(config.name, self.ablation.workload.where("model")))
        made_by = {inspect.getsourcefile(each) for each in own if each.__module__.partition(".")[0] not in LIBRARIES}
        files = {str(module.__file__) for module in DECIDING} | {file for file in made_by if file}
        return sorted(sha256_of_file(Path(file)) for file in files)

    def train(self, jobs: str | None = None) -> None:
        """Trains all rows that are not kept, several at once; one that fails stops no other.

        Args:
            jobs: place and number, as `--jobs` has them; by default one process for each core.

        Raises:
            ConfigError: if there is no such place.
            KeyboardInterrupt: when interrupted; finished rows are kept and the others continue from their last epoch.
        """
        waiting = [row.name for row in self.ablation.rows if not self._is_kept(row.name)]
        if not waiting:
            return
        batches = {name: math.ceil(len(self.opened.splits.train) / self.settings[name].batch_size) for name in waiting}
        sizes = {name: self.settings[name].epochs * batches[name] for name in waiting}
        work = {
            name: RowJob(self.ablation.workload, self.settings[name], self.keys[name], self.threads) for name in waiting
        }
        with progress(f"ablation {self.ablation.name}") as show:
            ended = run_each(train_row, work, sizes, show, jobs, self.threads)
        for name, each in ended.items():
            if each.result is None:
                self.failed[name] = str(each.failed)
                continue
            self.trained[name] = each.result
            # A machine that does not share the cache has kept it in its own.
            if row_entry(each.result.key).read() is None:
                _keep(each.result)

    def _is_kept(self, name: str) -> bool:
        row = kept_row(row_entry(self.keys[name]), self.keys[name])
        if row is not None and row.threads == self.threads:
            self.trained[name] = row
            # Still there where a process was killed right after it wrote the row.
            training_state.forget_training(_unfinished(self.keys[name]))
        return name in self.trained

    def interrupted(self) -> str:
        """The words for a run that was stopped."""
        done = sum(row_entry(key).folder.is_dir() for key in self.keys.values())
        return (
            f"{self.ablation.path}: interrupted: {done} of {len(self.keys)} rows are done and kept; the same command "
            "trains the others on from their last whole epoch"
        )

    def record(self, command: str) -> AblationRecord:
        """All rows compared, those that failed too."""
        return compare(self.ablation, self.trained, self.failed, split_hashes(self.opened.splits), command)
