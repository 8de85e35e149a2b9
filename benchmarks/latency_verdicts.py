"""How far verdicts on speed can be trusted: `python benchmarks/latency_verdicts.py` (about 40 minutes).

A trial is one verdict of the package on one pair of forwards: is the second as fast as the first, within 2 %? The pair
is `cifar_cnn` with its committed weights against itself (A/A), or against itself with further real work that makes it
slower by 5 % or 10 %. Trials of all kinds take turns, first on the machine as it is, then beside three processes that
compute without a pause.
Beside each verdict stands what pytest-benchmark's `--benchmark-compare-fail=median:2%` and `mean:5%` say of the same
pairs, and of the candidate's times against those of the reference's in the trial before, which is how a stored run is
compared. Trials are appended to a file, so that a killed run continues; tables of a finished file are printed at once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quantbench.backends.checkpoint import read_safetensors
from quantbench.config.schema import LatencyConfig
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.belief import measurement as measurement_of
from quantbench.measure.environment import environment
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.latency import FP32, FP32_AGAIN, INT8, LATENCY_LEVEL, Timings, quiet_process, time_forwards
from quantbench.models.cifar_cnn import CifarCNN
from quantbench.quantities.speed import confirmed
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Measurement, SpeedQuestions, Speedup
from quantbench.stats.verdicts import Verdict, at_least

WEIGHTS = Path("golden/baselines/cifar_cnn_shapes.safetensors")
# A forward of a few milliseconds on one thread.
BATCH = 4
MARGIN = 0.02
SLOWDOWNS = (0.0, 0.05, 0.10)
BUSY_PROCESSES = 3
# As configured by default.
LATENCY = LatencyConfig()
LOOKS = Looks(LATENCY.rounds, LATENCY.looks, LATENCY_LEVEL)
QUESTIONS = SpeedQuestions(bound=1 - MARGIN)
# Of the work that slows a forward down, and of the rounds that measure what it costs.
EXTRA_SIZE, CALIBRATION_ROUNDS, CALIBRATIONS = 48, 400, 3
COMPARISONS = ("median:2%", "mean:5%")


@dataclass(frozen=True)
class Trial:
    """One pair to be timed: how many products of small matrices slow the candidate, and the order's seed."""

    products: int
    seed: int


def forwards(products: int) -> dict[str, Callable[[], object]]:
    """The reference, itself again as the control, and the candidate."""
    model = CifarCNN()
    model.load_state_dict(read_safetensors(WEIGHTS))
    model.eval()
    batch = torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    matrix = torch.eye(EXTRA_SIZE)

    def reference() -> object:
        return model(batch)

    def candidate() -> object:
        logits = model(batch)
        for _ in range(products):
            torch.mm(matrix, matrix)
        return logits

    return {FP32: reference, FP32_AGAIN: reference, INT8: candidate}


def measure(trial: Trial) -> Timings:
    """Times a pair until it is decided, as the suite does."""
    keep_freed_memory()

    def decided(timings: Timings) -> bool:
        return QUESTIONS.answered(Speedup.of(timings.speedup(), LOOKS))

    with quiet_process(LATENCY.threads):
        return time_forwards(forwards(trial.products), LOOKS, LATENCY.budget_s, decided, trial.seed)


def judge(speedup: Speedup) -> Verdict:
    """Is the candidate no slower than the margin allows?"""
    return at_least("speedup", speedup.estimate, speedup.interval, 1 - MARGIN, 0, "", "×")


def measurement(timings: Timings) -> Measurement:
    """What the verdict looks at."""
    return measurement_of(timings, LOOKS, LATENCY.threads)


def run_trial(trial: Trial) -> dict[str, Any]:
    """One verdict, the confirmation of a FAIL included."""
    started = time.perf_counter()
    timings = measure(trial)

    def again() -> Measurement:
        fresh = Trial(trial.products, trial.seed + 1)
        return measurement(in_fresh_process(measure, fresh, died="the fresh process died"))

    verdict, failed_control = confirmed(measurement(timings), judge, again)
    return {
        "outcome": "no verdict" if failed_control else verdict.outcome.value,
        "unconfirmed": judge(measurement(timings).speedup).outcome.value,
        "rounds": timings.rounds,
        "seconds": time.perf_counter() - started,
        "ratio": float(np.median(timings.speedup())),
        "reference": statistics(timings.samples[FP32].wall_s),
        "candidate": statistics(timings.samples[INT8].wall_s),
    }


def statistics(seconds: Any) -> dict[str, float]:
    """The fields that pytest-benchmark compares."""
    return {"median": float(np.median(seconds)), "mean": float(np.mean(seconds))}


def products_for(slowdown: float) -> int:
    """How many small products take that share of a forward: guessed, measured in long runs, and corrected."""
    if not slowdown:
        return 0
    # As in the trials: without it the forward faults its memory in anew, and takes longer.
    keep_freed_memory()
    products = 20
    looks = Looks(CALIBRATION_ROUNDS, 1, LATENCY_LEVEL)
    for _ in range(CALIBRATIONS):
        with quiet_process(LATENCY.threads):
            timings = time_forwards(forwards(products), looks, 120.0, lambda _: True)
        found = 1 / float(np.median(timings.speedup())) - 1
        products = max(round(products * slowdown / found), 1)
    return products


def _compute() -> None:
    matrix = torch.randn(512, 512)
    torch.set_num_threads(1)
    parent = os.getppid()
    # A killed parent would otherwise leave it computing for ever, beside whatever is measured next.
    while os.getppid() == parent:
        matrix = torch.mm(matrix, matrix).clamp(-1, 1)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other processes compute without a pause."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_compute, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        # Until they have imported what they compute with.
        time.sleep(10.0 if processes else 0.0)
        yield
    finally:
        for worker in workers:
            worker.terminate()


def run_all(file: Path, counts: dict[tuple[int, float], int]) -> None:
    """Appends the trials that are not in the file yet.

    Args:
        file: a line of JSON for each trial.
        counts: (busy processes, slowdown) → trials.
    """
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    kinds = [each for each in counts if sum(named_alike(row, *each) for row in done) < counts[each]]
    products = {slowdown: products_for(slowdown) for slowdown in {slowdown for _, slowdown in kinds}}
    with file.open("a", encoding="utf-8") as out:
        for processes in sorted({processes for processes, _ in kinds}):
            here = {slowdown: counts[processes, slowdown] for each, slowdown in kinds if each == processes}
            with busy(processes):
                for i in range(max(here.values())):
                    for slowdown, count in here.items():
                        key = {"busy": processes, "slowdown": slowdown, "i": i}
                        if i >= count or any(key.items() <= row.items() for row in done):
                            continue
                        row = run_trial(Trial(products[slowdown], 1000 * i))
                        print(json.dumps({**key, **row}), file=out, flush=True)


def named_alike(row: dict[str, Any], processes: int, slowdown: float) -> bool:
    """Whether a trial is of that kind."""
    return bool(row["busy"] == processes and row["slowdown"] == slowdown)


def share(hits: int, n: int) -> str:
    """Per cent with Wilson's interval at 95 %."""
    interval = wilson_interval(hits, n)
    return f"{100 * hits / n:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def print_tables(rows: list[dict[str, Any]]) -> None:
    """The shares of verdicts, and what pytest-benchmark says of the same times."""
    from pytest_benchmark.utils import parse_compare_fail

    print("| machine | candidate | n | FAIL | PASS | INCONCLUSIVE | no verdict | FAIL before confirmation | time, s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    groups: dict[tuple[int, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["busy"], row["slowdown"]), []).append(row)
    for key, group in sorted(groups.items()):
        n, outcomes = len(group), [row["outcome"] for row in group]
        shares = [share(outcomes.count("FAIL"), n)] + [
            str(outcomes.count(name)) for name in ("PASS", "INCONCLUSIVE", "no verdict")
        ]
        unconfirmed = sum(row["unconfirmed"] == "FAIL" for row in group)
        seconds = [row["seconds"] for row in group]
        timing = f"{np.median(seconds):.1f}, at most {max(seconds):.1f}"
        print(f"| {named(*key)} | {n} | {' | '.join(shares)} | {unconfirmed} | {timing} |")
    print("\n| machine | candidate | measured slowdown |", *(f"same pairs, {c} |" for c in COMPARISONS), end="")
    print("", *(f"stored run, {c} |" for c in COMPARISONS))
    print("| --- | --- |" + " ---: |" * (1 + 2 * len(COMPARISONS)))
    for key, group in sorted(groups.items()):
        ratios = [1 / row["ratio"] - 1 for row in group]
        found = [f"{100 * float(np.median(ratios)):.1f} %"]
        for pairs in (zip(group, group, strict=True), zip(group[1:], group[:-1], strict=True)):
            kept = list(pairs)
            for comparison in COMPARISONS:
                check = parse_compare_fail(comparison)  # type: ignore[no-untyped-call]
                failed = sum(bool(check.fails(now["candidate"], before["reference"])) for now, before in kept)
                found.append(share(failed, len(kept)))
        print(f"| {named(*key)} | {' | '.join(found)} |")


def named(processes: int, slowdown: float) -> str:
    """The first two cells of a row."""
    machine = f"{processes} busy processes" if processes else "quiet"
    return f"{machine} | {f'{100 * slowdown:g} % slower' if slowdown else 'the same (A/A)'}"


def main() -> None:
    """Runs what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=Path, default=Path("out/latency_verdicts.jsonl"), help="file of trials")
    parser.add_argument("--n", type=int, default=100, help="trials of each kind on a quiet machine")
    parser.add_argument("--n-busy", type=int, default=100, help="A/A trials on a busy machine")
    parser.add_argument("--n-busy-slower", type=int, default=20, help="trials of each slowdown on a busy machine")
    options = parser.parse_args()
    options.trials.parent.mkdir(parents=True, exist_ok=True)
    counts = {(0, slowdown): options.n for slowdown in SLOWDOWNS}
    counts |= {(BUSY_PROCESSES, each): options.n_busy_slower if each else options.n_busy for each in SLOWDOWNS}
    run_all(options.trials, counts)
    here = environment()
    print(
        f"{here.processor} ({', '.join(here.isa)}), {here.cores} cores, torch {here.versions['torch']}, "
        f"Python {here.python}; margin {100 * MARGIN:g} %, {LOOKS.count} looks from {LOOKS.first} rounds on at "
        f"{100 * LATENCY_LEVEL:g} %, at most {LATENCY.budget_s:g} s a measurement\n"
    )
    print_tables([json.loads(line) for line in options.trials.read_text().splitlines()])


if __name__ == "__main__":
    main()
