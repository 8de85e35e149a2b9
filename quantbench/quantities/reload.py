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


# Instead of an acceptance.
DRAWS = (
    "not possible: no result can be compared with one that changes by itself; leave out whatever draws at random in "
    "eval mode, or seed it"
)


class Reload(Quantity[CheckpointFacts]):
    """Bit-identical logits after loading in a fresh process."""

    name = "reload"
    part = "checkpoint"
    record = CheckpointFacts
    needed_to_accept = True

    def measure(self, run: Run) -> CheckpointFacts:
        """The file as a fresh process finds it."""
        from quantbench.experiment.artifact import probe_inputs
        from quantbench.files import sha256_of_file
        from quantbench.measure.reload import reload_in_fresh_process
        from quantbench.torch_process import get_threads

        built, artifact = run.candidate, run.artifact
        reloaded = reload_in_fresh_process(artifact, probe_inputs(run.opened), get_threads())
        return CheckpointFacts(
            sha256=sha256_of_file(artifact.path),
            payload_bytes=reloaded.description.payload_bytes,
            keys=reloaded.description.keys,
            reload_identical=_bytes(built.probe) == _bytes(reloaded.outputs),
            largest_difference=_largest_difference(built.probe, reloaded.outputs),
            graph=reloaded.description.graph,
        )

    def judge(self, run: Run, measured: CheckpointFacts, bound: Any) -> Verdict:
        """Exact."""
        same, furthest = measured.reload_identical, measured.largest_difference
        apart = f"by up to {furthest:g}" if furthest >= 0 else "in shape, or are NaN or infinite"
        text, accept = "bit-identical" if same else f"logits differ {apart}", ""
        if not same and (random := _random_forward(run)):
            text, accept = f"{text}; {random}", DRAWS
        outcome = Outcome.PASS if same else Outcome.FAIL
        required = "bit-identical logits in a fresh process"
        return Verdict(self.name, outcome, None, None, None, 1, text, required, accept=accept)

    def accept(self, experiment: Experiment) -> str:
        """Nothing can be."""
        return "not possible: a checkpoint that changes when it is loaded is broken"


RELOAD = Reload()


def _random_forward(run: Run) -> str:
    """Line about a forward that gives something else each time, whatever file it was loaded from; empty otherwise."""
    from quantbench.experiment.artifact import probe_inputs
    from quantbench.measure.reload import run_loaded
    from quantbench.torch_process import get_threads

    inputs, predictor = probe_inputs(run.opened), run.loaded(get_threads())
    first, second = (run_loaded(run.artifact, predictor, inputs) for _ in range(2))
    if _bytes(first) == _bytes(second):
        return ""
    furthest = _largest_difference(first, second)
    apart = f"by up to {furthest:g}" if furthest >= 0 else "in shape, or are NaN or infinite"
    return (
        f"the forward is random, or changes the model: two forwards on the same samples in one process differ {apart}"
    )


def _bytes(outputs: Outputs) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in outputs.items()}


def _largest_difference(saved: Outputs, loaded: Outputs) -> float:
    """Of two sets of outputs; −1 where shapes differ or a value is not finite, since JSON has no NaN."""
    import numpy as np

    from quantbench.arrays import largest_difference

    if {name: array.shape for name, array in saved.items()} != {name: array.shape for name, array in loaded.items()}:
        return -1.0
    if not all(np.isfinite(array).all() for array in (*saved.values(), *loaded.values())):
        return -1.0
    return max(largest_difference(array, loaded[name]) for name, array in saved.items())
