"""A workload made real: its splits, its model and its fp32 baseline; and the training of that baseline."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.config.component import Component
from quantbench.config.schema import DataConfig, Workload
from quantbench.config.training import TrainingConfig
from quantbench.data.opening import Splits, open_splits
from quantbench.data.source import Normalization
from quantbench.errors import BaselineError, ConfigError, QuantbenchError
from quantbench.experiment.figures import figure_intervals
from quantbench.files import beside
from quantbench.golden import baselines
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.environment import environment
from quantbench.progress import Progress, progress
from quantbench.records.base import Environment
from quantbench.records.card import LEVEL, BaselineCard, CardScore
from quantbench.registry import DATA, MODELS, TASKS
from quantbench.stats.proportions import wilson_interval
from quantbench.tasks.interface import Task
from quantbench.training.mixed_precision import AMP

if TYPE_CHECKING:
    from torch import nn

    from quantbench.backends.interface import Artifact, Predictor
    from quantbench.measure.evaluation import Evaluation
    from quantbench.training.loop import Outcome


# Of the hash that tells projects apart.
PROJECT_DIGITS = 12


@dataclass(frozen=True)
class OpenWorkload:
    """A workload whose data and weights are opened when first asked for.

    Attributes:
        workload: its checked file.
        golden: the folder of goldens.
    """

    workload: Workload
    golden: Path

    @cached_property
    def splits(self) -> Splits:
        """The data; made, decoded or downloaded on first use.

        A card holds hashes of all splits; beside a file made elsewhere only what is used is decoded.
        """
        config = self.workload.config
        as_used = config.reference is not None
        return open_splits(config.data, self.workload.where("data"), self.workload.path.parent, as_used)

    @cached_property
    def task(self) -> Task:
        """Outputs and labels → scores."""
        config = self.workload.config.task
        return TASKS.create(config.name, self.workload.where("task"), config.params)

    def evaluated(self, predictor: Predictor) -> Evaluation:
        """A model on the test split, in the workload's batches."""
        from quantbench.measure.evaluation import evaluate

        batch_size = self.workload.config.evaluation.batch_size
        return evaluate(predictor, self.splits.test, self.task, batch_size)

    @cached_property
    def reference_file(self) -> Artifact | None:
        """The file that everything is compared with; None where that is a model with its weights.

        Raises:
            BaselineError: if it is not there, or cannot be read.
        """
        from quantbench.experiment.files import reference_file

        config = self.workload.config.reference
        return None if config is None or config.model is not None else reference_file(self.workload, config)

    @property
    def _given_weights(self) -> Path | None:
        """The state dict that is given with its factory; None where weights are committed, or a file is a model."""
        config = self.workload.config.reference
        if config is None or config.model is None:
            return None
        return beside(self.workload.path.parent, Path(config.path).expanduser())

    @property
    def reference_sha256(self) -> str:
        """One hash of what everything is compared with: of the committed weights, or of the file.

        Raises:
            BaselineError: if it is missing or cannot be read.
        """
        from quantbench.experiment.files import sha256_of

        file = self.reference_file
        return self.weights_sha256() if file is None else sha256_of(file)

    @property
    def model(self) -> Component:
        """The factory of the model.

        Raises:
            ConfigError: if the workload names none, since its reference is a file.
        """
        config = self.workload.config
        own = config.model if config.reference is None else config.reference.model
        if own is None:
            raise self._lacks("model")
        return own

    @property
    def model_place(self) -> str:
        """The place of its factory, for messages."""
        return self.workload.where("model" if self.workload.config.model is not None else "reference.model")

    @property
    def baseline_name(self) -> str:
        """Name of the committed weights.

        Raises:
            ConfigError: if the workload names none, since its reference is a file.
        """
        if (name := self.workload.config.baseline) is None:
            raise self._lacks("baseline")
        return name

    def _lacks(self, key: str) -> ConfigError:
        return ConfigError(
            f"{self.workload.where('reference')}: is a file made elsewhere, and this needs a model with its weights; "
            f"name them instead (workload.model and workload.baseline), or leave out what trains ({key} is missing)"
        )

    def model_params(self) -> dict[str, Any]:
        """Parameters of the model's factory; its head is sized for the data where it takes `n_classes`."""
        config = self.model
        params = config.params
        takes = inspect.signature(MODELS.factory(config.name, self.model_place)).parameters
        # Targets that name no classes size no head.
        if "n_classes" in takes and self.splits.classes:
            params.setdefault("n_classes", len(self.splits.classes))
        return params

    def build_model(self) -> nn.Module:
        """An untrained model in eval mode."""
        from quantbench.backends.interface import ModelSource

        return ModelSource(self.model.name, self.model_params(), self.model_place).build()

    @property
    def weights_path(self) -> Path:
        """The committed weights, or those that are given."""
        return self._given_weights or baselines.weights_path(self.golden, self.baseline_name)

    @property
    def train_command(self) -> str:
        """The command that makes the baseline: trains it, or adopts it where the workload says not how to train."""
        if self._given_weights is not None:
            return f"name the state dict that you mean with {self.workload.where('reference.path')}"
        if self.workload.config.training is None:
            return f"quantbench adopt {shlex.quote(str(self.workload.path))} WEIGHTS"
        return f"quantbench train {shlex.quote(str(self.workload.path))}"

    def weights_sha256(self) -> str:
        """Hex sha256 of the committed weights, or of those that are given, as they lie there now.

        Raises:
            BaselineError: if they are missing or cannot be read.
        """
        if (given := self._given_weights) is not None:
            from quantbench.experiment.files import sha256_of_given

            return sha256_of_given(given, self.workload.where("reference.path"))
        return baselines.sha256_of_weights(self.weights_path, self.train_command)

    def load_baseline(self) -> nn.Module:
        """The fp32 model with its committed weights, in eval mode.

        Raises:
            BaselineError: if the weights are missing, damaged, or made for another model or other data.
        """
        from quantbench.backends.weights import load_state

        if (given := self._given_weights) is not None:
            from quantbench.backends.unwrapping import fill_from

            # Tells one that is not there by its place.
            self.weights_sha256()
            model = self.build_model()
            fill_from(model, given)
            return model
        state = baselines.load_weights(self.weights_path, self.train_command)
        card = baselines.load_card(self.weights_path, self.train_command)
        check_data(card, self.splits, self.weights_path, self.train_command)
        model = self.build_model()
        load_state(model, state, self.weights_path)
        return model

    @property
    def training(self) -> TrainingConfig:
        """Training settings of this workload.

        Raises:
            ConfigError: if its file does not say.
        """
        training = self.workload.config.training
        if self.workload.config.reference is not None:
            raise self._lacks("training")
        if training is None:
            raise ConfigError(f"{self.workload.where('training')}: missing; training needs at least {{epochs: N}}")
        return training

    def unfinished(self, name: str) -> str:
        """The name under which a training is kept until it has ended: of this project alone, by its goldens' folder."""
        return f"{name}-{sha256(str(self.golden.resolve()).encode()).hexdigest()[:PROJECT_DIGITS]}"

    def fit(self, training: TrainingConfig, name: str, show: Progress) -> tuple[nn.Module, Outcome]:
        """A model trained from scratch, or from where a killed training of that name stopped.

        Args:
            training: how; its best epoch is chosen on the search split, where the workload holds one out.
            name: of the state file, which the caller removes by `forget_training` when the result is safe.
            show: progress, in steps.

        Raises:
            TrainingError: if it diverges, or the unfinished one was begun otherwise.
        """
        import torch

        from quantbench.training.loop import Validation, train
        from quantbench.training.state import state_path

        # Training allocates the largest blocks of all, which would be faulted in anew at each step.
        keep_freed_memory()
        torch.manual_seed(training.seed)
        model, splits = self.build_model(), self.splits
        validation = Validation(splits.search) if len(splits.search) else None
        origin = {"model": self.model.model_dump(mode="json")}
        return model, train(model, splits.train, training, state_path(name), show, None, validation, origin)

    def train_baseline(self, amp: bool = False, look: Callable[[Evaluation], object] | None = None) -> BaselineCard:
        """Trains from scratch (or continues a killed training) and writes weights and card.

        Args:
            amp: compute in bf16, whatever the workload file says.
            look: is given the trained model's scores on the test split.

        Raises:
            BaselineError: if they cannot be written.
        """
        from quantbench.backends.module import ModulePredictor
        from quantbench.training.state import forget_training

        training = self.training.in_bf16() if amp else self.training
        name = self.unfinished(self.workload.name)
        baselines.check_place(self.weights_path)
        with progress(f"training {self.workload.name}") as show:
            model, outcome = self.fit(training, name, show)
        evaluation = self.evaluated(ModulePredictor(model))
        if look is not None:
            look(evaluation)
        command = f"{self.train_command} --amp" if amp else self.train_command

        def card_of(sha256: str) -> BaselineCard:
            card = make_card(self, "fp32_baseline", training.described(), outcome, evaluation, sha256)
            return card.model_copy(update={"command": command})

        card = baselines.save_pair(self.weights_path, model.state_dict(), card_of)
        forget_training(name)
        return card


def make_card(
    opened: OpenWorkload,
    recipe: str,
    training: dict[str, Any],
    outcome: Outcome | None,
    evaluation: Evaluation,
    weights_sha256: str,
) -> BaselineCard:
    """A card for weights trained, or adopted if there is no outcome; command and parent are the caller's to fill in."""
    config, splits = opened.workload.config, opened.splits
    history = outcome.history if outcome else []
    n = len(evaluation.scores)
    return BaselineCard(
        workload=opened.workload.name,
        recipe=recipe,
        model=opened.model.model_dump(),
        data=config.data.model_dump(mode="json"),
        data_note=config.data_note,
        data_sha256=split_hashes(splits),
        n_train=len(splits.train),
        n_validation=len(splits.search) if outcome and outcome.best_epoch else 0,
        n_test=n,
        n_per_class={
            name: (int((splits.train.labels == label).sum()), int((splits.test.labels == label).sum()))
            for label, name in enumerate(splits.classes)
        },
        **_figures(opened, evaluation),
        loss=None if evaluation.loss is None else round(evaluation.loss, 6),
        training=training,
        history=[epoch.as_json() for epoch in history],
        best_epoch=outcome.best_epoch if outcome else None,
        amp=AMP if training.get("precision") == "bf16" else None,
        seed=config.training.seed if config.training else 0,
        # Of a training that was killed and continued, the time of all its epochs.
        duration_s=round(sum(epoch.seconds for epoch in history), 3),
        command="",
        environment=environment(),
        weights_sha256=weights_sha256,
    )


def _figures(opened: OpenWorkload, evaluation: Evaluation) -> dict[str, Any]:
    """Accuracy with its interval, or the figure of a task whose scores are not 0 and 1."""
    task, n = opened.task, len(evaluation.scores)
    if task.is_binary:
        interval = wilson_interval(int(evaluation.correct.sum()), n)
        limits = (round(interval.low, 6), round(interval.high, 6))
        return {"accuracy": evaluation.accuracy, "accuracy_interval": limits}
    statistics = evaluation.statistics
    (own,) = figure_intervals(task, statistics, [LEVEL], opened.splits.test.groups)
    score = CardScore(
        task=opened.workload.config.task.name,
        unit=task.unit,
        value=task.figure(statistics),
        interval=None if own is None else (own.low, own.high),
    )
    return {"score": score}


def check_data(card: BaselineCard, splits: Splits, path: Path, retrain: str) -> None:
    """Refuses weights whose card was written for other samples: their accuracy would mean something else.

    Data that another platform makes a little differently is let through: every comparison within a run stays sound, and
    only the card's own figures do not apply.

    Raises:
        BaselineError: naming the splits that differ.
    """
    changed = changed_splits(card, splits)
    if changed and not (splits.platform_dependent and _platform(card.environment) != _platform(environment())):
        raise BaselineError(
            f"{path}: its card was written for other data than this machine has (split {', '.join(changed)}); "
            f"get the data the card describes ({card.data_note or card.data['name']}) and set its pools aside, or make "
            f"weights for yours: {retrain}"
        )
    if (then := _normalization_of(card, path)) not in (None, splits.test.normalization):
        raise BaselineError(
            f"{path}: its card was written for samples normalized with {then}, but the configuration gives "
            f"{splits.test.normalization}; restore the statistics in workload.data, or make weights for them: {retrain}"
        )


def _normalization_of(card: BaselineCard, path: Path) -> Normalization | None:
    """The normalization of the data that a card was written for; None where that data set cannot be made any more."""
    params = {key: value for key, value in card.data.items() if key not in DataConfig.model_fields}
    try:
        return DATA.create(card.data["name"], str(path), params).normalization
    except QuantbenchError:
        return None


def changed_splits(card: BaselineCard, splits: Splits) -> list[str]:
    """The splits whose samples are not those that the card was written for."""
    # A card of weights that no validation split had a part in may be older than the split.
    current = {name: sha for name, sha in split_hashes(splits).items() if name != "search" or name in card.data_sha256}
    return sorted(name for name, sha256 in current.items() if card.data_sha256.get(name) != sha256)


def split_hashes(splits: Splits) -> dict[str, str]:
    """Of every split that has samples."""
    return {
        each.name: each.sha256 for each in (splits.train, splits.calibration, splits.test, splits.search) if len(each)
    }


def _platform(made_on: Environment) -> tuple[str, str]:
    return made_on.system.partition(" ")[0], made_on.architecture
