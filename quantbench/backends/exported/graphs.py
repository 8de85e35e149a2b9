"""A torch module as an exported program: for batches of any size where its code allows it, in 2-D convolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.arrays import INPUT, OUTPUT, Inputs
from quantbench.backends.exported.two_dimensional import as_2d
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError
from quantbench.files import printable
from quantbench.foreign import message_of, place_of

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

# Namespaces of torch's own operators that a quantized program may call.
NAMESPACES = ("aten", "onednn", "prim", "prims", "quantized_decomposed", "torchao")
# Samples that a model is exported with: a batch of one would be taken for a size that never changes.
LEAST, MOST = 2, 8


def few(samples: Inputs, least: int = LEAST) -> Inputs:
    """The first samples, that many at least: over and over where there are fewer."""
    n = len(next(iter(samples.values())))
    rows = np.resize(np.arange(min(n, MOST)), max(least, min(n, MOST)))
    return {name: np.ascontiguousarray(array[rows]) for name, array in samples.items()}


def graph_of(module: nn.Module, samples: Inputs) -> GraphModule:
    """A module's forward as a graph, its 1-D convolutions written as 2-D ones, for which there are int8 kernels.

    Args:
        module: in the mode in which it is to run.
        samples: normalized inputs.

    Raises:
        QuantizationError: naming the line or operator that cannot be exported.
    """
    tensors, name = tensors_of(few(samples)), type(module).__name__
    graph = without_guards(_exported(module, tensors, name))
    if as_2d(graph):
        graph = without_guards(_exported(graph, tensors, name))
    _name_products(graph)
    return graph


def _name_products(graph: GraphModule) -> None:
    """Gives each convolution and linear layer a name of its own, and the class by which torchao finds it.

    torchao knows them by the module that they come from: it misses `F.conv2d`, and a convolution written as one of
    other dimensions, and takes two calls of one module for one layer.
    """
    import torch

    kinds = {torch.ops.aten.conv2d.default: torch.nn.Conv2d, torch.ops.aten.linear.default: torch.nn.Linear}
    calls = Counter[str]()
    for node in graph.graph.nodes:
        kind = kinds.get(node.target) if node.op == "call_function" else None
        if kind is None:
            continue
        name = layer_of(node)
        if not _is_of(node, kind) and not _is_of(node, torch.nn.Conv1d):
            name = f"{name}.{node.name}" if name else str(node.name)
        calls[name] += 1
        name = name if calls[name] == 1 else f"{name}_{calls[name]}"
        stack = dict(node.meta.get("nn_module_stack") or {})
        own = {key: value for key, value in stack.items() if value[0] != layer_of(node) or not value[0]}
        class_name = f"{kind.__module__}.{kind.__qualname__}"
        node.meta["nn_module_stack"] = {**own, f"L__self__{name}": (name, class_name)}
    _name_sources(graph)


def _name_sources(graph: GraphModule) -> None:
    """Notes the layer of each node where an older torch (2.11) looks for it, which is not the stack of modules."""
    import operator

    import torch
    from torch.fx.passes.utils.source_matcher_utils import get_source_partitions

    if get_source_partitions(graph.graph, [torch.nn.Conv2d, torch.nn.Linear]):
        return
    aten = torch.ops.aten
    sources = {
        aten.conv2d.default: torch.nn.Conv2d,
        aten.linear.default: torch.nn.Linear,
        aten.relu.default: torch.nn.ReLU,
        aten.relu_.default: torch.nn.ReLU,
        aten.add.Tensor: operator.add,
        aten.add_.Tensor: operator.add,
    }
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in sources:
            node.meta["source_fn_stack"] = [(node.name, sources[node.target])]


def _is_of(node: Any, kind: type) -> bool:
    """True for an operator of a layer of torch's own class."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    found = stack[-1][1] if stack else ""
    return bool(found is kind or found == f"{kind.__module__}.{kind.__qualname__}")


def program_of(
    graph: GraphModule, samples: Inputs, name: str, least: int = LEAST, most: int | None = None
) -> ExportedProgram:
    """A graph as a program that can be saved.

    Args:
        graph: in eval mode.
        samples: normalized inputs.
        name: of the model, for messages.
        least: samples that it is exported with.
        most: samples of the largest batch; None where any size is taken.
    """
    return _exported(graph, tensors_of(few(samples, least)), name, most)


def tensors_of(samples: Inputs) -> tuple[torch.Tensor, ...]:
    """Arrays as tensors, shared."""
    import torch

    return tuple(torch.from_numpy(array) for array in samples.values())


def _exported(
    module: nn.Module, tensors: tuple[torch.Tensor, ...], name: str, most: int | None = None
) -> ExportedProgram:
    import torch

    from quantbench.backends.process_settings import kept

    try:
        with kept(), quiet():
            batch = torch.export.Dim.AUTO if most is None else torch.export.Dim.AUTO(max=most)
            dynamic = tuple({0: batch} for _ in tensors)
            program = torch.export.export(module, tensors, dynamic_shapes=dynamic)
    # Whatever the model's code raises when it is given shapes instead of values.
    except Exception as error:
        raise QuantizationError(
            f"{name} cannot be exported: {message_of(error)}{place_of(error)}; write that without a choice that "
            "depends on values, or quantize with backend: eager"
        ) from error
    for node in program.graph.nodes:
        namespace = getattr(node.target, "namespace", None)
        if node.op == "call_function" and namespace is not None and namespace not in NAMESPACES:
            raise QuantizationError(f"{name} {custom_operator(f'torch.ops.{node.target}')}")
    return program


def without_guards(program: ExportedProgram) -> GraphModule:
    """A program as a module that can be rewritten; the check of its inputs' sizes is for who calls it by hand."""
    graph: Any = program.module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and str(node.target).startswith("_guards"):
            graph.graph.erase_node(node)
            delattr(graph, str(node.target))
    graph.recompile()
    return graph


def layer_of(node: Any) -> str:
    """Name of the innermost layer of the model that a node comes from; empty where it is the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [name for name, _ in stack.values()]
    return next((name for name in reversed(names) if name and "<" not in name), "")


def input_names(program: ExportedProgram) -> list[str]:
    """Names of a program's inputs; the usual one where there is only one."""
    names = list(program.graph_signature.user_inputs)
    return [str(name) for name in names] if len(names) > 1 else [INPUT]


def output_names(spec: Any, n: int) -> list[str]:
    """Names of a program's outputs, by the structure that it gives them in.

    Args:
        spec: `call_spec.out_spec`.
        n: outputs.
    """
    from torch.utils import _pytree as pytree

    given = pytree.tree_unflatten(list(range(n)), spec)
    if isinstance(given, dict):
        return [str(name) for name in given]
    return [f"{OUTPUT}_{i}" for i in range(n)] if isinstance(given, Sequence) else [OUTPUT]


def custom_operator(target: str) -> str:
    """Words about an operator that torch does not bring: `torch.ops.mine.op.default`."""
    namespace, name = target.removeprefix("torch.ops.").split(".")[:2]
    return (
        f"calls the custom operator {printable(namespace)}::{printable(name)}, which no compiler can look into; write "
        "it with operators of torch, or quantize with backend: eager"
    )
