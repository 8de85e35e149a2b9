"""A file that a runtime loaded, as a predictor: what samples are made to fit its inputs, and its outputs to be read.

Files that were made elsewhere differ in how they are called: channels last, integers with a scale, one sample at a
time. All that follows from the file itself is done here and told in `notes`; what does not is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.coverage import Coverage
from quantbench.backends.file_inputs import Array as Array
from quantbench.backends.file_inputs import Binding as Binding
from quantbench.backends.file_inputs import Layout as Layout
from quantbench.backends.file_inputs import Step, constant_for, listed, matched, samples_in, step_to
from quantbench.backends.file_inputs import TensorSpec as TensorSpec
from quantbench.backends.interface import Predictor
from quantbench.errors import EvaluationError

# What the step to a constant is given.
NOTHING: Array = np.zeros(0)
# Names, types and shapes of the arrays of a batch.
Key = tuple[tuple[str, str, tuple[int, ...]], ...]


class Runner(ABC):
    """A loaded file in its runtime: arrays in the order of its inputs → arrays in the order of its outputs.

    Attributes:
        inputs: of the file, in order.
        outputs: of the file, in order.
        compile_s: see `Predictor.compile_s`.
    """

    compile_s: float | None = None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Runs one batch: contiguous arrays of the types and shapes that `inputs` tells.

        The arrays that are given back are the caller's: a later forward must not write into them.
        """

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:  # noqa: ARG002
        """The kernels that run all of these batches by now; None where the runtime does not tell."""
        return None


class FilePredictor(Predictor):
    """A file's runner as a predictor.

    Args:
        runner: of the loaded file.
        file: its name, for messages.
        binding: what the configuration says.
        notes: lines about how the file was loaded.
    """

    def __init__(
        self,
        runner: Runner,
        file: str,
        binding: Binding = Binding(),  # noqa: B008
        notes: Sequence[str] = (),
    ) -> None:
        self._runner, self._file, self._binding = runner, file, binding
        self._plans: dict[Key, _Plan] = {}
        self._notes: dict[str, None] = dict.fromkeys(notes)
        names = [spec.name for spec in runner.inputs]
        if unknown := next((name for name in binding.constants if name not in names), None):
            raise EvaluationError(f"{file}: has no input '{unknown}'; it has {listed(runner.inputs)}")
        self._kept = self._outputs_kept()

    @property
    def takes(self) -> tuple[TensorSpec, ...]:
        """See `Predictor.takes`."""
        return self._runner.inputs

    @property
    def compile_s(self) -> float | None:
        """See `Predictor.compile_s`."""
        return self._runner.compile_s

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Predictor.notes`."""
        return tuple(self._notes)

    def __call__(self, inputs: Inputs) -> Outputs:
        """See `Predictor.__call__`."""
        # Most forwards that are timed come this way.
        ready = inputs if type(inputs) is _Ready else self._ready(inputs)
        plan = ready.plan
        given = self._runner.run(ready.arrays) if plan.batch is None else self._in_parts(ready.arrays, plan)
        return {name: after(given[at]) for at, name, after in self._kept}

    def prepared(self, inputs: Inputs) -> Inputs:
        """See `Predictor.prepared`: the arrays that the file takes, so that no step to them is timed."""
        return self._ready(inputs)

    def kernels(self, inputs: Inputs) -> Coverage | None:
        """See `Predictor.kernels`; of a file of one fixed batch size those of all its runs."""
        ready = self._ready(inputs)
        return self._runner.kernels([part for part, _ in self._parts(ready.arrays, ready.plan)])

    def _ready(self, inputs: Inputs) -> _Ready:
        """The arrays that the file takes."""
        key = tuple([(name, array.dtype.str, array.shape) for name, array in inputs.items()])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(inputs)
        arrays = [step(NOTHING if name is None else inputs[name]) for name, step in plan.steps]
        return _Ready(inputs, arrays, plan)

    def _parts(self, arrays: Sequence[Array], plan: _Plan) -> list[tuple[Sequence[Array], int]]:
        """The batches that the file takes, with the samples that each has; the last one is filled up with its last."""
        if plan.batch is None:
            return [(arrays, plan.n)]
        parts: list[tuple[Sequence[Array], int]] = []
        for start in range(0, plan.n, plan.batch):
            held = min(plan.batch, plan.n - start)
            rows = [min(start + at, plan.n - 1) for at in range(plan.batch)]
            cut = [
                array if name is None else np.ascontiguousarray(array[rows])
                for (name, _), array in zip(plan.steps, arrays, strict=True)
            ]
            parts.append((cut, held))
        return parts

    def _in_parts(self, arrays: Sequence[Array], plan: _Plan) -> list[Array]:
        """Runs a file of one fixed batch size.

        Raises:
            EvaluationError: if an output has no row for each sample.
        """
        parts = []
        for part, held in self._parts(arrays, plan):
            given = self._runner.run(part)
            for at, name, _ in self._kept:
                if not given[at].ndim or len(given[at]) != plan.batch:
                    raise EvaluationError(
                        f"{self._file}: takes batches of {plan.batch}, and its output '{name}' has the shape "
                        f"{list(given[at].shape)}, not a row for each sample; name another output (backend: "
                        "{output: …}), or write the file with an open batch"
                    )
            parts.append([array[:held] if array.ndim else array for array in given])
        chosen = {at for at, _, _ in self._kept}
        each = enumerate(zip(*parts, strict=True))
        return [np.concatenate(arrays) if at in chosen else arrays[0] for at, arrays in each]

    def _plan(self, inputs: Inputs) -> _Plan:
        """Finds out what is done to arrays of these names, types and shapes.

        Raises:
            EvaluationError: if they do not fit the file's inputs.
        """
        n = samples_in(inputs, self._file)
        constants = self._binding.constants
        specs = [spec for spec in self._runner.inputs if spec.name not in constants]
        fixed = {spec.shape[0] for spec in specs if spec.shape and spec.shape[0] is not None}
        if len(fixed) > 1:
            raise EvaluationError(
                f"{self._file}: its inputs have different fixed batches ({listed(specs)}); write it with one batch"
            )
        batch = fixed.pop() if fixed else None
        if batch is not None and batch != n:
            self._tell(f"the file takes batches of {batch} only")
        names = dict(zip([spec.name for spec in specs], matched(specs, inputs, self._file, self._tell), strict=True))
        steps: list[tuple[str | None, Step]] = []
        for spec in self._runner.inputs:
            if spec.name in constants:
                filled = constant_for(spec, constants[spec.name], batch or n, self._file)
                steps.append((None, _always(filled)))
                self._tell(f"input '{spec.name}': always {constants[spec.name]:g}")
            else:
                name = names[spec.name]
                steps.append((name, step_to(spec, name, inputs[name], self._binding, self._file, self._tell)))
        return _Plan(tuple(steps), n, None if batch == n else batch)

    def _tell(self, line: str) -> None:
        self._notes[line] = None

    def _outputs_kept(self) -> list[tuple[int, str, Step]]:
        """Place, name and steps of each output that is given on."""
        outputs = self._runner.outputs
        chosen = self._binding.output
        if chosen is not None and chosen not in [each.name for each in outputs]:
            raise EvaluationError(f"{self._file}: has no output '{chosen}'; it has {listed(outputs)}")
        kept = [(at, each) for at, each in enumerate(outputs) if chosen in (None, each.name)]
        return [(at, each.name, self._dequantized(each)) for at, each in kept]

    def _dequantized(self, spec: TensorSpec) -> Step:
        if spec.scale is None:
            return lambda array: array
        self._tell(
            f"output '{spec.name}': dequantized from {spec.dtype} (scale {spec.scale:.6g}, "
            f"zero point {spec.zero_point})"
        )
        scale, zero_point = np.float32(spec.scale), np.float32(spec.zero_point)
        return lambda array: (array.astype(np.float32) - zero_point) * scale


def _always(array: Array) -> Step:
    return lambda _: array


@dataclass(frozen=True)
class _Plan:
    """The way from arrays of certain names, types and shapes to a forward.

    Attributes:
        steps: for each input of the file: the name of the data's array and the step from it, or None and one that gives
            a constant.
        n: samples.
        batch: the file's fixed one where it is not `n`.
    """

    steps: tuple[tuple[str | None, Step], ...]
    n: int
    batch: int | None


class _Ready(dict[str, Array]):
    """A batch, with what its file takes of it beside it."""

    def __init__(self, inputs: Inputs, arrays: list[Array], plan: _Plan) -> None:
        super().__init__(inputs)
        self.arrays, self.plan = arrays, plan
