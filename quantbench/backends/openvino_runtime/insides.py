"""Values inside of an OpenVINO model that NNCF quantized and of its reference, and the model with layers put back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from quantbench.arrays import Inputs
from quantbench.backends.file_predictor import Array, Binding, FilePredictor, Runner
from quantbench.backends.insides import Forward, InnerLayer, Inside, Insides, Values
from quantbench.backends.interface import Artifact
from quantbench.backends.openvino_runtime.library import openvino
from quantbench.backends.openvino_runtime.put_back import inner_layer, layers_of, put_back, take_out
from quantbench.backends.openvino_runtime.reading import read_model
from quantbench.backends.openvino_runtime.runner import OpenvinoRunner, Settings
from quantbench.errors import QuantizationError


class OpenvinoInsides(Insides):
    """A pair of models.

    Args:
        reference: in floating point, in OpenVINO's own format.
        candidate: with `FakeQuantize`.
        settings: by which both are compiled.
        binding: by which both are called.

    Raises:
        QuantizationError: if the candidate has no quantizer, or none of its layers is in the reference.
    """

    def __init__(self, reference: Artifact, candidate: Artifact, settings: Settings, binding: Binding) -> None:
        self._settings, self._binding, self._file = settings, binding, candidate.path.name
        self._reference, self._candidate = read_model(reference.files), read_model(candidate.files)
        own, others = layers_of(self._candidate), layers_of(self._reference)
        ops = {op.friendly_name: op for op in self._reference.get_ops()}
        matched = {name: each for name, each in own.items() if name in ops and each.end.friendly_name in ops}
        self.unmatched = tuple(name for name in own if name not in matched)
        if not any(each.quantizers for each in matched.values()):
            raise QuantizationError(
                f"{self._file}: none of its layers has a FakeQuantize and is in {reference.path.name} by name; nothing "
                "could be put back"
            )
        self.layers: tuple[InnerLayer, ...] = tuple(
            inner_layer(each, others.get(name) or type(each)(ops[name])) for name, each in matched.items()
        )
        names = list(matched)
        ends = [ops[matched[name].end.friendly_name].output(0) for name in names]
        shown = [(each.quantizers[0] if each.quantizers else each.op).output(0) for each in matched.values()]
        self._float = _Watching(read_model(reference.files), [each.get_node().friendly_name for each in ends], self)
        self._int8 = _Watching(read_model(candidate.files), [each.get_node().friendly_name for each in shown], self)
        self._names = names
        self._alone = OpenvinoRunner(_cut(self._candidate, names), settings, 1, self._file)

    def run(self, inputs: Inputs) -> Inside:
        """See `Insides.run`."""
        reference, candidate = self._float.run(inputs), self._int8.run(inputs)
        exact, simulated = self._alone.run(reference[1]), self._alone.run(candidate[1])
        values = {
            name: Values(*each)
            for name, *each in zip(self._names, reference[1], candidate[1], exact, simulated, strict=True)
        }
        return Inside(values, reference[0], candidate[0])

    def put_back(self, layers: Collection[str]) -> Forward:
        """See `Insides.put_back`."""
        return self.predictor(put_back(self._candidate, self._reference, layers))

    def predictor(self, model: Any) -> FilePredictor:
        """A model, called as the candidate is."""
        return FilePredictor(OpenvinoRunner(model, self._settings, 1, self._file), self._file, self._binding)


class _Watching:
    """A model whose inner values are given beside its outputs."""

    def __init__(self, model: Any, names: Sequence[str], insides: OpenvinoInsides) -> None:
        ops = {op.friendly_name: op for op in model.get_ops()}
        self._own = len(model.outputs)
        model.add_outputs([ops[name].output(0) for name in dict.fromkeys(names)])
        places = {name: self._own + at for at, name in enumerate(dict.fromkeys(names))}
        self._places = [places[name] for name in names]
        self._runner = _Kept(OpenvinoRunner(model, insides._settings, 1, insides._file), self._own)
        self._predictor = FilePredictor(self._runner, insides._file, insides._binding)

    def run(self, inputs: Inputs) -> tuple[Mapping[str, Array], list[Array]]:
        """The model's own outputs, and the values."""
        outputs = self._predictor(inputs)
        return outputs, [self._runner.seen[at] for at in self._places]


class _Kept(Runner):
    """A runner that keeps all that it gave, and gives on the model's own outputs."""

    def __init__(self, runner: OpenvinoRunner, own: int) -> None:
        self._runner, self.inputs, self.outputs = runner, runner.inputs, runner.outputs[:own]
        self.seen: list[Array] = []

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`."""
        self.seen = [np.array(each) for each in self._runner.run(arrays)]
        return self.seen[: len(self.outputs)]


def _cut(candidate: Any, names: Sequence[str]) -> Any:
    """A copy of which each layer reads a parameter instead of what the layer before it made, and nothing is rounded."""
    library = openvino()
    ops = library.opset13
    made = candidate.clone()
    layers = layers_of(made)
    ends = [layers[name].end.output(0) for name in names]
    for each in layers.values():
        take_out(each)
    parameters = []
    for end in ends:
        parameter = ops.parameter(end.get_partial_shape(), end.get_element_type())
        for target in end.get_target_inputs():
            target.replace_source_output(parameter.output(0))
        parameters.append(parameter)
    results = [ops.result(parameter if end.get_node().get_type_name() == "Parameter" else end) for end, parameter in
               zip(ends, parameters, strict=True)]  # fmt: skip
    return library.Model(results, parameters, "cut")
