"""The model of an experiment whose layers can be switched between bit widths, from its artifact on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.backends.interface import Artifact
from quantbench.config.schema import Experiment
from quantbench.errors import QuantizationError
from quantbench.experiment.artifact import one_sample
from quantbench.experiment.workload import OpenWorkload

if TYPE_CHECKING:
    from torch import nn


def switchable_model(
    opened: OpenWorkload, experiment: Experiment, reference: Artifact, candidate: Artifact
) -> nn.Module:
    """A model with `Switchable` layers: of a low-bit experiment its converted layers, as its artifact holds them; of
    a static int8 one its int8 layers, each of which can be left in fp32.

    Args:
        opened: the workload.
        experiment: of it.
        reference: its fp32 model.
        candidate: the experiment's artifact.

    Raises:
        QuantizationError: if no layer of such an experiment can be switched.
    """
    try:
        return candidate.backend.create().switchable(reference, candidate, one_sample(opened))
    except QuantizationError as error:
        raise QuantizationError(f"{experiment.id}: {error}") from None
