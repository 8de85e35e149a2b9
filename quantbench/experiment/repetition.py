"""An experiment quantized once more, in a fresh process: do the same bits come out?"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from quantbench.arrays import OUTPUT, Outputs
from quantbench.config.schema import Experiment
from quantbench.experiment.artifact import BuiltArtifact, backend_of, build_from_files
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import cache_dir, data_dir
from quantbench.measure.fresh import in_fresh_process

# Keys that came out differently and are named; the rest is counted.
SHOWN_KEYS = 4


@dataclass(frozen=True)
class Repetition:
    """Digests of the second conversion.

    Attributes:
        sha256: of each file.
        digests: hash of each key's value.
        probe: outputs, as of `BuiltArtifact`.
    """

    sha256: tuple[str, ...]
    digests: dict[str, str]
    probe: Outputs


def run(experiment: Experiment, golden: Path, engine: str | None, threads: int, cache: Path, data: Path) -> Repetition:
    """The fresh process's work: data, weights, calibration, conversion, from the files alone.

    Args:
        experiment: to be quantized.
        golden: folder of goldens and baselines.
        engine: quantized engine.
        threads: intra-operator threads, the same as of the first time, since sums may depend on them.
        cache: where the decoded data set lies.
        data: where data sets that people bring lie.
    """
    torch.set_num_threads(threads)
    # The process may stem from a server that was started with other surroundings.
    os.environ.update(QUANTBENCH_CACHE=str(cache), QUANTBENCH_DATA=str(data))
    opened, backend = OpenWorkload(experiment.workload, golden), backend_of(experiment, engine)
    with tempfile.TemporaryDirectory() as folder:
        built = build_from_files(opened, experiment, backend, Path(folder))
        return Repetition(built.artifact.sha256, backend.describe(built.artifact).digests, built.probe)


def repeat_in_fresh_process(experiment: Experiment, golden: Path, engine: str | None) -> Repetition:
    """Quantizes the experiment in a process of its own, with as many threads as this one.

    Raises:
        CheckpointError: if the process dies.
        QuantbenchError: any error of the fresh process.
    """
    died = f"{experiment.id}: the fresh process that quantized it again died"
    arguments = (experiment, golden, engine, torch.get_num_threads(), cache_dir(), data_dir())
    return in_fresh_process(run, *arguments, died=died)


def differences(first: BuiltArtifact, second: Repetition) -> list[str]:
    """Differences that are not the same bit for bit, in words; empty if everything is."""
    found = []
    if first.artifact.sha256 != second.sha256:
        before = first.artifact.backend.create().describe(first.artifact).digests
        changed = [key for key in before | second.digests if before.get(key) != second.digests.get(key)]
        names = ", ".join(f"'{key}'" for key in changed[:SHOWN_KEYS])
        more = f" and {len(changed) - SHOWN_KEYS} more" if len(changed) > SHOWN_KEYS else ""
        found.append(f"the checkpoint differs in {names or 'its bytes, in no key'}{more}")
    for name in first.probe | second.probe:
        before_array, array = first.probe.get(name), second.probe.get(name)
        label = "logits" if name == OUTPUT else f"values of output '{name}'"
        if before_array is None or array is None:
            found.append(f"{label} came out one time only")
        elif before_array.shape != array.shape:
            found.append(f"{label} of shape {before_array.shape} became {array.shape}")
        elif before_array.tobytes() != array.tobytes():
            found.append(f"{label} differ by up to {np.abs(before_array - array).max():g}")
    return found
