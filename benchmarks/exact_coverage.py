"""Where the interval of an accuracy drop can and cannot keep 94 to 97 % coverage: enumerated, not simulated.

Run `python benchmarks/exact_coverage.py`; it prints two Markdown tables in under a minute.
"""

from __future__ import annotations

from math import inf

import numpy as np
from paired_tables import SAMPLE_COUNTS, Floats, Scenario, all_tables, print_table
from published_intervals import METHODS
from scipy.stats import binom

LOWEST, HIGHEST = 0.94, 0.97
FLIP_RATES = tuple(round(rate, 6) for rate in np.geomspace(0.002, 0.05, 15).tolist())
NAMED_RATES = (0.002, 0.005, 0.01, 0.02, 0.05)
# The true drop as a share of the flips: as many gained as lost, three lost for each gained, only lost.
DROP_SHARES = (0.0, 0.5, 1.0)
BANDS = ((1.0, 2.0), (2.0, 5.0), (5.0, 10.0), (10.0, 20.0), (20.0, 50.0), (50.0, inf))


def coverage(scenario: Scenario, method: str) -> float:
    """Probability that the method's interval holds the true drop."""
    tables, probabilities = all_tables(scenario)
    return float(probabilities @ METHODS[method](scenario.n, tables, scenario.drop))


def possible_coverages(scenario: Scenario) -> Floats | None:
    """Ranges in which the coverage of every orderly interval lies, shape (ranges, 2), or None where unexamined.

    Orderly: an interval that lies wholly above a drop still does with one more lost or one fewer gained, and swapping
    lost and gained mirrors it. Then the tables whose intervals lie above the true drop are bounded by a staircase.
    """
    n, (p_lost, p_gained, _) = scenario.n, scenario.probabilities
    most = int(binom.isf(1e-12, n, p_lost)) + 1
    lost = np.arange(most + 1)
    if p_gained == 0.0:
        # Only the lost vary, so the tables that hold the drop are those from some count to another.
        at_most = binom.cdf(lost, n, p_lost)
        from_to = at_most[None, :] - np.concatenate([[0.0], at_most[:-1]])[:, None]
        values = from_to[np.triu_indices(most + 1)]
        return np.stack([values, values], axis=1)
    if scenario.drop > 0.0:
        return None
    weights = binom.pmf(lost, n, p_lost)
    # If k losses and no gain are the fewest that reject, at least all tables beyond on that row reject, and at most all
    # with as many losses that have fewer gains than losses; the mirrored tables do the same.
    fewest = weights * binom.pmf(0, n - lost, p_gained / (1.0 - p_lost))
    largest = weights * binom.cdf(lost - 1, n - lost, p_gained / (1.0 - p_lost))
    tail_fewest, tail_largest = (part[::-1].cumsum()[::-1] for part in (fewest, largest))
    return np.stack([1.0 - 2.0 * tail_largest[1:], 1.0 - 2.0 * tail_fewest[1:]], axis=1)


def is_ruled_out(scenario: Scenario) -> bool:
    """Whether no orderly interval has a coverage within the target here."""
    ranges = possible_coverages(scenario)
    return ranges is not None and not np.any((ranges[:, 0] <= HIGHEST) & (ranges[:, 1] >= LOWEST))


def nearest_possible(scenario: Scenario) -> str:
    """What is known of the coverages that any orderly interval can have."""
    ranges = possible_coverages(scenario)
    if ranges is None:
        return "not examined"
    if not is_ruled_out(scenario):
        return "not ruled out"
    below, above = ranges[ranges[:, 1] < LOWEST, 1].max(), ranges[ranges[:, 0] > HIGHEST, 0].min(initial=1.0)
    return f"≤ {100.0 * below:.1f} or ≥ {100.0 * above:.1f}"


def band_row(low: float, high: float, scenarios: list[Scenario]) -> list[str]:
    """One row of the first table: every scenario with an expected number of flips in [low, high)."""
    inside = [scenario for scenario in scenarios if low <= scenario.expected_flips < high]
    name = f"{low:g} and more" if high == inf else f"{low:g} to {high:g}"
    row = [name, str(len(inside)), str(sum(is_ruled_out(scenario) for scenario in inside))]
    for method in METHODS:
        values = np.array([coverage(scenario, method) for scenario in inside])
        met = np.mean((values >= LOWEST) & (values <= HIGHEST))
        row.append(f"{100.0 * met:.0f} ({100.0 * values.min():.1f} to {100.0 * values.max():.1f})")
    return row


def missed_row(scenario: Scenario, covered: float) -> list[str]:
    """One row of the second table."""
    others = [name for name in METHODS if name != "Tango" and LOWEST <= coverage(scenario, name) <= HIGHEST]
    first = [*scenario.columns, f"{scenario.expected_flips:g}", f"{100.0 * covered:.2f}"]
    return [*first, nearest_possible(scenario), ", ".join(others) or "none"]


def grid(rates: tuple[float, ...]) -> list[Scenario]:
    """Every sample count, rate and share of the drop."""
    return [Scenario(n, rate, share * rate) for share in DROP_SHARES for rate in rates for n in SAMPLE_COUNTS]


def main() -> None:
    """Prints both tables."""
    scenarios = grid(FLIP_RATES)
    target = f"{100.0 * LOWEST:g} to {100.0 * HIGHEST:g} %"
    print(
        f"Percent of the scenarios with a coverage of {target}, and the lowest and highest coverage, in percent. "
        f"{len(scenarios)} scenarios: n = 500, 2,000, 10,000, {len(FLIP_RATES)} flip rates from 0.2 to 5 %, true drops "
        "of 0, half and all of the flips. Ruled out: where no orderly interval can meet the target.\n"
    )
    print_table(["expected flips", "scenarios", "ruled out", *METHODS], [band_row(*band, scenarios) for band in BANDS])
    named = grid(NAMED_RATES)
    missed = [
        (scenario, covered) for scenario in named if not LOWEST <= (covered := coverage(scenario, "Tango")) <= HIGHEST
    ]
    print(f"\nThe {len(missed)} of {len(named)} scenarios at the flip rates 0.2, 0.5, 1, 2 and 5 % that miss it.\n")
    columns = ["drop (pp)", "flips (%)", "n", "expected flips", "Tango", "possible for any", "met by"]
    print_table(columns, [missed_row(*each) for each in missed])


if __name__ == "__main__":
    main()
