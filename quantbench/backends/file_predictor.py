"""A file that a runtime loaded, as a predictor: what samples are made to fit its inputs, and its outputs to be read.

Files that were made elsewhere differ in how they are called: channels last, integers with a scale, one sample at a
time. All that follows from the file itself is done here and told in `notes`; what does not is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Predictor
from quantbench.errors import EvaluationError

Array = NDArray[Any]
# One step of what is done to an array before or after a forward.
Step = Callable[[Array], Array]
# As the data has them, or moved to the end.
Layout = Literal["nchw", "nhwc"]
# Samples whose integers stand for more than the file's can hold are clipped; more than this share of them is told.
MANY_CLIPPED = 0.001


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a file.

    Attributes:
        name: in the file.
        shape: None stands for any size; the first is the batch.
        dtype: numpy's name of the values' type.
        scale: of integers that stand for real values, `(q − zero_point) · scale`; None for values as they are.
        zero_point: see `scale`.
        layout: of a picture's axes where the file tells it.

    Example:
        >>> print(TensorSpec("image", (None, 3, 32, 32), "float32"))
        'image' float32 [?, 3, 32, 32]
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0
    layout: Layout | None = None

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"'{self.name}' {self.dtype} [{sizes}]"


class Runner(ABC):
    """A loaded file in its runtime: arrays in the order of its inputs → arrays in the order of its outputs.

    Attributes:
        inputs: of the file, in order.
        outputs: of the file, in order.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Runs one batch: contiguous arrays of the types and shapes that `inputs` tells.

        The arrays that are given back are the caller's: a later forward must not write into them.
        """


@dataclass(frozen=True)
class Binding:
    """Words of the configuration on how a file is called, where the file does not tell.

    Attributes:
        layout: of a picture's axes that the file takes.
        output: name of the one that holds the answers; None for all of them.
    """

    layout: Layout | None = None
    output: str | None = None


class FilePredictor(Predictor):
    """A file's runner as a predictor.

    Args:
        runner: of the loaded file.
        file: its name, for messages.
        binding: what the configuration says.
    """

    def __init__(self, runner: Runner, file: str, binding: Binding = Binding()) -> None:  # noqa: B008
        self._runner, self._file, self._binding = runner, file, binding
        self._plans: dict[tuple[tuple[str, str, tuple[int, ...]], ...], _Plan] = {}
        self._notes: dict[str, None] = {}
        self._kept = self._outputs_kept()

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Predictor.notes`."""
        return tuple(self._notes)

    def __call__(self, inputs: Inputs) -> Outputs:
        """See `Predictor.__call__`."""
        key = tuple((name, array.dtype.str, array.shape) for name, array in inputs.items())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(inputs)
        arrays = [plan.steps[at](inputs[name]) for at, name in enumerate(plan.names)]
        given = self._runner.run(arrays) if plan.batch is None else self._in_parts(arrays, plan.n, plan.batch)
        return {name: after(given[at]) for at, name, after in self._kept}

    def _in_parts(self, arrays: list[Array], n: int, batch: int) -> list[Array]:
        """Runs a file of one fixed batch size; the last batch is filled up with its last sample."""
        parts: list[Sequence[Array]] = []
        for start in range(0, n, batch):
            part = [array[start : start + batch] for array in arrays]
            short = batch - len(part[0])
            if short:
                part = [np.concatenate([array, np.repeat(array[-1:], short, axis=0)]) for array in part]
            given = self._runner.run([np.ascontiguousarray(array) for array in part])
            parts.append([array[: batch - short] if array.ndim else array for array in given])
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _plan(self, inputs: Inputs) -> _Plan:
        """Finds out what is done to arrays of these names, types and shapes.

        Raises:
            EvaluationError: if they do not fit the file's inputs.
        """
        specs = self._runner.inputs
        names = self._matched(inputs)
        n = len(next(iter(inputs.values())))
        steps = [self._prepared(spec, name, inputs[name]) for spec, name in zip(specs, names, strict=True)]
        fixed = {spec.shape[0] for spec in specs if spec.shape and spec.shape[0] is not None}
        if len(fixed) > 1:
            raise EvaluationError(
                f"{self._file}: its inputs have different fixed batches ({_listed(specs)}); write it with one batch"
            )
        batch = fixed.pop() if fixed else None
        if batch is not None and batch != n:
            self._notes[f"the file takes batches of {batch} only"] = None
        return _Plan(tuple(names), tuple(steps), n, None if batch == n else batch)

    def _matched(self, inputs: Inputs) -> list[str]:
        """The name of the data's array for each input of the file: by name, by there being one, or by shape."""
        specs = self._runner.inputs
        if len(specs) == 1 and len(inputs) == 1:
            return list(inputs)
        if all(spec.name in inputs for spec in specs):
            return [spec.name for spec in specs]
        found = []
        for spec in specs:
            fitting = [name for name, array in inputs.items() if _fits(spec.shape, array.shape)]
            if spec.name in inputs:
                fitting = [spec.name]
            if len(fitting) != 1:
                data = ", ".join(f"'{name}' {array.dtype} {list(array.shape)}" for name, array in inputs.items())
                raise EvaluationError(
                    f"{self._file}: takes {len(specs)} inputs ({_listed(specs)}), and the data has {data}; which of "
                    f"them is {spec} does not follow from names and shapes: name the data's arrays as the inputs"
                )
            found.append(fitting[0])
        if twice := [name for name in found if found.count(name) > 1]:
            raise EvaluationError(
                f"{self._file}: '{twice[0]}' of the data fits several of its inputs ({_listed(specs)}); name the "
                "data's arrays as the inputs"
            )
        self._notes[f"inputs by shape: {', '.join(f'{s.name} is {f}' for s, f in zip(specs, found, strict=True))}"] = (
            None
        )
        return found

    def _prepared(self, spec: TensorSpec, name: str, array: Array) -> Step:
        """The steps from an array of the data to one that the file takes."""
        shape, moved = array.shape, self._is_moved(spec, array.shape)
        if moved:
            shape = (shape[0], *shape[2:], shape[1])
            self._notes[f"input '{spec.name}': channels moved last (NCHW → NHWC)"] = None
        if not _fits(spec.shape, shape):
            raise EvaluationError(
                f"{self._file}: takes {spec}, and the data's '{name}' is {array.dtype} {list(array.shape)}; give it "
                "samples of its size, or name its layout (backend: {name: …, layout: nhwc})"
            )
        cast = self._cast(spec, array.dtype)

        def step(array: Array) -> Array:
            if moved:
                array = np.moveaxis(array, 1, -1)
            return np.ascontiguousarray(cast(array))

        return step

    def _is_moved(self, spec: TensorSpec, shape: tuple[int, ...]) -> bool:
        """True if the file takes a picture's channels last."""
        if len(shape) != 4 or len(spec.shape) != 4:
            return False
        last = _fits(spec.shape, (shape[0], *shape[2:], shape[1]))
        if (told := self._binding.layout or spec.layout) is not None:
            return told == "nhwc"
        first = _fits(spec.shape, shape)
        if first and last and shape[1:] != (shape[2], shape[3], shape[1]):
            raise EvaluationError(
                f"{self._file}: {spec} takes pictures of {list(shape)} with channels first or last alike; name which: "
                "backend: {name: …, layout: nchw} or nhwc"
            )
        return last and not first

    def _cast(self, spec: TensorSpec, dtype: np.dtype[Any]) -> Step:
        """The step from values of the data to those of the file's type."""
        wanted = np.dtype(spec.dtype)
        if dtype == wanted:
            return lambda array: array
        if wanted.kind in "iu" and dtype.kind == "f":
            if spec.scale is None:
                raise EvaluationError(
                    f"{self._file}: takes {spec}, integers without a scale, and the data is {dtype}; give it integers"
                )
            self._notes[
                f"input '{spec.name}': quantized to {wanted} (scale {spec.scale:.6g}, zero point {spec.zero_point})"
            ] = None
            ends, scale, zero_point = np.iinfo(wanted), np.float32(spec.scale), spec.zero_point

            def quantized(array: Array) -> Array:
                codes = np.rint(array / scale) + zero_point
                clipped = float(np.mean((codes < ends.min - 1) | (codes > ends.max + 1)))
                if clipped > MANY_CLIPPED:
                    line = f"input '{spec.name}': values beyond the range of its scale are clipped"
                    self._notes[line] = None
                return codes.clip(ends.min, ends.max).astype(wanted)

            return quantized
        if wanted.kind == dtype.kind or (wanted.kind == "f" and dtype.kind in "iu"):
            if wanted.kind in "iu" and not np.can_cast(dtype, wanted):
                return _within(wanted, f"{self._file}: takes {spec}")
            self._notes[f"input '{spec.name}': {dtype} is cast to {wanted}"] = None
            return lambda array: array.astype(wanted)
        raise EvaluationError(f"{self._file}: takes {spec}, and the data is {dtype}; give it data of that type")

    def _outputs_kept(self) -> list[tuple[int, str, Step]]:
        """Place, name and steps of each output that is given on."""
        outputs = self._runner.outputs
        chosen = self._binding.output
        if chosen is not None and chosen not in [each.name for each in outputs]:
            raise EvaluationError(f"{self._file}: has no output '{chosen}'; it has {_listed(outputs)}")
        kept = [(at, each) for at, each in enumerate(outputs) if chosen in (None, each.name)]
        return [(at, each.name, self._dequantized(each)) for at, each in kept]

    def _dequantized(self, spec: TensorSpec) -> Step:
        if spec.scale is None:
            return lambda array: array
        self._notes[
            f"output '{spec.name}': dequantized from {spec.dtype} (scale {spec.scale:.6g}, zero point {spec.zero_point})"
        ] = None
        scale, zero_point = np.float32(spec.scale), np.float32(spec.zero_point)
        return lambda array: (array.astype(np.float32) - zero_point) * scale


@dataclass(frozen=True)
class _Plan:
    """The way from arrays of certain names, types and shapes to a forward.

    Attributes:
        names: of the data's arrays, in the order of the file's inputs.
        steps: of each.
        n: samples.
        batch: the file's fixed one where it is not `n`.
    """

    names: tuple[str, ...]
    steps: tuple[Step, ...]
    n: int
    batch: int | None


def _within(wanted: np.dtype[Any], takes: str) -> Step:
    """A cast to fewer bits that refuses values which do not fit."""
    ends = np.iinfo(wanted)

    def cast(array: Array) -> Array:
        if array.size and (array.min() < ends.min or array.max() > ends.max):
            raise EvaluationError(f"{takes}, and the data has values from {array.min()} to {array.max()}")
        return array.astype(wanted)

    return cast


def _fits(wanted: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    """True if an array of that shape can be given where the other is wanted; the batch is the runner's to cut."""
    if len(wanted) != len(shape):
        return False
    return all(size in (None, own) for size, own in zip(wanted[1:], shape[1:], strict=True))


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs))
