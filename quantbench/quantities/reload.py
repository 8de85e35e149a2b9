"""The saved file, loaded in a fresh process: the same bits come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantbench.quantities.interface import Quantity
from quantbench.records.run import CheckpointFacts
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.arrays import Outputs
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run


class Reload(Quantity[CheckpointFacts]):
    """Bit-identical logits after loading in a fresh process."""

    name = "reload"
    part = "checkpoint"
    record = CheckpointFacts
    needed_to_accept = True

    def measure(self, run: Run) -> CheckpointFacts:
        """The file as a fresh process finds it."""
        import torch

        from quantbench.experiment.artifact import probe_inputs
        from quantbench.files import sha256_of_file
        from quantbench.measure.reload import reload_in_fresh_process

        built, artifact = run.candidate, run.artifact
        reloaded = reload_in_fresh_process(artifact, probe_inputs(run.opened), torch.get_num_threads())
        return CheckpointFacts(
            sha256=sha256_of_file(artifact.path),
            payload_bytes=reloaded.description.payload_bytes,
            keys=reloaded.description.keys,
            reload_identical=_bytes(built.probe) == _bytes(reloaded.outputs),
            largest_difference=_largest_difference(built.probe, reloaded.outputs),
        )

    def judge(self, run: Run, measured: CheckpointFacts, bound: Any) -> Verdict:
        """Exact."""
        same, furthest = measured.reload_identical, measured.largest_difference
        apart = f"by up to {furthest:g}" if furthest >= 0 else "in shape, or are NaN or infinite"
        text = "bit-identical" if same else f"logits differ {apart}"
        outcome = Outcome.PASS if same else Outcome.FAIL
        return Verdict(self.name, outcome, None, None, None, 1, text, "bit-identical logits in a fresh process")

    def accept(self, experiment: Experiment) -> str:
        """Nothing can be."""
        return "not possible: a checkpoint that changes when it is loaded is broken"


RELOAD = Reload()


def _bytes(outputs: Outputs) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in outputs.items()}


def _largest_difference(saved: Outputs, loaded: Outputs) -> float:
    """Of two sets of outputs; −1 where shapes differ or a value is not finite, since JSON has no NaN."""
    import numpy as np

    if {name: array.shape for name, array in saved.items()} != {name: array.shape for name, array in loaded.items()}:
        return -1.0
    if not all(np.isfinite(array).all() for array in (*saved.values(), *loaded.values())):
        return -1.0
    return max(float(np.abs(array - loaded[name]).max()) for name, array in saved.items())
