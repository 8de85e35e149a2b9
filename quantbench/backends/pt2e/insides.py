"""Values inside of an exported program in int8 and of its reference, and the program with layers put back.

What runs is the program before inductor compiled it, node by node in eager torch: a compiled one cannot be cut. It
rounds what the compiled kernels round, and sums in floating point.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.fx import Interpreter

from quantbench.arrays import Inputs
from quantbench.backends.exported.graphs import without_guards
from quantbench.backends.file_predictor import Array, Binding, FilePredictor, Runner
from quantbench.backends.insides import Forward, InnerLayer, Inside, Insides, Values
from quantbench.backends.interface import Artifact, Predictor
from quantbench.backends.module import array_of
from quantbench.backends.pt2e.compiling import read_program, specs_of
from quantbench.backends.pt2e.inner_layers import (
    GraphLayer,
    inner_layer,
    is_dequantizer,
    layers_of,
    tensor_of,
)
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

# Values by layer, of one forward.
Noted = Mapping[str, torch.Tensor]
GRAPH_ALONE = (
    "layers were put back in the program before inductor compiled it, which rounds what its kernels round and sums in "
    "floating point: what a kernel does otherwise (saturation) is not seen"
)


class ProgramInsides(Insides):
    """A pair of programs.

    Args:
        reference: a `.pt2` file in floating point.
        candidate: a `.pt2` file in int8.
        compiled: the candidate as it was measured.
        binding: by which files are called.
        is_trained: the candidate's weights were fine-tuned, so that a layer that is put back keeps them.

    Raises:
        QuantizationError: if no layer of the candidate is in int8, or none of them is in the reference.
    """

    def __init__(
        self, reference: Artifact, candidate: Artifact, compiled: Predictor, binding: Binding, is_trained: bool
    ) -> None:
        self._file, self._binding, self._compiled = candidate.path.name, binding, compiled
        self._program = read_program(candidate.path)
        self._graph: Any = without_guards(self._program)
        found = layers_of(self._graph)
        float_program = read_program(reference.path)
        given = _parameters(float_program)
        if not any(each.quantizers or each.own for each in found.values()):
            raise QuantizationError(f"{self._file}: no layer of it is in int8; there is nothing that could be put back")
        self.unmatched = tuple(
            name for name, each in found.items() if each.weight is not None and not _fits(self._graph, each, given)
        )
        self._found = {name: each for name, each in found.items() if name not in self.unmatched}
        if not any(each.weight is not None for each in self._found.values()):
            raise QuantizationError(
                f"{self._file}: none of its {len(self.unmatched)} layers is in {reference.path.name} by name and "
                f"shape (the first is '{self.unmatched[0] if self.unmatched else ''}'); blame needs the "
                "floating-point program that this one was made of"
            )
        self._back = {} if is_trained else {name: given[name] for name in self._found if name in given}
        self.layers: tuple[InnerLayer, ...] = tuple(
            inner_layer(self._graph, each, _arrays(self._back.get(name))) for name, each in self._found.items()
        )
        self._float = FilePredictor(_FloatRunner(float_program), reference.path.name, binding)
        self._is_trained = is_trained
        trained = ["weights were fine-tuned: a layer that is put back keeps them"] if is_trained else []
        self._notes = [GRAPH_ALONE, *trained]
        self._is_checked = False

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Lines about what was done; that the compiled program gives something else is known after a batch."""
        return tuple(self._notes)

    def run(self, inputs: Inputs) -> Inside:
        """See `Insides.run`."""
        n, everything = len(next(iter(inputs.values()))), frozenset(self._found)
        reference = self._float(inputs)
        all_back, before = self._forward(inputs, _Plan(everything, self._back))
        candidate, after = self._forward(inputs, _Plan())
        exact = self._forward(inputs, _Plan(everything, {}, before))[1]
        self._check(inputs, reference, candidate)
        values = {}
        for layer in self.layers:
            name, grid = layer.name, layer.grid
            one, two, three = (_joined(each, name, n) for each in (before, after, exact))
            shown = two if grid is None else grid.rounded(two).astype(np.float32)
            values[name] = Values(one, shown, three)
        return Inside(values, reference, candidate, None if self._is_trained else all_back)

    def put_back(self, layers: Collection[str]) -> Forward:
        """See `Insides.put_back`."""
        return self._predictor(_Plan(frozenset(layers), self._back))[0]

    def _forward(self, inputs: Inputs, plan: _Plan) -> tuple[Mapping[str, Array], list[Noted]]:
        predictor, runner = self._predictor(plan)
        outputs = predictor(inputs)
        return outputs, runner.noted

    def _predictor(self, plan: _Plan) -> tuple[FilePredictor, _GraphRunner]:
        runner = _GraphRunner(self._program, self._graph, self._found, plan)
        return FilePredictor(runner, self._file, self._binding), runner

    def _check(self, inputs: Inputs, reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> None:
        """Notes a compiled program that gives something else than its graph, by more than half of the error."""
        if self._is_checked:
            return
        self._is_checked = True
        own = apart = 0.0
        for name, real in self._compiled(inputs).items():
            own += float(np.square(candidate[name] - reference[name], dtype=np.float64).sum())
            apart += float(np.square(candidate[name] - real, dtype=np.float64).sum())
        if apart > own / 2:
            self._notes.append(
                f"the compiled program gives something else than its graph: of the outputs' error the difference is "
                f"{100 * apart / max(own, 1e-30):.0f} %; look at the kernels, or quantize with backend: onnxruntime"
            )


class _Plan:
    """The way in which a graph is run.

    Args:
        back: layers whose quantizers are passed.
        parameters: weight and bias of layers that are put back.
        forced: values that stand in for what each layer makes, for each forward in turn.
    """

    def __init__(
        self,
        back: frozenset[str] = frozenset(),
        parameters: Mapping[str, tuple[torch.Tensor, torch.Tensor | None]] | None = None,
        forced: Sequence[Noted] = (),
    ) -> None:
        self.back, self.forced = back, list(forced)
        self.parameters = {name: each for name, each in (parameters or {}).items() if name in back}


class _GraphRunner(Runner):
    """Runs a program's graph by a plan, and notes what each layer makes.

    Args:
        program: tells inputs and outputs.
        graph: of it.
        layers: of the graph.
        plan: see `_Plan`.
    """

    def __init__(self, program: ExportedProgram, graph: Any, layers: Mapping[str, GraphLayer], plan: _Plan) -> None:
        inputs, outputs = specs_of(program)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._graph, self._layers, self._plan = graph, layers, plan
        self.noted: list[Noted] = []

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`."""
        forced = self._plan.forced[len(self.noted)] if self._plan.forced else {}
        interpreter = _Run(self._graph, self._layers, self._plan, forced)
        given = _outputs(interpreter, arrays)
        self.noted.append(interpreter.noted)
        return given


class _FloatRunner(Runner):
    def __init__(self, program: ExportedProgram) -> None:
        inputs, outputs = specs_of(program)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._interpreter = Interpreter(without_guards(program))

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`."""
        return _outputs(self._interpreter, arrays)


class _Run(Interpreter):
    """One forward by a plan."""

    def __init__(self, graph: Any, layers: Mapping[str, GraphLayer], plan: _Plan, forced: Noted) -> None:
        super().__init__(graph)
        self._forced = forced
        self.noted: dict[str, torch.Tensor] = {}
        self._passed = {each for name in plan.back if name in layers for each in _rounding(layers[name])}
        self._ends: dict[Node, list[str]] = {}
        self._parameters: dict[Node, tuple[torch.Tensor, torch.Tensor | None]] = {}
        for name, each in layers.items():
            self._ends.setdefault(each.end, []).append(name)
            if name in plan.parameters:
                self._parameters[each.node] = plan.parameters[name]

    def run_node(self, n: Node) -> Any:
        """The value of a node, which is that which is forced where there is one."""
        value = self._value(n)
        for name in self._ends.get(n, ()):
            # An operator in place would change it later.
            self.noted[name] = value.clone()
            if name in self._forced:
                value = self._forced[name].clone()
        return value

    def _value(self, n: Node) -> Any:
        if n in self._passed or (is_dequantizer(n) and self.env[n.args[0]].is_floating_point()):  # type: ignore[index]
            return self.env[n.args[0]]  # type: ignore[index]
        if n not in self._parameters:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        given, _, *rest = args
        weight, bias = self._parameters[n]
        return self.call_function(n.target, (given, weight, *([bias, *rest[1:]] if rest else [])), kwargs)


def _outputs(interpreter: Interpreter, arrays: Sequence[Array]) -> list[Array]:
    from torch.utils._pytree import tree_leaves

    with torch.inference_mode(), torch.fx.traceback.preserve_node_meta(False):
        given = interpreter.run(*[torch.from_numpy(array) for array in arrays], enable_io_processing=True)
        return [np.array(array_of(each)) for each in tree_leaves(given)]


def _rounding(layer: GraphLayer) -> list[Node]:
    return [*layer.quantizers, *layer.own]


def _parameters(program: ExportedProgram) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    """Weight and bias of each layer of the reference, batch norms folded into them."""
    from torchao.quantization.pt2e.utils import _fuse_conv_bn_

    graph = without_guards(program)
    with quiet(), torch.no_grad():
        _fuse_conv_bn_(graph)
    return {
        name: (tensor_of(graph, each.weight), None if each.bias is None else tensor_of(graph, each.bias))
        for name, each in layers_of(graph).items()
        if each.weight is not None
    }


def _fits(graph: Any, layer: GraphLayer, given: Mapping[str, tuple[torch.Tensor, torch.Tensor | None]]) -> bool:
    """The reference has a weight of that name and shape."""
    twin = given.get(layer.name)
    return twin is not None and layer.weight is not None and twin[0].shape == tensor_of(graph, layer.weight).shape


def _arrays(twin: tuple[torch.Tensor, torch.Tensor | None] | None) -> tuple[Array | None, Array | None]:
    weight, bias = twin or (None, None)
    return (None if weight is None else weight.double().numpy(), None if bias is None else bias.double().numpy())


def _joined(noted: Sequence[Noted], name: str, n: int) -> Array:
    """Values of one layer over the forwards of a batch; a file of one fixed batch size fills up the last one."""
    found: Array = np.concatenate([np.atleast_1d(each[name].float().numpy()) for each in noted])
    return found[:n] if len(noted) > 1 or len(found) > n else found
