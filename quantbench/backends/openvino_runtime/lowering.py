"""Models of torch and of other files as an OpenVINO IR, and IR written with the same bytes each time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.arrays import INPUT, OUTPUT, Inputs
from quantbench.backends.interface import Artifact, Predictor
from quantbench.backends.openvino_runtime.library import openvino
from quantbench.backends.openvino_runtime.reading import read_model, reason_of
from quantbench.backends.quiet import quiet
from quantbench.backends.torch_reference import check_module
from quantbench.errors import QuantizationError
from quantbench.foreign import message_of

if TYPE_CHECKING:
    from torch import nn

FILE_NAME = "model.xml"
# OpenVINO numbers what it inserts from one counter of the process: `Multiply_3246`.
NUMBERED = re.compile(r"[A-Z][A-Za-z0-9]*_\d+(?=$|/)")
# Largest difference of an output to the reference's, relative to the largest output.
TOLERANCE = 1e-3


def model_of(reference: Artifact, samples: Inputs) -> Any:
    """The `openvino.Model` of a reference: of torch's by export, of other files by reading them.

    Raises:
        QuantizationError: naming the operation that stops it.
    """
    if reference.path.suffix.lower() in (".xml", ".onnx"):
        return read_model(reference.files)
    check_module(reference)
    from quantbench.backends.state_dict import reference_module

    return _converted(reference_module(reference), samples, reference.path)


def _converted(module: nn.Module, samples: Inputs, path: Path) -> Any:
    """A torch module for batches of any size, or of that of the samples where its code fixes one."""
    import torch

    from quantbench.backends.process_settings import kept

    # A batch of one is taken for a fixed size; copies, since the export leaves marks on tensors.
    times = 2 if len(next(iter(samples.values()))) == 1 else 1
    tensors = tuple(torch.from_numpy(np.concatenate([array] * times)) for array in samples.values())
    with kept(), quiet():
        with torch.no_grad():
            given = module(*tensors)
        try:
            dynamic = tuple({0: torch.export.Dim.AUTO} for _ in tensors)
            program = torch.export.export(module, tensors, dynamic_shapes=dynamic)
        except Exception as error:
            raise QuantizationError(
                f"{path}: torch.export cannot follow {type(module).__name__} ({message_of(error)}); change that "
                "operation, or export the model yourself and name its .onnx as the reference"
            ) from error
        try:
            model = openvino().convert_model(program)
        except Exception as error:
            raise QuantizationError(
                f"{path}: openvino cannot convert {type(module).__name__} ({reason_of(error)}); replace that operation"
            ) from None
    batch = _batch(program)
    model.reshape({port: [batch, *array.shape[1:]] for port, array in zip(model.inputs, samples.values(), strict=True)})
    _name(model, list(samples) if len(samples) > 1 else [INPUT], _names(given))
    return model


def _batch(program: Any) -> int:
    """The batch that an exported program is fixed to; −1 for any."""
    inputs = set(program.graph_signature.user_inputs)
    sizes = [node.meta["val"].shape[0] for node in program.graph.nodes if node.name in inputs]
    # A symbol that the code fixed stays one, with a number behind it.
    fixed = [size if isinstance(size, int) else size.node.maybe_as_int() for size in sizes]
    return next((size for size in fixed if size is not None), -1)


def _names(given: Any) -> list[str]:
    """Names of a module's outputs."""
    if isinstance(given, dict):
        return [str(name) for name, each in given.items() if each is not None]
    if not isinstance(given, list | tuple):
        return [OUTPUT]
    # None is converted to no output.
    return [f"{OUTPUT}_{i}" for i, each in enumerate(given) if each is not None]


def _name(model: Any, inputs: list[str], outputs: list[str]) -> None:
    for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})


def check_agreement(predictor: Predictor, reference: Predictor, samples: Inputs, path: Path) -> None:
    """Refuses a conversion that computes something else.

    Raises:
        QuantizationError: with the largest difference.
    """
    expected, found = list(reference(samples).values()), list(predictor(samples).values())
    if len(expected) != len(found):
        raise QuantizationError(f"{path}: gives {len(expected)} outputs, and converted to OpenVINO {len(found)}")
    for one, other in zip(expected, found, strict=True):
        largest = float(np.abs(one).max(initial=0.0)) or 1.0
        difference = float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else np.inf
        if not difference <= TOLERANCE * largest:
            raise QuantizationError(
                f"{path}: converted to OpenVINO it computes something else: outputs differ by up to {difference:.3g} "
                f"where the largest is {largest:.3g}; export the model yourself and name its .onnx as the reference"
            )


def write_ir(model: Any, folder: Path) -> tuple[Path, Path]:
    """Writes a model as `.xml` and `.bin`, of the same bytes whatever else the process converted before."""
    _renumber(model)
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    openvino().save_model(model, str(path), compress_to_fp16=False)
    return path, path.with_suffix(".bin")


def _renumber(model: Any) -> None:
    """Counts what OpenVINO numbered anew, by type and in the order of the graph; the model's name is one of these."""
    counts, new = Counter[str](), dict[str, str]()
    ordered = model.get_ordered_ops()
    kinds = {op.friendly_name: op.get_type_name() for op in ordered}

    def counted(found: re.Match[str]) -> str:
        if (name := found[0]) not in new:
            kind = kinds.get(name, name.rpartition("_")[0])
            counts[kind] += 1
            new[name] = f"{kind}_{counts[kind]}"
        return new[name]

    for op in ordered:
        op.set_friendly_name(_replaced(op.friendly_name, counted))
    model.set_friendly_name("model")


def _replaced(name: str, by: Callable[[re.Match[str]], str]) -> str:
    found = NUMBERED.match(name)
    return name if found is None else by(found) + name[found.end() :]
