"""Are the bits the same again? `python benchmarks/determinism.py` (about 5 minutes; `--all` with the real data sets).

Every experiment is quantized from its committed weights and evaluated on the whole test split, twice with one thread
and twice with two, each time in a new interpreter with an empty cache of checkpoints; the second one takes the
experiments in reverse order, so that whatever one leaves behind for the next would show. `--train` trains instead: two
epochs of the baseline on some samples of the training split, then two of quantization-aware fine-tuning from it.
`--batches` compares the same checkpoint evaluated in batches of two sizes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from quantbench.arrays import OUTPUT
from quantbench.backends.checkpoint import read_checkpoint, serialize
from quantbench.backends.interface import Predictor
from quantbench.config.component import Component
from quantbench.config.reading import load_experiments
from quantbench.config.schema import Experiment
from quantbench.data.splits import Split
from quantbench.experiment.artifact import backend_of, reference
from quantbench.experiment.fine_tuning import fine_tune, trained_path
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import cache_dir, data_dir, sha256_of_file
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import EVALUATION_BATCH, inputs_of
from quantbench.recipes.spec import QatInt8

EMBEDDED = ("cifar_cnn_shapes/*", "m5_spoken_words/*")
THREADS = (1, 2)
TRAINED_ON, EPOCHS = 2_048, 2
OTHER_BATCH = 256


@dataclass(frozen=True)
class Job:
    """What one new interpreter does.

    Attributes:
        experiments: all of one workload, in the order they are taken.
        engine: quantized engine, or None for the processor's.
        threads: intra-operator threads.
        train: train instead of quantizing committed weights.
    """

    experiments: tuple[Experiment, ...]
    engine: str | None
    threads: int
    train: bool


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of an experiment in one interpreter.

    Attributes:
        sha256: of the file that was written: a checkpoint, or trained weights.
        parts: its parts by key, as bytes.
        logits: `[n, classes]` of the test split.
    """

    sha256: str
    parts: dict[str, bytes]
    logits: NDArray[np.float32]


def work(job: Job) -> dict[str, Fingerprint]:
    """Does a job with a cache of its own, in which only the data is shared."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        cache.mkdir()
        data, raw = cache_dir() / "data", data_dir()
        (cache / "data").symlink_to(data.resolve(), target_is_directory=True)
        os.environ.update(QUANTBENCH_CACHE=str(cache), QUANTBENCH_DATA=str(raw.resolve()))
        torch.set_num_threads(job.threads)
        if job.train:
            return trained(job, Path(folder) / "golden")
        runs = Runs(Settings(Path("golden"), job.engine))
        made = {}
        for experiment in job.experiments:
            run = runs.run(experiment)
            parts = {key: serialize({key: value}) for key, value in read_checkpoint(run.artifact.path).items()}
            logits = logits_of(run.loaded(torch.get_num_threads()), run.opened.splits.test)
            made[experiment.id] = Fingerprint(sha256_of_file(run.artifact.path), parts, logits)
        return made


def trained(job: Job, golden: Path) -> dict[str, Fingerprint]:
    """Trains the workload's baseline, and from it the whole model quantization-aware, each for a short time."""
    workload = job.experiments[0].workload
    if workload.config.training is None:
        raise SystemExit(f"{workload.path}: has no training")
    config = workload.config.model_copy(
        update={"training": workload.config.training.model_copy(update={"epochs": EPOCHS})}
    )
    workload = replace(workload, config=config)
    opened = OpenWorkload(workload, golden)
    splits = opened.splits
    if (indices := splits.train.indices) is None:
        raise SystemExit(f"{workload.path}: its training split is not a selection")
    # Spread over the whole, since folders keep their classes together.
    few = indices[np.linspace(0, len(indices) - 1, TRAINED_ON).astype(int)]
    vars(splits)["train"] = replace(splits.train, indices=few)
    opened.train_baseline()
    baseline = reference(opened).artifact
    fp32 = baseline.backend.create().load(baseline, torch.get_num_threads())
    made = {f"{workload.name}: fp32": fingerprint_of(opened.weights_path, fp32, splits.test)}
    for experiment in job.experiments:
        recipe = experiment.recipe
        if isinstance(recipe, QatInt8) and recipe.layers is None:
            name = experiment.config.recipe.name
            short = Component.model_validate({"name": name, "epochs": EPOCHS, "lr": recipe.lr, "frozen_epochs": 1})
            changed = replace(
                experiment, workload=workload, config=experiment.config.model_copy(update={"recipe": short})
            )
            fine_tune(opened, changed, backend_of(changed, job.engine), baseline)
            run = Runs(Settings(golden, job.engine)).run(changed)
            vars(run.baseline.opened)["splits"] = opened.splits
            made[f"{workload.name}: QAT"] = fingerprint_of(
                trained_path(opened, changed), run.loaded(torch.get_num_threads()), splits.test
            )
    return made


def fingerprint_of(weights: Path, model: Predictor, test: Split) -> Fingerprint:
    """Fingerprint of trained weights on disk and the model that they make."""
    parts = {key: tensor.numpy().tobytes() for key, tensor in load_file(weights).items()}
    return Fingerprint(sha256_of_file(weights), parts, logits_of(model, test))


def logits_of(model: Predictor, test: Split, batch_size: int = EVALUATION_BATCH) -> NDArray[np.float32]:
    """`[n, classes]`, in the batches of the suite's own evaluation."""
    return np.concatenate([model(inputs)[OUTPUT] for inputs in inputs_of(test, batch_size)])


def compared(first: Fingerprint, second: Fingerprint, noun: str) -> str:
    """Differences of two fingerprints, in a few words."""
    if first.sha256 == second.sha256:
        file = f"same {noun}"
    else:
        changed = sum(first.parts[key] != second.parts[key] for key in first.parts)
        file = f"{noun}: {changed} of {len(first.parts)} keys differ" if changed else f"{noun}: same keys, other bytes"
    if first.logits.tobytes() == second.logits.tobytes():
        return f"{file}, same logits"
    return f"{file}, {apart(first.logits, second.logits)}"


def apart(first: NDArray[np.float32], second: NDArray[np.float32]) -> str:
    """How far two sets of logits `[n, classes]` differ."""
    largest = float(np.abs(first - second).max())
    changed = int((first.argmax(1) != second.argmax(1)).sum())
    return f"logits differ by ≤ {largest:.2g}, {changed} predictions changed"


def in_new_interpreter(job: Job) -> dict[str, Fingerprint]:
    """Not a fork: with hash seed, addresses and caches of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, job).result()


def rows(experiments: tuple[Experiment, ...], engine: str | None, train: bool) -> bool:
    """Prints a row for each experiment of one workload; whether everything was the same again."""
    backwards = tuple(reversed(experiments))
    twice = {
        threads: [in_new_interpreter(Job(order, engine, threads, train)) for order in (experiments, backwards)]
        for threads in THREADS
    }
    noun = "weights" if train else "checkpoint"
    same = f"same {noun}, same logits"
    repeats = True
    for name, made in twice[THREADS[0]][0].items():
        again = [compared(first[name], second[name], noun) for first, second in twice.values()]
        repeats &= all(text == same for text in again)
        between = compared(twice[THREADS[0]][0][name], twice[THREADS[-1]][0][name], noun)
        cells = ["identical" if text == same else text for text in (*again, between)]
        print(f"| {name} | {' | '.join(cells)} | {len(made.logits):,} |", flush=True)
    return repeats


def compare_batches(experiments: list[Experiment], engine: str | None) -> None:
    """Prints a row for each experiment, evaluated in batches of two sizes."""
    runs = Runs(Settings(Path("golden"), engine))
    print(f"| experiment | batches of {EVALUATION_BATCH} against {OTHER_BATCH} | test samples |\n| --- | --- | ---: |")
    for experiment in experiments:
        run = runs.run(experiment)
        test = run.opened.splits.test
        model = run.loaded(torch.get_num_threads())
        small, large = (logits_of(model, test, size) for size in (EVALUATION_BATCH, OTHER_BATCH))
        told = "identical" if small.tobytes() == large.tobytes() else apart(small, large)
        print(f"| {experiment.id} | {told} | {len(test):,} |", flush=True)


def main() -> None:
    """Prints the table; exit status 1 if anything differed at the same number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", action="append", help="id or glob (default: of the embedded workloads)")
    parser.add_argument("--all", action="store_true", help="also the workloads on real data")
    parser.add_argument("--engine", help="quantized engine (default: the processor's)")
    parser.add_argument("--train", action="store_true", help=f"train on {TRAINED_ON:,} samples instead of quantizing")
    parser.add_argument("--batches", action="store_true", help="compare sizes of batches instead")
    asked = parser.parse_args()
    # Threads that spin while they wait slow each other down manyfold on a busy machine; the bits are the same.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    patterns = ["*"] if asked.all else asked.experiment or EMBEDDED
    chosen = [e for e in load_experiments(Path("configs")) if any(fnmatch(e.id, pattern) for pattern in patterns)]
    here = environment()
    print(
        f"{here.processor} ({', '.join(here.isa)}), engine {asked.engine or 'default'}, "
        f"torch {here.versions['torch']}, Python {here.python}\n"
    )
    if asked.batches:
        compare_batches(chosen, asked.engine)
        return
    print("| experiment | 1 thread, twice | 2 threads, twice | 1 against 2 threads | test samples |")
    print("| --- | --- | --- | --- | ---: |", flush=True)
    repeats = True
    for workload in dict.fromkeys(experiment.workload.name for experiment in chosen):
        own = tuple(experiment for experiment in chosen if experiment.workload.name == workload)
        repeats &= rows(own, asked.engine, asked.train)
    raise SystemExit(0 if repeats else 1)


if __name__ == "__main__":
    main()
