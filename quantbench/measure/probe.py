"""A file of another runtime tried out where a crash in native code ends nothing but the trial."""

from __future__ import annotations

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.reload import run_loaded


def probe_in_fresh_process(artifact: Artifact, inputs: Inputs) -> None:
    """Loads an artifact and runs one batch in a process of its own, before this process does.

    Args:
        artifact: of any backend.
        inputs: a few samples.

    Raises:
        CheckpointError: if it cannot be loaded or run, or if the runtime crashes in native code.
    """
    died = (
        f"{artifact.path}: backend '{artifact.backend.name}' crashed in native code while it loaded the file or ran "
        "it; this was in a process of its own, and the others go on: update the runtime, or write the file again"
    )
    in_fresh_process(_probe, artifact, inputs, died=died)


def _probe(artifact: Artifact, inputs: Inputs) -> None:
    run_loaded(artifact, artifact.backend.create().load(artifact, 1), inputs)
