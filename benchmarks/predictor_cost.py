"""What a predictor adds to a bare call of its runtime: the table of `python benchmarks/runtimes.py overhead`.

One forward through a predictor against the bare call of its runtime with the same array, both in every round, in random
order; the figures are the medians of the paired differences and ratios. A network of one small layer shows the cost of
the call itself, one of the embedded workloads its share. Nothing here converts a network to LiteRT: its file of two
layers is made by hand, others are those that are named.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import interleaved
from median_bootstrap import median_ratio_interval
from torch import nn

from quantbench.arrays import INPUT, Inputs
from quantbench.backends.interface import Artifact, BackendSpec, Predictor
from quantbench.backends.module import ModulePredictor
from quantbench.experiment.artifact import build_reference, probe_inputs
from quantbench.experiment.workload import OpenWorkload
from quantbench.recipes.spec import Fp32
from quantbench.temporary import temporary_folder

ROUNDS = 400
# Seconds that a round of either takes, at least one call.
ROUND_S = 0.001
# A predictor is quick enough within either.
LARGEST_RATIO, LARGEST_US = 1.05, 20.0
THREADS, BATCHES = 1, (1, 8)
WORKLOAD, FEATURES = "cifar_cnn_shapes", 4


@dataclass(frozen=True)
class Pair:
    """A bare call and the predictor of the same model, on the same array.

    Attributes:
        name: of runtime and model.
        bare: the call.
        predictor: that is compared with it.
        inputs: of both.
    """

    name: str
    bare: Callable[[], object]
    predictor: Predictor
    inputs: Inputs


def overhead(tflite: list[Path]) -> str:
    """A table with a row per runtime, model and batch."""
    lines = [
        "| runtime, model | batch | bare call, µs | predictor adds, µs | ratio [99 %] | target |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    torch.set_num_threads(THREADS)
    with temporary_folder() as folder, torch.inference_mode():
        lines += [overhead_row(pair) for pair in (*pairs(Path(folder)), *litert_pairs(Path(folder), tflite))]
    return "\n".join(lines)


def pairs(folder: Path) -> Iterator[Pair]:
    """One layer, and a whole network, in every runtime that takes both."""
    opened = OpenWorkload(_workload(), Path("golden"))
    reference = build_reference(opened, folder).artifact
    made = BackendSpec("onnxruntime", {}, "benchmark").create().lowered(reference, probe_inputs(opened), folder)
    if made is None:
        raise TypeError("the reference is no torch model")
    whole = opened.load_baseline()
    models: list[tuple[str, nn.Module, Path, tuple[int, ...]]] = [
        ("one layer", nn.Linear(FEATURES, FEATURES).eval(), one_layer(folder), (FEATURES,)),
        (WORKLOAD, whole, made.artifact.path, (3, 32, 32)),
    ]
    for name, module, path, shape in models:
        for batch in BATCHES:
            x = np.random.RandomState(0).randn(batch, *shape).astype(np.float32)
            inputs = {INPUT: x}
            yield Pair(f"eager, {name}", eager_call(module, x), ModulePredictor(module, THREADS), inputs)
            yield Pair(f"onnxruntime, {name}", onnxruntime_call(path, x), loaded("onnxruntime", path), inputs)
            yield Pair(f"openvino, {name}", openvino_call(path, x), loaded("openvino", path), inputs)


def litert_pairs(folder: Path, named: list[Path]) -> Iterator[Pair]:
    """Two layers in LiteRT, of two sizes, in fp32 and int8, and files that are named."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    write_tflite = importlib.import_module("tiny_tflite").write_tflite
    files = [
        ("two layers", write_tflite(folder / "tiny.tflite")),
        ("two layers, int8 in and out", write_tflite(folder / "tiny_int8.tflite", "int8")),
        ("two layers, 96×96, int8 in and out", write_tflite(folder / "int8.tflite", "int8", size=96)),
        *((path.name, path) for path in named),
    ]
    for name, path in files:
        bare, inputs = litert_call(path)
        yield Pair(f"litert, {name}", bare, loaded("litert", path), inputs)


def _workload() -> Any:
    from quantbench.config.selection import find_workload

    return find_workload(WORKLOAD, Path("configs"))


def loaded(runtime: str, path: Path) -> Predictor:
    """The predictor of a file."""
    spec = BackendSpec(runtime, {}, "benchmark")
    return spec.create().load(Artifact.of_files(spec, [path], Fp32()), THREADS)


def overhead_row(pair: Pair) -> str:
    """A row of the table: a bare call of a runtime against a predictor's."""
    bare, predictor = pair.bare, pair.predictor
    bare()
    started = time.perf_counter()
    bare()
    n = max(1, round(ROUND_S / (time.perf_counter() - started)))

    def repeated(call: Callable[[], object]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(n):
                call()

        return calls

    # As everything that is timed: in the arrays that the file takes.
    inputs = predictor.prepared(pair.inputs)
    times = interleaved({"bare": repeated(bare), "predictor": repeated(lambda: predictor(inputs))}, ROUNDS)
    added = 1e6 * float(np.median(times["predictor"] - times["bare"])) / n
    ratios = times["predictor"] / times["bare"]
    interval, ratio = median_ratio_interval(ratios), float(np.median(ratios))
    verdict = "met" if ratio <= LARGEST_RATIO or added <= LARGEST_US else "MISSED"
    batch = len(next(iter(pair.inputs.values())))
    return (
        f"| {pair.name} | {batch} | {1e6 * np.median(times['bare']) / n:.1f} | {added:.1f} | {ratio:.3f} "
        f"[{interval.low:.3f}, {interval.high:.3f}] | ≤ {LARGEST_RATIO} or ≤ {LARGEST_US:.0f} µs: {verdict} |"
    )


def eager_call(module: nn.Module, x: np.ndarray[Any, Any]) -> Callable[[], object]:
    """A bare call of a torch module, from an array to an array."""
    return lambda: module(torch.from_numpy(x)).numpy()


def onnxruntime_call(path: Path, x: np.ndarray[Any, Any]) -> Callable[[], object]:
    """A bare call of ONNX Runtime, in a session with the same options."""
    from quantbench.backends.onnx_runtime.session import Settings, open_session

    session = open_session(path, Settings(threads=THREADS), path)
    names, given = [each.name for each in session.get_outputs()], {"input": x}
    return lambda: session.run(names, given)


def openvino_call(path: Path, x: np.ndarray[Any, Any]) -> Callable[[], object]:
    """A bare call of OpenVINO, of a model that is compiled the same way."""
    from quantbench.backends.openvino_runtime.reading import read_model
    from quantbench.backends.openvino_runtime.runner import OpenvinoRunner, Settings

    compiled = OpenvinoRunner(read_model([path]), Settings(), THREADS, str(path)).compiled
    return lambda: compiled(x)


def litert_call(path: Path) -> tuple[Callable[[], object], Inputs]:
    """A bare call of LiteRT with one array, and that array."""
    from quantbench.backends.litert_runtime.tflite_file import open_tflite

    interpreter = open_tflite(path, THREADS, "xnnpack")
    (given,), wanted = interpreter.get_input_details(), interpreter.get_output_details()
    x = np.zeros(given["shape"], given["dtype"])

    def call() -> object:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]) for each in wanted]

    return call, {"input": x}


def one_layer(folder: Path) -> Path:
    """A file of ONNX with one matrix product."""
    from onnx import TensorProto, helper, numpy_helper, save

    weight = numpy_helper.from_array(np.ones((FEATURES, FEATURES), np.float32), "weight")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", FEATURES]) for name in ("input", "output")]
    nodes = [helper.make_node("MatMul", ["input", "weight"], ["output"], "product")]
    graph = helper.make_graph(nodes, "one_layer", ends[:1], ends[1:], [weight])
    path = folder / "one.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path
