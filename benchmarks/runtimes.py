"""Runtimes beside each other: `python benchmarks/runtimes.py overhead` (about a minute).

`overhead`: one forward through a predictor against the bare call of its runtime with the same array, both in every
round, in random order; the figures are the medians of the paired differences and ratios. A network of one small layer
shows the cost of the call itself, one of the embedded workloads its share.
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
    parts: dict[str, Callable[[], None]] = {"overhead": overhead}
    chosen = sys.argv[1] if len(sys.argv) == 2 else ""
    if chosen not in parts:
        sys.exit(f"usage: python benchmarks/runtimes.py {'|'.join(parts)}")
    here = environment()
    print(f"{here.processor} ({', '.join(here.isa)}), {THREADS} thread\n")
    parts[chosen]()


def overhead() -> None:
    """Prints a row per model and batch."""
    print("| model | batch | bare call, µs | predictor adds, µs | ratio [99 %] | target |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    with temporary_folder() as folder:
        for name, path, shape in onnx_models(Path(folder)):
            spec = BackendSpec("onnxruntime", {}, "benchmark")
            predictor = spec.create().load(Artifact.of_files(spec, [path], Fp32()), THREADS)
            for batch in (1, 8):
                x = np.random.RandomState(0).randn(batch, *shape).astype(np.float32)
                print(overhead_row(name, batch, onnxruntime_call(path, x), predictor, {"input": x}))


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
