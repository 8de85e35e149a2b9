"""How intervals of speed-ups change without the bootstrap: `python benchmarks/speed_intervals.py [RECORDS]` (a minute).

Computes every interval of recorded times twice: distribution-free, as the package has it, and widened to the percentile
bootstrap, as it was before. Prints how many limits differ, by how much, and how many verdicts would be others.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from median_bootstrap import median_ratio_interval
from numpy.typing import NDArray

from quantbench.records.run import Latency, RunRecord
from quantbench.report.documents import read_records
from quantbench.stats.intervals import Interval
from quantbench.stats.ratios import order_statistic_interval
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Speedup

RECORDS = Path(__file__).parents[1] / "docs" / "results" / "records.json"
# In the words of a requirement, such as "at least 1.50×".
BOUND = re.compile(r"\d+\.?\d*")
SPEEDUP, FASTEST, CONTROL = "speed-up", "speed-up over the fastest fp32", "control"


@dataclass(frozen=True)
class Both:
    """One interval computed in both ways.

    Attributes:
        estimate: the median ratio.
        alone: distribution-free.
        union: widened to the bootstrap's.
    """

    estimate: float
    alone: Interval
    union: Interval

    @property
    def moved(self) -> float:
        """The larger change of a limit, as a share of the estimate."""
        return max(self.alone.low - self.union.low, self.union.high - self.alone.high) / self.estimate

    @property
    def narrower(self) -> float:
        """Share of the width that is gone."""
        width = self.union.high - self.union.low
        return 1 - (self.alone.high - self.alone.low) / width if width else 0.0


def ratios_of(latency: Latency) -> dict[str, NDArray[np.float64]]:
    """The paired ratios behind each interval of a record, `[rounds]`."""
    fp32, int8 = np.array(latency.fp32_s), np.array(latency.int8_s)
    return {
        SPEEDUP: fp32 / int8,
        FASTEST: np.array(latency.fp32_fastest_s) / int8,
        CONTROL: fp32 / np.array(latency.fp32_again_s),
    }


def both(ratios: NDArray[np.float64], looks: Looks) -> Both:
    """The interval of paired ratios in both ways."""
    alone, resampled = (make(ratios, looks.level_of_each) for make in (order_statistic_interval, median_ratio_interval))
    union = Interval(min(alone.low, resampled.low), max(alone.high, resampled.high), looks.level)
    return Both(float(np.median(ratios)), Interval(alone.low, alone.high, looks.level), union)


def outcome(found: Interval, bound: float) -> str:
    """PASS, FAIL or INCONCLUSIVE of a bound that a speed-up must reach."""
    if found.low >= bound:
        return "PASS"
    return "FAIL" if found.high < bound else "INCONCLUSIVE"


def changed_verdicts(record: RunRecord, found: dict[str, Both]) -> list[str]:
    """Verdicts of a record that the narrower interval changes."""
    speedup, control = found[SPEEDUP], found[CONTROL]
    changed = []
    for verdict in record.verdicts:
        if verdict.quantity == "speedup" and (bound := BOUND.search(verdict.requirement)):
            before, after = (outcome(each, float(bound[0])) for each in (speedup.union, speedup.alone))
            changed += [f"{record.experiment}: speedup {before} → {after}"] if before != after else []
    old, new = [Speedup(control.estimate, each).deviates for each in (control.union, control.alone)]
    changed += [f"{record.experiment}: control strays {old} → {new}"] if old != new else []
    return changed


def main() -> None:
    """Prints the table and the changed verdicts."""
    records = [each for each in read_records([Path(sys.argv[1]) if sys.argv[1:] else RECORDS]) if each.latency]
    rows: dict[str, list[Both]] = {SPEEDUP: [], FASTEST: [], CONTROL: []}
    changed: list[str] = []
    for record in records:
        latency = record.latency
        if latency is None:
            continue
        looks = Looks(latency.rounds, latency.planned_looks, latency.level)
        found = {name: both(ratios, looks) for name, ratios in ratios_of(latency).items()}
        for name, each in found.items():
            rows[name].append(each)
        changed += changed_verdicts(record, found)
    print("| interval | n | changed | limit moves by, % of the median | narrower by, % of the width |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, all_of_them in rows.items():
        other = [each for each in all_of_them if each.moved > 0]
        moved, narrower = ([100 * getattr(each, key) for each in other] or [0.0] for key in ("moved", "narrower"))
        print(
            f"| {name} | {len(all_of_them)} | {len(other)} | {np.median(moved):.2f}, at most {max(moved):.2f} | "
            f"{np.median(narrower):.1f}, at most {max(narrower):.1f} |"
        )
    print(f"\n{len(changed)} verdict(s) change", *changed, sep="\n")


if __name__ == "__main__":
    main()
