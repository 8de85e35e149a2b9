"""Long series of interleaved forwards beside busy processes: `python benchmarks/latency_series.py` (about 1 hour).

Each cell is a model, a number of threads, and some busy processes of one kind. All forms of a model take turns, in a
random order, for a while: fp32 twice, itself with further real work that makes it slower by 5 and 10 %, itself with a
sleep of 5 %, int8, and what the control of unequal lengths needs. `benchmarks/latency_verdicts.py` replays verdicts
from the series. A finished cell is a file; a killed run goes on with the next.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.backends.interface import Predictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.clocks import after_forward, before_forward
from quantbench.measure.latency import quiet_process
from quantbench.measure.load import Load, moment

SERIES = Path("out/latency_series")
# Workload's int8 experiment → samples of one forward, which takes a few milliseconds.
MODELS = {
    "cifar_cnn_shapes/ptq_static_int8_per_channel": 4,
    "resnet20_shapes/ptq_static_int8": 1,
    "m5_spoken_words/ptq_static_full_range": 4,
}
KINDS = ("arithmetic", "memory", "bursts")
PROCESSES = (1, 2, 3, 6)
THREADS = (1, 2)
SLOWER = {"slower_5": 0.05, "slower_10": 0.10}
SLEEPS = 0.05
FORMS = ("fp32", "fp32_again", "same", *SLOWER, "sleeps", "int8", "fp32_twice", "int8_repeated")
EXTRA_SIZE, CALIBRATION_ROUNDS, MANY_PRODUCTS = 48, 200, 200
WARMUP_ROUNDS = 12
STARTING_S = 6.0


@dataclass(frozen=True)
class Cell:
    """A model beside other processes.

    Attributes:
        model: id of its int8 experiment.
        threads: intra-operator.
        kind: of work of the others; `quiet` where there are none.
        processes: of the others.
    """

    model: str
    threads: int
    kind: str
    processes: int

    @property
    def path(self) -> Path:
        """Of its file."""
        return SERIES / f"{self.model.partition('/')[0]}-{self.threads}-{self.kind}-{self.processes}.npz"


def cells() -> list[Cell]:
    """Quiet ones first, which tell the true ratios; those of one thread before the others."""
    loads = [("quiet", 0), *((kind, n) for n in (3, 1, 2, 6) for kind in KINDS)]
    return [Cell(model, threads, *load) for threads in THREADS for load in loads for model in MODELS]


def arithmetic(parent: int) -> None:
    """Multiplies matrices without a pause."""
    matrix = torch.randn(512, 512)
    while os.getppid() == parent:
        matrix = torch.mm(matrix, matrix).clamp(-1, 1)


def memory(parent: int) -> None:
    """Copies blocks that no cache holds."""
    blocks = np.zeros(64 << 20, np.uint8), np.zeros(64 << 20, np.uint8)
    while os.getppid() == parent:
        np.copyto(*blocks)


def bursts(parent: int) -> None:
    """Computes for some milliseconds, then sleeps for some."""
    chance, matrix = random.Random(os.getpid()), torch.randn(128, 128)
    while os.getppid() == parent:
        ends = time.perf_counter() + chance.uniform(0.001, 0.02)
        while time.perf_counter() < ends:
            torch.mm(matrix, matrix)
        time.sleep(chance.uniform(0.001, 0.02))


def _work(kind: str, parent: int) -> None:
    torch.set_num_threads(1)
    {"arithmetic": arithmetic, "memory": memory, "bursts": bursts}[kind](parent)


@contextmanager
def busy(kind: str, processes: int) -> Iterator[None]:
    """Other processes work meanwhile."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(kind, os.getpid()), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        # Until they have imported what they compute with.
        time.sleep(STARTING_S if processes else 0.0)
        yield
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


class Forwards:
    """The forms of one model with a number of threads.

    Args:
        runs: that make its artifacts.
        model: id of its int8 experiment.
        threads: intra-operator.
    """

    def __init__(self, runs: Runs, model: str, threads: int) -> None:
        run = runs.run(select(load_experiments(Path("configs")), model)[0])
        inputs = {name: array[: MODELS[model]].copy() for name, array in run.baseline.latency_inputs.items()}
        self._fp32, self._int8 = (_bound(load(threads), inputs) for load in (run.baseline.loaded, run.loaded))
        self._matrix = torch.eye(EXTRA_SIZE)
        self.threads = threads
        # The same work in every cell of a model, whose true ratios the quiet cell tells.
        path = SERIES / f"{model.partition('/')[0]}-{threads}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self._calibrated()))
        work = json.loads(path.read_text())
        self.products, self.sleep_s, self.repeats = work["products"], work["sleep_s"], work["repeats"]

    def _calibrated(self) -> dict[str, Any]:
        """Work beside a forward, found on a quiet machine."""
        with quiet_process(self.threads):
            fp32_s, int8_s = (_median_s(each) for each in (self._fp32, self._int8))
            products = {name: self._products(share, fp32_s) for name, share in SLOWER.items()}
        return {"products": products, "sleep_s": SLEEPS * fp32_s, "repeats": min(max(round(fp32_s / int8_s), 2), 8)}

    def all(self) -> dict[str, Callable[[], object]]:
        """Form → forward."""
        fp32, int8 = self._fp32, self._int8

        def sleeps() -> None:
            fp32()
            time.sleep(self.sleep_s)

        def repeated(forward: Callable[[], object], times: int) -> Callable[[], object]:
            return lambda: [forward() for _ in range(times)]

        slower = {name: self._slower(count) for name, count in self.products.items()}
        return {
            "fp32": fp32, "fp32_again": fp32, "same": fp32, **slower, "sleeps": sleeps, "int8": int8,
            "fp32_twice": repeated(fp32, 2), "int8_repeated": repeated(int8, self.repeats),
        }  # fmt: skip

    def _slower(self, products: int) -> Callable[[], object]:
        fp32, matrix = self._fp32, self._matrix

        def slower() -> None:
            fp32()
            for _ in range(products):
                torch.mm(matrix, matrix)

        return slower

    def _products(self, share: float, fp32_s: float) -> int:
        """How many small products take that share of a forward, by the time of many of them."""
        with_many, alone = self._slower(MANY_PRODUCTS), []
        for _ in range(CALIBRATION_ROUNDS):
            alone.append((_seconds(with_many) - _seconds(self._fp32)) / MANY_PRODUCTS)
        return max(round(share * fp32_s / float(np.median(alone))), 1)


def _bound(predictor: Predictor, inputs: dict[str, Any]) -> Callable[[], object]:
    ready = predictor.prepared(inputs)
    return lambda: predictor(ready)


def _median_s(forward: Callable[[], object]) -> float:
    return float(np.median([_seconds(forward) for _ in range(CALIBRATION_ROUNDS)]))


def _seconds(forward: Callable[[], object]) -> float:
    started = time.perf_counter()
    forward()
    return time.perf_counter() - started


def recorded(forwards: Forwards, seconds: float, seed: int) -> tuple[NDArray[np.float64], Load]:
    """Readings of each form and round, `[forms, rounds, 7]`, and the load meanwhile."""
    forms, chance = forwards.all(), random.Random(seed)
    readings: dict[str, list[tuple[float, ...]]] = {name: [] for name in FORMS}
    with quiet_process(forwards.threads):
        began, ends, done = moment(), float("inf"), -WARMUP_ROUNDS
        while time.perf_counter() < ends:
            order = list(FORMS)
            chance.shuffle(order)
            for name in order:
                before = before_forward()
                forms[name]()
                readings[name].append(astuple(after_forward().since(before)))
            done += 1
            if done == 0:
                began, ends = moment(), time.perf_counter() + seconds
        load = Load.between(began, moment())
    return np.array([readings[name][WARMUP_ROUNDS:] for name in FORMS]), load


def record(cell: Cell, forwards: Forwards, seconds: float) -> None:
    """Writes the cell's file."""
    with busy(cell.kind, cell.processes):
        readings, load = recorded(forwards, seconds, seed=cell.processes)
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    facts = {**asdict(cell), "load": asdict(load), "repeats": forwards.repeats, "sleep_s": forwards.sleep_s}
    temporary = cell.path.with_suffix(".part.npz")
    np.savez(temporary, readings=readings, facts=np.array(json.dumps(facts)))
    temporary.replace(cell.path)


def main() -> None:
    """Records what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45.0, help="of each cell")
    parser.add_argument("--most", type=int, default=1_000_000, help="cells to record now")
    parser.add_argument("--threads", type=int, choices=THREADS, help="only cells of so many")
    options = parser.parse_args()
    keep_freed_memory()
    wanted = [cell for cell in cells() if options.threads in (None, cell.threads)]
    missing = [cell for cell in wanted if not cell.path.is_file()][: options.most]
    runs, known = Runs(Settings(Path("golden"))), dict[tuple[str, int], Forwards]()
    for cell in missing:
        key = cell.model, cell.threads
        if key not in known:
            known[key] = Forwards(runs, *key)
        record(cell, known[key], options.seconds)
        print(cell.path, flush=True)


if __name__ == "__main__":
    main()
