"""Small models of ONNX that tests make by hand, without torch and its exporter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.recipes.spec import Fp32, Recipe

FLOAT = TensorProto.FLOAT
OPSET, IR = 20, 10


def onnxruntime(**params: Any) -> BackendSpec:
    """The backend, with its parameters."""
    return BackendSpec("onnxruntime", params, "here")


def constants(**arrays: np.ndarray) -> list[TensorProto]:
    """Initializers by name."""
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def model(
    nodes: Sequence[Any],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    values: Sequence[TensorProto] = (),
    **more: Any,
) -> ModelProto:
    """A model of nodes.

    Args:
        nodes: as `onnx.helper.make_node` gives them.
        inputs: name → shape of floats, or a type.
        outputs: the same.
        values: initializers.
        more: `opset`, `ir`, `domains`.
    """

    def kinds(given: dict[str, Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, FLOAT, kind) if isinstance(kind, list)
                else helper.make_value_info(name, kind) for name, kind in given.items()]  # fmt: skip

    graph = helper.make_graph(list(nodes), "g", kinds(inputs), kinds(outputs), list(values))
    imports = [helper.make_opsetid("", more.get("opset", OPSET))]
    imports += [helper.make_opsetid(domain, 1) for domain in more.get("domains", ())]
    return helper.make_model(graph, opset_imports=imports, ir_version=more.get("ir", IR))


def network(batch: Any = "n", seed: int = 0, channels: int = 8) -> ModelProto:
    """Conv → ReLU → Conv → ReLU → mean → Gemm on `[n, 3, 8, 8]`, three classes, with sound names."""
    random = np.random.RandomState(seed)

    def values(*shape: int) -> np.ndarray:
        return (random.randn(*shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["input", "conv1.weight", "conv1.bias"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "conv2.weight"], ["c"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "pool"),
        helper.make_node("Flatten", ["e"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["output"], "fc", transB=1),
    ]
    held = constants(**{
        "conv1.weight": values(channels, 3, 3, 3), "conv1.bias": values(channels, 1)[:, 0],
        "conv2.weight": values(channels, channels, 3, 3),
        "fc.weight": values(3, channels), "fc.bias": values(3, 1)[:, 0],
    })  # fmt: skip
    made = model(nodes, {"input": [batch, 3, 8, 8]}, {"output": [batch, 3]}, held)
    checker.check_model(made)
    return made


# Multiply-accumulates of a sample, by layer.
MACS = {"conv1": 8 * 64 * 27, "conv2": 8 * 64 * 72, "fc": 24}


def artifact_of(proto: ModelProto, path: Path, recipe: Recipe | None = None, **params: Any) -> Artifact:
    """A model saved, as an artifact of the backend."""
    path.write_bytes(proto.SerializeToString())
    return Artifact.of_files(onnxruntime(**params), [path], recipe or Fp32())


def samples(n: int = 8, seed: int = 1) -> dict[str, np.ndarray]:
    """A batch for `network`."""
    return {"input": np.random.RandomState(seed).randn(n, 3, 8, 8).astype(np.float32)}
