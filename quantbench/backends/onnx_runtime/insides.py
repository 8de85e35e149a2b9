"""Values inside of a QDQ model of ONNX and of its reference, and the model with layers put back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantbench.arrays import Inputs
from quantbench.backends.file_predictor import Array, Binding, FilePredictor
from quantbench.backends.insides import InnerLayer, Inside, Insides, Values
from quantbench.backends.interface import Predictor
from quantbench.backends.onnx_file import model_of
from quantbench.backends.onnx_runtime.blocks import has_blocks, unpacked, without_gemms
from quantbench.backends.onnx_runtime.cut import GIVEN, cut
from quantbench.backends.onnx_runtime.file_runner import tell_scales
from quantbench.backends.onnx_runtime.parameters import inner_layer
from quantbench.backends.onnx_runtime.put_back import put_back
from quantbench.backends.onnx_runtime.qdq_layers import QdqGraph
from quantbench.backends.onnx_runtime.quantization import prepared
from quantbench.backends.onnx_runtime.session import SessionRunner, Settings, open_session
from quantbench.backends.onnx_runtime.watched import Watched
from quantbench.backends.onnx_runtime.writing import whole
from quantbench.errors import QuantizationError

if TYPE_CHECKING:
    from onnx import ModelProto

IN_FLOATING_POINT = (
    "weights in blocks were unpacked before the model was looked into: its products are those of floating point, which "
    "sum in another order than MatMulNBits"
)


class OnnxInsides(Insides):
    """A pair of files.

    Args:
        reference: in floating point.
        candidate: in the QDQ form.
        settings: of sessions of the candidate.
        bindings: how the reference and the candidate are called.

    Raises:
        QuantizationError: if the candidate has no QDQ operators, or none of its layers is the reference's.
    """

    def __init__(self, reference: Path, candidate: Path, settings: Settings, bindings: tuple[Binding, Binding]) -> None:
        self._path, self._settings, self._binding = candidate, settings, bindings[1]
        self._reference, self._candidate = prepared(whole(reference)), whole(candidate)
        self.notes: tuple[str, ...] = ()
        if has_blocks(self._candidate):
            self._reference, self._candidate = without_gemms(self._reference), unpacked(self._candidate)
            self.notes = (IN_FLOATING_POINT,)
            # Rewritten further, they would become blocks again, whose kernels round what they are given.
            settings = self._settings = replace(settings, graph_optimization="basic")
        found = cut(self._candidate, self._reference)
        graph, float_graph = QdqGraph(self._candidate), QdqGraph(self._reference)
        self._cut = {each.layer.name: each for each in found.layers}
        own = {each.name: each for each in graph.layers}
        self.layers: tuple[InnerLayer, ...] = tuple(
            inner_layer(graph, own[each.layer.name], float_graph, each.twin) for each in found.layers
        )
        self.unmatched = found.unmatched
        _check_matched(self.layers, found.unmatched, reference, candidate)
        self._float = _Watching(self._reference, [each.reference for each in found.layers], reference, bindings[0])
        self._int8 = _Watching(self._candidate, [each.shown for each in found.layers], candidate, bindings[1], settings)
        content = found.model.SerializeToString()
        # Not rewritten: what is compared is what each layer computes by itself.
        self._alone = open_session(content, Settings(graph_optimization="basic", threads=settings.threads), candidate)

    def run(self, inputs: Inputs) -> Inside:
        """See `Insides.run`."""
        n = len(next(iter(inputs.values())))
        reference, candidate = self._float.run(inputs, n), self._int8.run(inputs, n)
        grids = {each.name: each.grid for each in self.layers}
        shown = {}
        for name, each in self._cut.items():
            grid, codes = grids[name], candidate[each.shown]
            shown[name] = codes if grid is None else (grid.scale * (codes - grid.zero_point)).astype(np.float32)
        exact = self._given({each.value: reference[each.reference] for each in self._cut.values()}, reference)
        simulated = self._given({each.value: shown[name] for name, each in self._cut.items()}, candidate)
        values = {
            name: Values(reference[each.reference], shown[name], exact[each.value], simulated[each.value])
            for name, each in self._cut.items()
        }
        return Inside(values, self._float.outputs(reference), self._int8.outputs(candidate))

    def put_back(self, layers: Collection[str]) -> Predictor:
        """See `Insides.put_back`."""
        made = put_back(self._candidate, self._reference, layers)
        runner = _runner(made, self._path, self._settings, self._binding.output)
        return FilePredictor(runner, self._path.name, self._binding)

    def _given(self, values: Mapping[str, Array], others: Mapping[str, Array]) -> dict[str, Array]:
        """Results of each layer from given values."""
        fed = {f"{name}{GIVEN}": np.asarray(value, np.float32) for name, value in values.items()} | dict(others)
        feeds = {each.name: fed[each.name] for each in self._alone.get_inputs()}
        names = [each.name for each in self._alone.get_outputs()]
        return dict(zip(names, self._alone.run(names, feeds), strict=True))


class _Watching:
    """A model whose inner values are given beside its outputs.

    Args:
        proto: the model.
        values: names of these values.
        path: of its file, for messages.
        binding: how it is called.
        settings: of its session.
    """

    def __init__(
        self,
        proto: ModelProto,
        values: Iterable[str],
        path: Path,
        binding: Binding,
        settings: Settings = Settings(),  # noqa: B008
    ) -> None:
        from onnx import ValueInfoProto

        watched = type(proto)()
        watched.CopyFrom(proto)
        self._own = [each.name for each in proto.graph.output]
        inputs = [each.name for each in proto.graph.input]
        more = [name for name in dict.fromkeys(values) if name not in (*self._own, *inputs)]
        watched.graph.output.extend([ValueInfoProto(name=name) for name in more])
        runner = _runner(watched, path, settings, None)
        self._runner = Watched(runner, [each.name for each in runner.inputs])
        self._predictor = FilePredictor(self._runner, path.name, Binding(binding.layout, None, binding.constants))
        self._binding = binding

    def run(self, inputs: Inputs, n: int) -> dict[str, Array]:
        """Every value of a batch of `n` samples, by name."""
        self._runner.seen.clear()
        self._predictor(inputs)
        seen = self._runner.seen
        found: dict[str, Array] = {
            name: np.concatenate([np.atleast_1d(each[name]) for each in seen]) for name in seen[0]
        }
        # A file of one fixed batch size fills up the last one.
        return {name: array[:n] if len(seen) > 1 or len(array) > n else array for name, array in found.items()}

    def outputs(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The model's own outputs among these values."""
        kept = [name for name in self._own if self._binding.output in (None, name)]
        return {name: values[name] for name in kept}


def _runner(proto: ModelProto, path: Path, settings: Settings, output: str | None) -> SessionRunner:
    runner = SessionRunner(open_session(proto.SerializeToString(), settings, path), path, output)
    tell_scales(runner, model_of(proto, path))
    return runner


def _check_matched(
    layers: Collection[InnerLayer], unmatched: Collection[str], reference: Path, candidate: Path
) -> None:
    """Raises QuantizationError unless some layer that is quantized is matched."""
    if any(each.is_quantized and each.op != "input" for each in layers):
        return
    if unmatched:
        raise QuantizationError(
            f"{candidate.name}: none of its {len(unmatched)} quantized layers is in {reference.name}, by name, by "
            f"place or by shape (the first is '{next(iter(unmatched))}'); blame needs the floating-point model that "
            "this one was made of"
        )
    raise QuantizationError(f"{candidate.name}: no layer of it is in int8; there is nothing that could be put back")
