"""The weights of recipes that are trained: fine-tuned from the baseline, committed, checked."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Backend
from quantbench.config.schema import Experiment
from quantbench.config.selection import claims_command
from quantbench.config.training import TrainingConfig
from quantbench.errors import BaselineError, QuantizationError, SampleError
from quantbench.experiment.workload import OpenWorkload, check_data, make_card
from quantbench.golden import baselines
from quantbench.measure.evaluation import inputs_of
from quantbench.progress import progress
from quantbench.recipes.spec import Trained
from quantbench.recipes.translation import accepted_form
from quantbench.records.card import BaselineCard

if TYPE_CHECKING:
    from torch import nn

# Training samples that show whether a model can be quantized at all.
REHEARSAL_N = 2


def rehearsal_inputs(opened: OpenWorkload) -> Inputs:
    """The first training samples, normalized: `[≤ REHEARSAL_N, channels, …]`."""
    return next(inputs_of(opened.splits.train, REHEARSAL_N, REHEARSAL_N))


def named_sample(opened: OpenWorkload, error: SampleError) -> str:
    """The line about a sample that a model gives NaN or infinity for, which is named as a sample of its side."""
    split = opened.splits.train if error.in_rehearsal else opened.splits.calibration
    return f"sample {split.named(error.sample)}: {error.text}"


def fine_tune(
    opened: OpenWorkload, experiment: Experiment, backend: Backend, reference: Artifact, amp: bool = False
) -> BaselineCard:
    """Fine-tunes with fake quantization and writes weights and card; a killed run continues.

    Where the workload holds out a search split, the weights are those of the best epoch on it; there is no stopping
    early, since the last epochs are the ones in which the scales stand still.

    Args:
        opened: the workload.
        experiment: of it; its recipe is trained.
        backend: of the experiment.
        reference: that is fine-tuned.
        amp: compute in bf16.
    """
    from quantbench.training.loop import Validation, train
    from quantbench.training.mixed_precision import float32_fake_quantizers
    from quantbench.training.state import forget_training, state_path

    recipe = experiment.recipe
    if not isinstance(recipe, Trained):
        raise TypeError(f"{experiment.id}: a recipe of kind {recipe.kind} is not trained")
    samples = rehearsal_inputs(opened)
    try:
        backend.rehearse(reference, recipe, samples)
    except SampleError as error:
        raise QuantizationError(f"{experiment.id}: {named_sample(opened, error)}") from error
    path = trained_path(opened, experiment)
    baselines.check_place(path)
    prepared = backend.prepare_training(reference, recipe, samples)
    config = fine_tuning_config(opened.training, recipe, amp)
    parent = opened.weights_sha256()
    origin = {"parent": parent, "recipe": accepted_form(recipe)}
    name = opened.unfinished(experiment.id.replace("/", "-"))

    def freeze_at_the_end(model: nn.Module, epoch: int) -> None:
        if epoch >= recipe.epochs - recipe.frozen_epochs:
            backend.freeze(model)

    def evaluated(model: nn.Module) -> nn.Module:
        # A copy, whose observers stand still: they would take their ranges from validation samples too.
        copied = copy.deepcopy(model).eval()
        backend.freeze(copied)
        return copied

    train_split, search = opened.splits.train, opened.splits.search
    validation = Validation(search, evaluated) if len(search) else None
    # Outside of bf16 the casts change nothing.
    with progress(f"training {experiment.id}") as show, float32_fake_quantizers(prepared):
        outcome = train(prepared, train_split, config, state_path(name), show, freeze_at_the_end, validation, origin)
    evaluation = opened.evaluated(backend.convert_trained(prepared))
    command = f"{retrain_command(experiment)} --amp" if amp else retrain_command(experiment)

    def card_of(sha256: str) -> BaselineCard:
        card = make_card(opened, experiment.config.recipe.name, config.described(), outcome, evaluation, sha256)
        return card.model_copy(update={"command": command, "parent_sha256": parent})

    card = baselines.save_pair(path, prepared.state_dict(), card_of)
    forget_training(name)
    return card


def fine_tuning_config(training: TrainingConfig, recipe: Trained, amp: bool) -> TrainingConfig:
    """Training settings of the recipe: its workload's, with its own length and rate, half a cosine, no warm-up."""
    own = {"epochs": recipe.epochs, "lr": recipe.lr, "schedule": "warmup_cosine", "warmup_epochs": 0.0}
    return training.changed({**own, "patience": None, "precision": "bf16" if amp else "fp32"})


def trained_path(opened: OpenWorkload, experiment: Experiment) -> Path:
    """Path of the committed fine-tuned weights of an experiment that is trained."""
    return baselines.weights_path(opened.golden, f"{opened.baseline_name}.{experiment.name}")


def checked_trained_path(opened: OpenWorkload, experiment: Experiment) -> Path:
    """The same, if the weights there are whole and were fine-tuned from this baseline on this data.

    Raises:
        BaselineError: if they are missing, damaged, or made from another baseline or other data.
    """
    path, command = trained_path(opened, experiment), retrain_command(experiment)
    baselines.load_weights(path, command)
    card = baselines.load_card(path, command)
    check_data(card, opened.splits, path, command)
    if card.parent_sha256 != opened.weights_sha256():
        raise BaselineError(
            f"{path}: was trained from another baseline than {opened.weights_path}; restore both from version control, "
            f"or train again: {command}"
        )
    return path


def weights_of(opened: OpenWorkload, experiment: Experiment) -> Path:
    """The committed weights that are quantized: the baseline's, or those that an experiment was fine-tuned to."""
    return trained_path(opened, experiment) if isinstance(experiment.recipe, Trained) else opened.weights_path


def made_by(opened: OpenWorkload, experiment: Experiment) -> str:
    """The command that makes these weights again."""
    return retrain_command(experiment) if isinstance(experiment.recipe, Trained) else opened.train_command


def retrain_command(experiment: Experiment) -> str:
    """The command that trains an experiment for real."""
    return f"{claims_command()} --experiment {shlex.quote(experiment.id)} --retrain"
