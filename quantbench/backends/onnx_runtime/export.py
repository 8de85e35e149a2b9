"""A torch model written as `.onnx`: by torch's own exporter, with names of layers, and held against the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.file_predictor import FilePredictor
from quantbench.backends.interface import Artifact
from quantbench.backends.onnx_file import LARGEST
from quantbench.backends.onnx_runtime.session import SessionRunner, Settings, open_session
from quantbench.backends.quiet import quiet
from quantbench.backends.torch_reference import check_module
from quantbench.errors import QuantizationError
from quantbench.extras import require
from quantbench.files import printable
from quantbench.foreign import first_line

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from torch import nn

# Of the largest output: sums in another order differ by less, another computation by more.
ROUNDING = 1e-4
# Samples that the model is exported and compared on. One alone would be taken for a size that never changes.
LEAST, MOST = 2, 8
BATCH = "batch"
NO_ONNX_FORM = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
LINE_OF_CODE = re.compile(r'File "([^"]+)", line (\d+), in (\w+)\s*\n\s*(.+)')
# Parts of a parameter's name that are not its layer's.
PARAMETERS = (".weight", ".bias")


def exported(reference: Artifact, samples: Inputs, path: Path) -> ModelProto:
    """A reference of torch as a message of ONNX, in fp32, with an open batch.

    Args:
        reference: an artifact of backend `torch`.
        samples: a few normalized inputs, by the names that the file's inputs will have.
        path: of the file to come, for messages.

    Raises:
        QuantizationError: if the model cannot be written that way, naming the operation or line that stops it, or if
            what was written computes something else.
    """
    check_module(reference)
    require("backend 'onnxruntime', to write a torch model as .onnx", "onnx", "onnxscript")
    from quantbench.backends.module import ModulePredictor
    from quantbench.backends.state_dict import reference_module

    model = reference_module(reference)
    few = _few(samples)
    expected = ModulePredictor(model)(few)
    proto = _export(model, few, expected)
    _name_nodes(proto)
    _check_same(proto, few, expected, type(model).__name__, path)
    return proto


def _few(samples: Inputs) -> Inputs:
    n = len(next(iter(samples.values())))
    rows = np.resize(np.arange(min(n, MOST)), max(LEAST, min(n, MOST)))
    return {name: np.ascontiguousarray(array[rows]) for name, array in samples.items()}


def _export(model: nn.Module, samples: Inputs, outputs: Outputs) -> ModelProto:
    import torch

    name = type(model).__name__
    try:
        with quiet():
            program = torch.onnx.export(
                model,
                tuple(torch.from_numpy(array) for array in samples.values()),
                dynamo=True,
                external_data=False,
                dynamic_shapes=tuple({0: torch.export.Dim(BATCH)} for _ in samples),
                input_names=list(samples),
                output_names=list(outputs),
                verbose=False,
            )
            proto: ModelProto = program.model_proto  # type: ignore[union-attr]
    # The exporter has classes of its own for some errors, and passes on those of torch.export for others.
    except Exception as error:
        raise QuantizationError(f"{name} cannot be written as ONNX: {_cause(error)}") from error
    _check_size(proto, name)
    return proto


def _check_size(proto: ModelProto, model: str) -> None:
    if proto.ByteSize() > LARGEST:
        raise QuantizationError(
            f"{model} cannot be written as ONNX: {proto.ByteSize():,} bytes are more than one file holds; write it "
            "with external data yourself, and name the file as the reference"
        )


def _cause(error: BaseException) -> str:
    """The operation that has no form in ONNX, or the line of code that cannot be followed, or what was raised."""
    innermost, chain = error, [error]
    while (cause := innermost.__cause__ or innermost.__context__) is not None and cause not in chain:
        innermost = cause
        chain.append(cause)
    for each in chain:
        if found := NO_ONNX_FORM.search(str(each)):
            operator = found[1].replace(".", "::", 1)
            return f"the operation {operator} has no form there; replace it, or quantize with backend: eager"
    for each in reversed(chain):
        if places := LINE_OF_CODE.findall(str(each)):
            file, line, function, code = places[-1]
            return (
                f"{printable(first_line(each))}, at {Path(file).name}:{line} in {function}: "
                f"`{printable(code.strip())[:100]}`; write that without a choice that depends on values or on the size "
                "of the batch"
            )
    return f"{printable(first_line(innermost))}; torch.onnx.export(model, …, dynamo=True) tells more"


def _name_nodes(proto: ModelProto) -> None:
    """Names nodes after their layers."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    taken: dict[str, int] = {}
    for node in proto.graph.node:
        name = _layer_of(node, constants)
        taken[name] = taken.get(name, 0) + 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name] - 1}"


def _layer_of(node: NodeProto, constants: set[str]) -> str:
    """`layer1.0.conv1` for what has weights of that layer, `layer1.0/Add` for an operation within one."""
    for name in node.input:
        for part in PARAMETERS:
            if name in constants and name.endswith(part):
                return name.removesuffix(part)
    scopes = next((each.value for each in node.metadata_props if each.key == "pkg.torch.onnx.name_scopes"), "")
    # The text of a Python list: the model, the modules on the way, the operation.
    modules = re.findall(r"'([^']*)'", scopes)[1:-1]
    return f"{modules[-1]}/{node.op_type}" if modules else node.op_type


def _check_same(proto: ModelProto, samples: Inputs, expected: Outputs, model: str, path: Path) -> None:
    session = open_session(proto.SerializeToString(), Settings(), path)
    found = FilePredictor(SessionRunner(session, path), path.name)(samples)
    for name, array in expected.items():
        scale = float(np.abs(array).max(initial=0.0))
        is_alike = found[name].shape == array.shape
        worst = float(np.abs(found[name].astype(np.float64) - array).max(initial=0.0)) if is_alike else np.inf
        # Not a number is no agreement.
        if not worst <= ROUNDING * max(scale, 1e-30):
            raise QuantizationError(
                f"{model} written as ONNX gives something else: its output '{name}' differs by up to {worst:.3g} "
                f"(largest {scale:.3g}) on {len(array)} samples; does its forward draw at random, or depend on the "
                "batch or on values?"
            )
