"""The model of an experiment whose layers can be switched between bit widths, from its checkpoint on disk."""

from __future__ import annotations

from torch import nn

from quantbench.config.schema import Experiment
from quantbench.errors import QuantizationError
from quantbench.experiment.artifact import Artefact, make_backend, probe_inputs, quantized_artefact, reload_job
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.reload import load_quantized


def switchable_model(
    opened: OpenWorkload,
    experiment: Experiment,
    baseline: nn.Module,
    engine: str | None,
    artefact: Artefact | None = None,
) -> nn.Module:
    """A model with `Switchable` layers: of a low-bit experiment its converted layers, as its checkpoint holds them; of
    a static int8 one its int8 layers, each of which can be left in fp32.

    Args:
        opened: the workload.
        experiment: of it.
        baseline: its fp32 model.
        engine: quantized engine; None for the processor's.
        artefact: the experiment's checkpoint; made, or taken from the cache, where it is not given.

    Raises:
        QuantizationError: if no layer of such an experiment can be switched.
    """
    backend = make_backend(experiment, engine)
    found = artefact or quantized_artefact(opened, experiment, baseline, engine, retrain=False)
    converted, _ = load_quantized(reload_job(opened, experiment, found.path, engine))
    try:
        return backend.switchable(baseline, experiment.recipe(), converted, probe_inputs(opened)[:1])
    except QuantizationError as error:
        raise QuantizationError(f"{experiment.id}: {error}") from None
