"""The artifact as its users will meet it: loaded in a fresh process that never saw the model that made it."""

from __future__ import annotations

from dataclasses import dataclass

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Artifact, Description, Predictor
from quantbench.errors import CheckpointError, QuantbenchError
from quantbench.foreign import cause_of, passes
from quantbench.measure.fresh import in_fresh_process


@dataclass(frozen=True)
class Reloaded:
    """An artifact as a fresh process found it: its files described, and the outputs of its model."""

    description: Description
    outputs: Outputs


def reload(artifact: Artifact, inputs: Inputs, threads: int) -> Reloaded:
    """Loads an artifact, runs one batch and describes the files; the fresh process's work.

    Args:
        artifact: all that is known of the model.
        inputs: the batch.
        threads: intra-operator threads, the same as where the outputs are compared, since sums may depend on them.

    Raises:
        CheckpointError: if it cannot be loaded, or its model cannot run.
    """
    backend = artifact.backend.create()
    outputs = run_loaded(artifact, backend.load(artifact, threads), inputs)
    return Reloaded(backend.describe(artifact), outputs)


def run_loaded(artifact: Artifact, predictor: Predictor, inputs: Inputs) -> Outputs:
    """Runs one batch.

    Raises:
        CheckpointError: if the model cannot run, in one line that names the file.
    """
    try:
        return predictor(inputs)
    except QuantbenchError as error:
        raise CheckpointError(f"{artifact.path}: the model loaded from it cannot run: {error}") from error
    except BaseException as error:
        if passes(error):
            raise
        raise CheckpointError(f"{artifact.path}: the model loaded from it cannot run: {cause_of(error)}") from error


def reload_in_fresh_process(artifact: Artifact, inputs: Inputs, threads: int) -> Reloaded:
    """Does the same in a process of its own.

    Raises:
        CheckpointError: the error of the fresh process, or its death.
    """
    died = f"{artifact.path}: the fresh process that loaded it died without a word"
    return in_fresh_process(reload, artifact, inputs, threads, died=died)
