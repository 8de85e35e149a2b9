"""Planted faults: how often `quantbench blame` names the right layer and the right cause, and what that costs.

`python benchmarks/blame_faults.py measure --state FILE` plants faults in four workloads and two backends, one of each
kind in each, raises its strength until it costs `EFFECTIVE` percentage points more than nothing planted, and blames. It
goes on where it stopped. `… table --state FILE --into docs/blame.md` writes the tables into the page.

Beside it stand rankings of layers by their plain error: the least signal to quantization noise as the model runs, and
by itself; and for `onnxruntime` that of its own `quantization.qdq_loss_debug`. None of these names a cause.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from planted_faults import BENIGN, KINDS, Fault, fits, planted
from planted_samples import OF_REFERENCE, OF_SAMPLES, OF_ZERO, fits_samples, run_with

from quantbench.backends.checkpoint import read_checkpoint
from quantbench.blame.blame import blamed
from quantbench.blame.evidence import Evidence
from quantbench.config.reading import load_experiments
from quantbench.errors import QuantbenchError
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.runs import Runs
from quantbench.files import append_text, write_text
from quantbench.measure.evaluation import inputs_of
from quantbench.report.documents import with_sections
from quantbench.report.tables import markdown_rows

EXPERIMENTS = (
    "cifar_cnn_shapes/ptq_static_int8_per_channel", "cifar_cnn_shapes/ptq_onnxruntime",
    "resnet20_shapes/ptq_static_int8", "resnet20_shapes/ptq_onnxruntime",
    "vgg16_shapes/ptq_static_int8", "vgg16_shapes/ptq_onnxruntime",
    "m5_spoken_words/ptq_static", "m5_spoken_words/ptq_onnxruntime",
)  # fmt: skip
# Zero is always on the grid of the others' integers.
OF_OPENVINO = tuple(f"{name}/ptq_openvino" for name in ("cifar_cnn_shapes", "resnet20_shapes", "vgg16_shapes"))
STRENGTHS: dict[str, tuple[float, ...]] = {**KINDS, **OF_SAMPLES, **OF_REFERENCE, **OF_ZERO}
SECTION = "blame-faults"
# Percentage points that a fault costs at least, and that its strength is raised to.
LEAST, EFFECTIVE = 1.0, 3.0
# Ends of a blame that make no layer, nor all of them, responsible.
BLAMES_NONE = ("nothing", "too_little", "unexplained")
COMMAND = "python benchmarks/blame_faults.py"


def jobs(is_quick: bool) -> Iterator[tuple[str, str, bool]]:
    """Experiment, kind, and whether the change is a benign one."""
    for name in EXPERIMENTS[:1] if is_quick else EXPERIMENTS:
        yield from ((name, kind, False) for kind in KINDS)
        # What m5 loses by itself is blamed rightly.
        if not name.startswith("m5"):
            yield from ((name, kind, True) for kind in ("none", *BENIGN))
    for name in EXPERIMENTS[:1] if is_quick else EXPERIMENTS:
        yield from ((name, kind, False) for kind in (*OF_SAMPLES, *OF_REFERENCE))
    yield from ((name, kind, False) for name in OF_OPENVINO[: 1 if is_quick else None] for kind in OF_ZERO)


def measure(state: Path, seconds: float, is_quick: bool, kinds: Sequence[str] = ()) -> int:
    """Makes what is not in the state file yet, until the time is up; gives the number that is left."""
    began, done = time.monotonic(), {(each["experiment"], each["kind"], each["benign"]) for each in read(state)}
    waiting = [job for job in jobs(is_quick) if job not in done and (not kinds or job[1] in kinds)]
    runs = Runs(Settings(Path("golden")))
    experiments = {each.id: each for each in load_experiments(Path("configs"))}
    while waiting and time.monotonic() - began < seconds:
        name, kind, is_benign = waiting.pop(0)
        row = {"experiment": name, "kind": kind, "benign": is_benign}
        row |= tried(runs, experiments[name], kind, is_benign)
        append_text(state, json.dumps(row) + "\n")
        print(row, flush=True)
    return len(waiting)


def tried(runs: Runs, experiment: Any, kind: str, is_benign: bool) -> dict[str, Any]:
    """One fault, or one change that does no harm."""
    base = runs.run(experiment)
    insides = base.backend.insides(base.counterpart.artifact, base.artifact)
    insides.run(next(inputs_of(base.opened.splits.calibration, 4, 4)))
    if kind == "none":
        return found(base, None)
    if kind in KINDS:
        layers = [each for each in insides.layers if fits(kind, each)]
    else:
        state = read_checkpoint(base.baseline.artifact.path)
        layers = [each for each in insides.layers if fits_samples(kind, each, state)]
    if not layers:
        return {"outcome": "no layer for it"}
    random = np.random.RandomState(zlib.crc32(f"{experiment.id} {kind} {is_benign}".encode()))
    layer, nothing = layers[random.randint(len(layers))], Evidence.of(base).lost(0.95)[0]
    # Of the base its first batch is known to the object that planting looks into.
    for strength in (BENIGN[kind],) if is_benign else STRENGTHS[kind]:
        fault = Fault(kind, layer.name, strength)
        with TemporaryDirectory() as folder:
            if kind in KINDS:
                artifact = planted(fault, layer, base.artifact, base.backend, insides, Path(folder))
                run = Run(experiment, base.baseline, base.settings)
                vars(run)["candidate"] = BuiltArtifact(artifact, base.candidate.probe)
            else:
                run = run_with(fault, layer, base, insides, Path(folder))
            costs = Evidence.of(run).lost(0.95)[0] - nothing
            is_last = strength == STRENGTHS[kind][-1]
            if is_benign or costs >= EFFECTIVE or (is_last and costs >= LEAST):
                more = {"layer": layer.name, "strength": strength, "costs": costs, "layers": len(insides.layers)}
                return more | found(run, insides if kind in KINDS else None)
    return {"layer": layer.name, "outcome": "no effect"}


def found(run: Run, insides: Any) -> dict[str, Any]:
    """The blame of a candidate, and other rankings of its layers."""
    record = blamed(run, COMMAND)
    ranked = sorted((each for each in record.layers if each.removed is not None), key=lambda each: -(each.removed or 0))
    order = list(dict.fromkeys([*record.responsible, *(each.name for each in ranked)]))
    causes = {each.name: [cause.kind for cause in each.causes] for each in record.layers}
    quantized = [each for each in record.layers if each.quantized]
    return {
        "outcome": record.outcome,
        "order": order[:3],
        "causes": causes.get(order[0], [])[:3] if order else [],
        "propagated": [each.name for each in sorted(quantized, key=lambda each: each.propagated_db)][:3],
        "local": [each.name for each in sorted(quantized, key=lambda each: each.local_db)][:3],
        "debugger": debugger(run, insides) if insides is not None and run.artifact.path.suffix == ".onnx" else None,
        "passes": record.passes,
        "seconds": record.seconds,
        "sentence": record.sentence,
    }


def debugger(run: Run, insides: Any) -> list[str]:
    """Layers in the order of ONNX Runtime's own `qdq_loss_debug`: the least ratio across both models first."""
    import onnx
    from onnxruntime.quantization import qdq_loss_debug
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            (name,) = [each.name for each in insides._reference.graph.input]
            batch = next(inputs_of(run.opened.splits.calibration, 32, 32))
            self.rows = iter([{name: next(iter(batch.values()))}])

        def get_next(self) -> Any:
            return next(self.rows, None)

    with TemporaryDirectory() as folder:
        seen = []
        for name, proto in (("float", insides._reference), ("qdq", onnx.load(run.artifact.path))):
            path, watched = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}_watched.onnx"
            path.write_bytes(proto.SerializeToString())
            qdq_loss_debug.modify_model_output_intermediate_tensors(path, watched)
            seen.append(qdq_loss_debug.collect_activations(str(watched), Reader()))
    matching = qdq_loss_debug.create_activation_matching(seen[1], seen[0])
    errors = qdq_loss_debug.compute_activation_error(matching)
    values = {each.reference: name for name, each in insides._cut.items()}
    ratios = {values[tensor]: each["xmodel_err"] for tensor, each in errors.items()
              if tensor in values and "xmodel_err" in each}  # fmt: skip
    return sorted(ratios, key=lambda name: ratios[name])[:3]


def read(state: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Both tables as Markdown."""
    effective = [each for each in rows if not each["benign"] and "order" in each]
    benign = [each for each in rows if each["benign"] and "order" in each]
    left = sum(not each["benign"] and "order" not in each for each in rows)
    kinds = dict.fromkeys(each["kind"] for each in effective)
    workloads = {each["experiment"].partition("/")[0] for each in effective}
    backends = {
        "eager" if "_static" in each["experiment"] else each["experiment"].rpartition("_")[2] for each in effective
    }
    parts = [
        f"{len(effective)} faults that cost {LEAST:g} pp or more, of {len(kinds)} kinds, in {len(workloads)} workloads "
        f"and {len(backends)} backends ({left} others had no effect at any strength, or no layer that they fit).",
        "",
    ]
    header = ("kind", "n", "layer, top 1", "top 3", "cause, top 1", "top 3", "passes, median", "seconds")
    lines = [_line(kind, [each for each in effective if each["kind"] == kind]) for kind in kinds]
    parts += [*markdown_rows(header, [*lines, _line("all", effective)]), ""]
    named = sum(each["outcome"] not in BLAMES_NONE for each in benign)
    parts += [
        f"Blamed for {len(benign)} candidates that are sound, or changed without harm: {_share(named, len(benign))}.",
        "",
        "The right layer by rankings that name no cause:",
        "",
    ]
    onnx = [each for each in effective if each["debugger"]]
    rankings = (
        ("least signal to noise as it runs", "propagated", effective),
        ("least signal to noise by itself", "local", effective),
        ("ONNX Runtime's qdq_loss_debug, across models", "debugger", onnx),
        ("quantbench blame, of the same faults", "order", onnx),
    )
    others = [(title, str(len(own)), *_layers(key, own)) for title, key, own in rankings]
    parts += [*markdown_rows(("ranking", "n", "layer, top 1", "top 3"), others), ""]
    parts.append(f"Made by `{COMMAND} measure` and `{COMMAND} table`; intervals are exact (Clopper and Pearson), 95 %.")
    return "\n".join(parts)


def _line(title: str, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    right = [each for each in rows if each["order"][:1] == [each["layer"]]]
    first = sum(each["causes"][:1] == [each["kind"]] for each in right)
    among = sum(each["kind"] in each["causes"] for each in right)
    passes, seconds = (float(np.median([each[key] for each in rows])) for key in ("passes", "seconds"))
    n = len(rows)
    return (
        title, str(n), *_layers("order", rows), _share(first, n), _share(among, n), f"{passes:.1f}", f"{seconds:.1f}",
    )  # fmt: skip


def _layers(key: str, rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    first = sum(each[key][:1] == [each["layer"]] for each in rows)
    return _share(first, len(rows)), _share(sum(each["layer"] in each[key] for each in rows), len(rows))


def _share(count: int, n: int) -> str:
    if not n:
        return "–"
    from scipy.stats import beta

    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(0.975, count + 1, n - count))
    return f"{count}/{n} [{100 * low:.0f}, {100 * high:.0f}] %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "table"))
    parser.add_argument("--state", type=Path, default=Path("out/blame_faults.jsonl"), help="file that grows")
    parser.add_argument("--seconds", type=float, default=500.0, help="of this part")
    parser.add_argument("--quick", action="store_true", help="one workload only")
    parser.add_argument("--into", type=Path, help="document with such a section")
    parser.add_argument("--section", default=SECTION, help="of the document")
    parser.add_argument("--kind", nargs="*", default=(), help="these kinds alone")
    given = parser.parse_args(arguments)
    try:
        if given.what == "measure":
            given.state.parent.mkdir(parents=True, exist_ok=True)
            print(f"{measure(given.state, given.seconds, given.quick, given.kind)} left")
            return 0
        text = tables(read(given.state))
        if given.into:
            write_text(given.into, with_sections(given.into, [given.section], lambda *_: text))
        else:
            print(text)
    except QuantbenchError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
