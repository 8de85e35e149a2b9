"""An experiment quantized once more, in a fresh process: do the same bits come out?"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.backends.checkpoint import read_checkpoint, serialize
from quantbench.config.schema import Experiment
from quantbench.experiment.artifact import Artefact, quantize_now
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import cache_dir, data_dir, sha256_of_file
from quantbench.measure.fresh import in_fresh_process

# Keys that came out differently and are named; the rest is counted.
SHOWN_KEYS = 4


@dataclass(frozen=True)
class RepetitionJob:
    """All that a fresh process needs to quantize an experiment from its files.

    Attributes:
        golden: folder of goldens and baselines.
        engine: quantized engine.
        threads: intra-operator threads, the same as of the first time, since sums may depend on them.
        cache: where the decoded data set lies.
        data: where data sets that people bring lie.
    """

    experiment: Experiment
    golden: Path
    engine: str | None
    threads: int
    cache: Path
    data: Path


@dataclass(frozen=True)
class Repetition:
    """What came out the second time.

    Attributes:
        sha256: of the checkpoint's bytes.
        keys: hash of each key's value.
        probe_logits: `[PROBE_N, classes]`.
    """

    sha256: str
    keys: dict[str, str]
    probe_logits: NDArray[np.float32]


def run(job: RepetitionJob) -> Repetition:
    """The fresh process's work: data, weights, calibration, conversion, from the files alone."""
    torch.set_num_threads(job.threads)
    # The process may stem from a server that was started with other surroundings.
    os.environ.update(QUANTBENCH_CACHE=str(job.cache), QUANTBENCH_DATA=str(job.data))
    opened = OpenWorkload(job.experiment.workload, job.golden)
    made = quantize_now(opened, job.experiment, opened.load_baseline(), job.engine)
    return Repetition(_sha256(serialize(made.state)), _keys(made.state), made.probe_logits)


def repeat_in_fresh_process(experiment: Experiment, golden: Path, engine: str | None) -> Repetition:
    """Quantizes the experiment in a process of its own, with as many threads as this one.

    Raises:
        CheckpointError: if the process dies.
        QuantbenchError: any error of the fresh process.
    """
    job = RepetitionJob(experiment, golden, engine, torch.get_num_threads(), cache_dir(), data_dir())
    return in_fresh_process(run, job, died=f"{experiment.id}: the fresh process that quantized it again died")


def differences(first: Artefact, second: Repetition) -> list[str]:
    """What is not the same bit for bit, in words; empty if everything is."""
    found = []
    if sha256_of_file(first.path) != second.sha256:
        before = _keys(read_checkpoint(first.path))
        changed = [key for key in before | second.keys if before.get(key) != second.keys.get(key)]
        names = ", ".join(f"'{key}'" for key in changed[:SHOWN_KEYS])
        more = f" and {len(changed) - SHOWN_KEYS} more" if len(changed) > SHOWN_KEYS else ""
        found.append(f"the checkpoint differs in {names or 'its bytes, in no key'}{more}")
    if first.probe_logits.shape != second.probe_logits.shape:
        found.append(f"logits of shape {first.probe_logits.shape} became {second.probe_logits.shape}")
    elif first.probe_logits.tobytes() != second.probe_logits.tobytes():
        found.append(f"logits differ by up to {np.abs(first.probe_logits - second.probe_logits).max():g}")
    return found


def _keys(state: dict[str, object]) -> dict[str, str]:
    return {key: _sha256(serialize({key: value})) for key, value in state.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
