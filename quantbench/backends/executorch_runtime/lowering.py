"""An exported program as a `.pte` file: XNNPACK takes what it has kernels for, the rest is ExecuTorch's own."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from quantbench.arrays import Inputs
from quantbench.backends.executorch_runtime.library import compiler
from quantbench.backends.executorch_runtime.names import written
from quantbench.backends.executorch_runtime.pte_file import NAMES
from quantbench.backends.exported.graphs import layer_of, program_of
from quantbench.backends.quiet import quiet, silent
from quantbench.errors import QuantizationError
from quantbench.foreign import message_of

if TYPE_CHECKING:
    from torch.fx import GraphModule

# Samples of the largest batch that a file takes, and bytes of them: the runtime allocates for the largest at once.
MOST, MOST_BYTES = 256, 1 << 26
# Samples that a program is exported with, since torch tells convolutions of fewer apart, and would fix the batch below.
LEAST = 16
# Operators that multiply, as a program has them when XNNPACK is asked.
PRODUCTS = (
    "aten.convolution.default", "aten.addmm.default", "aten.linear.default", "aten.mm.default", "aten.bmm.default",
    "aten.scaled_dot_product_attention.default",
)  # fmt: skip
VIEW, SLICE = "aten.view_copy.default", "aten.slice_copy.Tensor"
# As torch writes an end that is open.
OPEN_END = (1 << 63) - 1


def lowered(graph: GraphModule, samples: Inputs, name: str) -> bytes:
    """The bytes of a file, the same each time.

    Args:
        graph: of the model, quantized or not.
        samples: normalized inputs.
        name: of the model, for messages.

    Raises:
        QuantizationError: if an operator has no kernel, or cannot be lowered.
    """
    exir = compiler("exir")
    partitioner = compiler("backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
    program = program_of(graph, samples, name, LEAST, largest_batch(samples))
    try:
        with quiet(), silent():
            edge = exir.to_edge_transform_and_lower(
                program, transform_passes=[_without_cuts], partitioner=[partitioner()]
            )
            names = written(list(samples), _layers(edge.exported_program().graph_module))
            whole = exir.EdgeProgramManager(edge.exported_program(), {NAMES: names})
            content: bytes = whole.to_executorch().buffer
    # Of ExecuTorch's passes, which have no common base.
    except Exception as error:
        raise QuantizationError(
            f"{name} cannot be lowered to ExecuTorch: {message_of(error)}; write that with operators of torch that it "
            "has, or quantize with backend: onnxruntime"
        ) from error
    return content


def largest_batch(samples: Inputs) -> int:
    """Samples of the largest batch.

    Example:
        >>> import numpy as np
        >>> largest_batch({"input": np.zeros((2, 3, 32, 32), np.float32)})
        256
    """
    size = sum(prod(array.shape[1:]) * array.itemsize for array in samples.values())
    return max(LEAST, min(MOST, MOST_BYTES // max(1, size)))


def _without_cuts(graph_module: Any) -> Any:
    """Takes away what XNNPACK does not run and need not: views of sizes that are computed, and slices of everything."""
    from torch.fx.passes.infra.pass_base import PassResult

    done = False
    for node in graph_module.graph.nodes:
        name = _name(node.target) if node.op == "call_function" else ""
        if name == VIEW:
            sizes = list(node.args[1])
            if sum(not isinstance(size, int) for size in sizes) == 1 and -1 not in sizes:
                node.args = (node.args[0], [size if isinstance(size, int) else -1 for size in sizes])
                done = True
        elif name == SLICE and _takes_all(node):
            node.replace_all_uses_with(node.args[0])
            done = True
    if done:
        graph_module.graph.eliminate_dead_code()
        graph_module.recompile()
    return PassResult(graph_module, done)


def _takes_all(node: Any) -> bool:
    """True for a slice from the start to the end in steps of one."""
    given = list(node.args[2:])
    start, end, step = given + [0, OPEN_END, 1][len(given) :]
    return start in (0, None) and end == OPEN_END and step == 1


def _layers(graph_module: Any) -> list[str]:
    """The layer of each operator that multiplies, in the order of the file."""
    found = []
    for node in graph_module.graph.nodes:
        if node.op == "call_function" and "executorch_call_delegate" in str(node.target):
            inner = getattr(graph_module, str(node.args[0].target)).original_module
            found += _layers(inner.graph_module)
        elif node.op == "call_function" and _name(node.target) in PRODUCTS:
            found.append(layer_of(node))
    return found


def _name(target: Any) -> str:
    name = getattr(target, "name", None)
    told = str(name() if callable(name) else target)
    return told.replace("::", ".") if told.count(".") else f"{told.replace('::', '.')}.default"
