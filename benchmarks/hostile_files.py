"""Readers of model files: each file is loaded, run and described in a fresh process, as a foreign file is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.errors import QuantbenchError
from quantbench.measure.fresh import fresh_context, in_fresh_process
from quantbench.parity.layers import layers_of
from quantbench.recipes.spec import Fp32

# The small models are those of the tests.
sys.path.append(str(Path(__file__).parents[1] / "tests"))
# Of the files' one size of pictures.
BATCHES = {size: np.random.RandomState(0).randn(2, 3, size, size).astype(np.float32) for size in (4, 8)}
DIED = "a backend crashed in native code while it loaded the file or ran it; it was in a process of its own"
LITERT = "ai_edge_litert.interpreter"


def onnx_file() -> bytes:
    """A file of ONNX."""
    return bytes(import_module("onnx_models").network().SerializeToString())


def ir_files(folder: Path) -> tuple[bytes, bytes]:
    """OpenVINO's `.xml` and `.bin` of an int8 model."""
    path: Path = in_fresh_process(_write_ir, folder / "net.xml", died=DIED)
    return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _write_ir(path: Path) -> Path:
    return Path(import_module("tiny_ir").write_ir(path, "int8"))


def tflite_file(folder: Path) -> bytes:
    """A `.tflite` of an int8 model."""
    path: Path = import_module("tiny_tflite").write_tflite(folder / "net.tflite", "int8", -1)
    return path.read_bytes()


def pte_file(folder: Path) -> bytes:
    """A `.pte` of an int8 model."""
    path: Path = in_fresh_process(_write_pte, folder, died=DIED)
    return path.read_bytes()


def _write_pte(folder: Path) -> Path:
    module, programs, artifacts = map(import_module, ("tiny_model", "exported_programs", "artifacts"))
    reference = artifacts.saved(folder / "pte.pt", module.tiny_cnn().eval(), backend="torch")
    made = BackendSpec("executorch", {}, "here").create()
    recipe = programs.recipe("static_int8_per_channel")
    return Path(made.quantize(reference, recipe, programs.calibration(programs.PICTURES), folder).artifact.path)


def reader_of(backend: str, name: str, size: int) -> Callable[[Path], Any]:
    """A reader of files of a backend: folder → outputs of a batch, keys, digests, structure and scales.

    Args:
        backend: that loads them.
        name: of the file.
        size: of its pictures.
    """

    def read(place: Path) -> Any:
        found, raised = in_fresh_process(_told, backend, place / name, size, died=DIED)
        if raised:
            raise RuntimeError(raised)
        return found

    return read


def preload() -> None:
    """Lets processes start with the runtimes that are installed, where none was started before."""
    wanted = {"onnx": "onnx", "onnxruntime": "onnxruntime", "openvino": "openvino", "ai_edge_litert": LITERT}
    wanted |= {"executorch": "executorch.runtime"}
    fresh_context().set_forkserver_preload([name for package, name in wanted.items() if find_spec(package)])


def _told(backend: str, path: Path, size: int) -> tuple[Any, str]:
    """What was read, and an error that is none of ours in words."""
    try:
        return _read(backend, path, size), ""
    except QuantbenchError:
        raise
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"[:300]


def _read(backend: str, path: Path, size: int) -> Any:
    spec = BackendSpec(backend, {}, "here")
    made = spec.create()
    artifact = Artifact.of_files(spec, made.files_of(path), Fp32())
    outputs = made.load(artifact, 1)({"input": BATCHES[size]})
    found = made.describe(artifact)
    return [outputs, found.keys, found.digests, found.graph, layers_of(artifact)[0]]
