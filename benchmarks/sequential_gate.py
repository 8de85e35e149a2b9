"""Verdicts before the last sample: `python benchmarks/sequential_gate.py --into docs/sequential.md` (4 minutes).

Test sets are drawn whose true drop is known, and sets whose outcomes were recorded are put into random order. Each is
looked at a two-hundredth at a time, as a gate does, until its bets decide; what they leave open is judged by Tango's
interval of all samples, at the level that is left. Beside it stands Tango's 95 % interval, looked at after each chunk.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import QuantbenchError
from quantbench.files import write_text
from quantbench.golden.results import RESULTS
from quantbench.report.documents import with_sections
from quantbench.stats.early_verdict import SHARE_OF_LOOKS, level_of_last, risk_of_looks
from quantbench.stats.intervals import two_sided_z
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.sampled_mean import MeanBets, chunk_of

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
LEVEL, N, BATCH = 0.95, 50_000, 64
CHANGES = np.array([1.0, -1.0, 0.0])
BOUNDS, FLIPS, DROPS = (0.01, 0.005), (0.005, 0.01, 0.02), (0.0, 0.25, 0.5, 1.0, 2.0)
PASS, FAIL, OPEN = 1, 2, 0
SECTION = "sequential-gate"
REFERENCE, WORKLOADS = "fp32_baseline", ("cifar_cnn_shapes", "resnet20_shapes", "vgg16_shapes", "m5_spoken_words")
# Of the outcomes of one workload those whose drop is nearest to these, percentage points.
SHOWN_DROPS = (0.0, 0.25, 0.6, 1.1, 2.0)


def excludes(n: int, lost: Floats, gained: Floats, bound: float, level: float) -> tuple[Floats, Floats]:
    """Tango's interval of many tables lies below the bound, and above it; as `tango_interval`, without finding limits.

    Args:
        n: samples.
        lost: `[k]`.
        gained: `[k]`.
        bound: on the drop, a fraction.
        level: of the interval.
    """
    found = []
    for losses, gains, limit in ((lost, gained, bound), (gained, lost, -bound)):
        b = -losses - gains + (2.0 * n - losses + gains) * limit
        c = -gains * limit * (1.0 - limit)
        root = np.sqrt(np.maximum(b * b - 8.0 * n * c, 0.0))
        share = np.where(b > 0, -2.0 * c / np.where(b > 0, b + root, 1.0), (root - b) / (4.0 * n))
        variance = np.maximum(2.0 * share + limit * (1.0 - limit), 0.0)
        distance = limit - (losses - gains) / n
        found.append((distance > 0) & (n * distance >= two_sided_z(level) * np.sqrt(n * variance)))
    return found[0], found[1]


def check_excludes() -> None:
    """Refuses to go on where that differs from the interval that the package tells.

    Raises:
        QuantbenchError: naming the table.
    """
    random = np.random.default_rng(0)
    for lost, gained in random.integers(0, 60, (200, 2)):
        n, bound = 2_000, 0.01
        interval = tango_interval(PairedOutcomes(n, int(lost), int(gained)), LEVEL)
        found = excludes(n, np.array([float(lost)]), np.array([float(gained)]), bound, LEVEL)
        if (bool(found[0][0]), bool(found[1][0])) != (interval.high <= bound, interval.low >= bound):
            raise QuantbenchError(f"{lost} lost and {gained} gained of {n}: not Tango's {interval}")


@dataclass(frozen=True)
class Found:
    """Verdicts of many sets.

    Attributes:
        verdicts: `[k]`, PASS, FAIL or OPEN, of looks and of the last interval.
        used: `[k]`, samples.
        naive: `[k]`, verdicts of looking at Tango's interval after each chunk.
    """

    verdicts: Counts
    used: Counts
    naive: Counts


def judged(chunks: Iterator[Floats], total: int, bound: float, trials: int) -> Found:
    """Looks at sets chunk by chunk.

    Args:
        chunks: lost, gained and same samples of each set in one more chunk, `[trials, 3]`.
        total: samples of a set.
        bound: on the drop, a fraction.
        trials: number of sets.
    """
    bets = MeanBets(np.full(trials, bound), total, (-1.0, 1.0), abs(bound))
    needed, seen = np.log(1 / risk_of_looks(LEVEL)), np.zeros((trials, 3))
    verdicts, naive = np.zeros(trials, np.int64), np.zeros(trials, np.int64)
    used = np.full(trials, total)
    for counts in chunks:
        bets.add(CHANGES, counts)
        seen += counts
        n = bets.seen
        for verdict, wealth in ((PASS, bets.below), (FAIL, bets.above)):
            new = (verdicts == OPEN) & (wealth >= needed)
            verdicts[new], used[new] = verdict, n
        for verdict, sure in zip((PASS, FAIL), excludes(n, seen[:, 0], seen[:, 1], bound, LEVEL), strict=True):
            naive[(naive == OPEN) & sure] = verdict
    last = excludes(total, seen[:, 0], seen[:, 1], bound, level_of_last(LEVEL))
    for verdict, sure in zip((PASS, FAIL), last, strict=True):
        verdicts[(verdicts == OPEN) & sure] = verdict
    return Found(verdicts, used, naive)


def simulated(random: np.random.Generator, flips: float, drop: float, trials: int) -> Iterator[Floats]:
    """Chunks of sets of a population, drawn anew for each set."""
    chunk = chunk_of(N, BATCH)
    shares = [(flips + drop) / 2, (flips - drop) / 2, 1 - flips]
    for start in range(0, N, chunk):
        yield random.multinomial(min(chunk, N - start), shares, trials).astype(np.float64)


def reordered(random: np.random.Generator, lost: int, gained: int, n: int, trials: int) -> Iterator[Floats]:
    """Chunks of one set in many random orders."""
    chunk, left = chunk_of(n, BATCH), np.tile(np.array([lost, gained, n - lost - gained]), (trials, 1))
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        first = random.hypergeometric(left[:, 0], left[:, 1] + left[:, 2], size)
        second = random.hypergeometric(left[:, 1], left[:, 2], size - first)
        drawn = np.stack([first, second, size - first - second], axis=1)
        left = left - drawn
        yield drawn.astype(np.float64)


def simulation(trials: int) -> list[str]:
    """Rows of sets with a known true drop."""
    rows = [
        "| bound, pp | flips | true drop, pp | used, median | used, 90 % | PASS | FAIL | INCONCLUSIVE | wrong [95 %] | "
        "wrong, Tango again and again |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for bound in BOUNDS:
        for flips in FLIPS:
            for multiple in DROPS:
                drop = multiple * bound
                if drop <= flips:
                    random = np.random.default_rng([int(1e5 * bound), int(1e5 * flips), int(100 * multiple)])
                    found = judged(simulated(random, flips, drop, trials), N, bound, trials)
                    head = f"| {100 * bound:g} | {100 * flips:g} % | {100 * drop:g} |"
                    rows.append(f"{head} {_cells(found, N, drop, bound)}")
    return rows


def recorded(golden: Path, trials: int) -> list[str]:
    """Rows of sets whose outcomes were recorded, each in many random orders.

    Raises:
        QuantbenchError: if a result is absent.
    """
    rows = [
        "| experiment | n | lost | gained | drop, pp | used, median | PASS | FAIL | INCONCLUSIVE | of all samples | "
        "wrong [95 %] | wrong, Tango again and again |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for workload in WORKLOADS:
        for name, outcomes in chosen(golden, workload):
            random = np.random.default_rng([outcomes.n, outcomes.lost, outcomes.gained])
            chunks = reordered(random, outcomes.lost, outcomes.gained, outcomes.n, trials)
            found, bound = judged(chunks, outcomes.n, BOUNDS[0], trials), BOUNDS[0]
            interval = tango_interval(outcomes, level_of_last(LEVEL))
            last = "PASS" if interval.high <= bound else "FAIL" if interval.low > bound else "INCONCLUSIVE"
            shares, wrong = _shares(found), _wrong(found, outcomes.drop, bound)
            head = f"| {workload}/{name} | {outcomes.n:,} | {outcomes.lost} | {outcomes.gained} | "
            used = f"{100 * outcomes.drop:.2f} | {100 * np.median(found.used) / outcomes.n:.1f} %"
            rows.append(f"{head}{used} | {shares} | {last} | {wrong}")
    return rows


def chosen(golden: Path, workload: str) -> list[tuple[str, PairedOutcomes]]:
    """Experiments of a workload with its recorded outcomes, one near each of the drops that are shown."""
    reference = RESULTS.read(golden, f"{workload}/{REFERENCE}")
    if reference is None:
        raise QuantbenchError(f"{golden}: no result of {workload}/{REFERENCE} was accepted")
    found = {}
    for path in sorted((golden / "results" / workload).glob("*.json")):
        result = RESULTS.read(golden, f"{workload}/{path.stem}")
        if result is not None and path.stem != REFERENCE and result.inputs.test == reference.inputs.test:
            found[path.stem] = PairedOutcomes.from_correct(reference.bits, result.bits)
    names = [min(found, key=lambda name: abs(100 * found[name].drop - drop)) for drop in SHOWN_DROPS]
    return [(name, found[name]) for name in dict.fromkeys(names)]


def _cells(found: Found, total: int, drop: float, bound: float) -> str:
    used = " | ".join(f"{100 * np.quantile(found.used, q) / total:.1f} %" for q in (0.5, 0.9))
    return f"{used} | {_shares(found)} | {_wrong(found, drop, bound)}"


def _shares(found: Found) -> str:
    return " | ".join(f"{100 * (found.verdicts == each).mean():.1f} %" for each in (PASS, FAIL, OPEN))


def _wrong(found: Found, drop: float, bound: float) -> str:
    """Shares of wrong verdicts; at the bound itself of either, each of which is one."""
    false = [FAIL] if drop < bound else [PASS] if drop > bound else [PASS, FAIL]
    count, n = int(np.isin(found.verdicts, false).sum()), len(found.verdicts)
    interval = wilson_interval(count, n)
    share = f"{100 * count / n:.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    return f"{share} | {100 * np.isin(found.naive, false).mean():.2f} % |"


def section(golden: Path, trials: int, recorded_trials: int, command: str) -> str:
    """Both tables."""
    note = (
        f"Written by `{command}`: {trials:,} sets of {N:,} samples in each row, looked at {chunk_of(N, BATCH)} at a "
        f"time; Python {platform.python_version()}, numpy {np.__version__}. The looks spend {100 * SHARE_OF_LOOKS:g} % "
        f"of the error of a 95 % interval, which leaves {100 * level_of_last(LEVEL):g} % to the last one. *Wrong* at "
        "the bound itself is any verdict, PASS or FAIL, of which 5 % are allowed; elsewhere it is the false one, of "
        "which 2.5 % are. *Tango again and again* stops at the first chunk after which the 95 % interval decides."
    )
    second = (
        f"Outcomes that were recorded (`golden/results/`), each set in {recorded_trials:,} random orders, bound "
        f"{100 * BOUNDS[0]:g} pp. *Of all samples* is the verdict of the last interval. *Wrong* is held to the drop of "
        "the whole set."
    )
    return "\n".join([note, "", *simulation(trials), "", second, "", *recorded(golden, recorded_trials)])


def main() -> int:
    """Prints the tables, or writes them into a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="sets of each row (default: 10,000)")
    parser.add_argument("--orders", type=int, default=10_000, help="random orders of each recorded set")
    parser.add_argument("--golden", type=Path, default=Path("golden"))
    parser.add_argument("--into", type=Path, help="the document")
    given = parser.parse_args()
    try:
        check_excludes()
        command = shlex.join(["python", "benchmarks/sequential_gate.py", *sys.argv[1:]])
        text = section(given.golden, given.trials, given.orders, command)
        if given.into:
            write_text(given.into, with_sections(given.into, (SECTION,), lambda *_: text, "tables"))
        else:
            print(text)
    except QuantbenchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
