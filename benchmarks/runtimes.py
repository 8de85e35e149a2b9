"""Runtimes beside each other: `python benchmarks/runtimes.py overhead [FILE.tflite …]` (about two minutes).

`overhead`: one forward through a predictor against the bare call of its runtime with the same array, both in every
round, in random order; the figures are the medians of the paired differences and ratios. A network of one small layer
shows the cost of the call itself, one of the embedded workloads its share. Files of LiteRT are those that are named,
since there is nothing here that makes them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import interleaved
from median_bootstrap import median_ratio_interval

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, BackendSpec, Predictor
from quantbench.measure.environment import environment
from quantbench.recipes.spec import Fp32
from quantbench.temporary import temporary_folder

ROUNDS = 400
# Seconds that a round of either takes, at least one call.
ROUND_S = 0.001
# A predictor is quick enough within either.
LARGEST_RATIO, LARGEST_US = 1.05, 20.0
THREADS = 1


def main() -> None:
    """Prints one table."""
    parts: dict[str, Callable[[list[Path]], None]] = {"overhead": overhead}
    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    if chosen not in parts:
        sys.exit(f"usage: python benchmarks/runtimes.py {'|'.join(parts)} [FILE.tflite …]")
    here = environment()
    print(f"{here.processor} ({', '.join(here.isa)}), {THREADS} thread\n")
    parts[chosen]([Path(name) for name in sys.argv[2:]])


def overhead(tflite: list[Path]) -> None:
    """Prints a row per runtime, model and batch."""
    print("| runtime, model | batch | bare call, µs | predictor adds, µs | ratio [99 %] | target |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    with temporary_folder() as folder:
        for name, path, shape in onnx_models(Path(folder)):
            for runtime, call in {"onnxruntime": onnxruntime_call, "openvino": openvino_call}.items():
                for batch in (1, 8):
                    x = np.random.RandomState(0).randn(batch, *shape).astype(np.float32)
                    row = overhead_row(f"{runtime}, {name}", batch, call(path, x), loaded(runtime, path), {"input": x})
                    print(row)
    for path in tflite:
        bare, inputs = litert_call(path)
        batch = len(next(iter(inputs.values())))
        print(overhead_row(f"litert, {path.name}", batch, bare, loaded("litert", path), inputs))


def loaded(runtime: str, path: Path) -> Predictor:
    """The predictor of a file."""
    spec = BackendSpec(runtime, {}, "benchmark")
    return spec.create().load(Artifact.of_files(spec, [path], Fp32()), THREADS)


def overhead_row(name: str, batch: int, bare: Callable[[], object], predictor: Predictor, inputs: Inputs) -> str:
    """A row of the table: a bare call of a runtime against a predictor's."""
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
    inputs = predictor.prepared(inputs)
    times = interleaved({"bare": repeated(bare), "predictor": repeated(lambda: predictor(inputs))}, ROUNDS)
    added = 1e6 * float(np.median(times["predictor"] - times["bare"])) / n
    ratios = times["predictor"] / times["bare"]
    interval, ratio = median_ratio_interval(ratios), float(np.median(ratios))
    verdict = "met" if ratio <= LARGEST_RATIO or added <= LARGEST_US else "MISSED"
    return (
        f"| {name} | {batch} | {1e6 * np.median(times['bare']) / n:.1f} | {added:.1f} | {ratio:.3f} "
        f"[{interval.low:.3f}, {interval.high:.3f}] | ≤ {LARGEST_RATIO} or ≤ {LARGEST_US:.0f} µs: {verdict} |"
    )


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


def onnx_models(folder: Path) -> list[tuple[str, Path, tuple[int, ...]]]:
    """Name, file and sample's shape of a network of one layer, and of an embedded workload's."""
    from onnx import TensorProto, helper, numpy_helper, save

    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "weight")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("input", "output")]
    nodes = [helper.make_node("MatMul", ["input", "weight"], ["output"], "product")]
    graph = helper.make_graph(nodes, "one_layer", ends[:1], ends[1:], [weight])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "one.onnx")
    return [("one layer", folder / "one.onnx", (4,)), ("cifar_cnn_shapes", exported(folder), (3, 32, 32))]


def exported(folder: Path) -> Path:
    """The network of `cifar_cnn_shapes` as a file of ONNX."""
    from quantbench.config.selection import find_workload
    from quantbench.experiment.artifact import build_reference, probe_inputs
    from quantbench.experiment.workload import OpenWorkload

    opened = OpenWorkload(find_workload("cifar_cnn_shapes", Path("configs")), Path("golden"))
    reference = build_reference(opened, folder).artifact
    made = BackendSpec("onnxruntime", {}, "benchmark").create().lowered(reference, probe_inputs(opened), folder)
    if made is None:
        raise TypeError("the reference is no torch model")
    return made.artifact.path


if __name__ == "__main__":
    main()
