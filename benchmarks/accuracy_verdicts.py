"""How often an accuracy gate of 1 pp passes, fails or stays undecided, and how often a run of many fails by chance.

Run `python benchmarks/accuracy_verdicts.py`; it prints two Markdown tables in about a minute. The verdicts are those
of the package, for a gate that is alone in its run and for one of 40. Beside them: a gate on the point estimate, which
fails when more samples are lost than the bound allows and passes otherwise.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from paired_tables import (
    SAMPLE_COUNTS,
    Counts,
    Floats,
    Scenario,
    all_tables,
    percent_of_trials,
    print_table,
    simulated_tables,
)

from quantbench.stats.intervals import Interval
from quantbench.stats.multiplicity import Family
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.verdicts import Outcome, at_most

BOUND = 0.01
TRUE_DROPS = (0.0, 0.5 * BOUND, BOUND, 2.0 * BOUND)
FLIP_RATES = (0.01, 0.02, 0.05)
LEVEL = 0.95
GATES = 40
TRIALS = 20_000
SEED = 0

FAMILY = Family(GATES)


def scenarios() -> list[Scenario]:
    """Every combination in which the drop does not exceed the share of samples that change."""
    return [
        Scenario(n, flip_rate, drop)
        for drop in TRUE_DROPS
        for flip_rate in FLIP_RATES
        for n in SAMPLE_COUNTS
        if drop <= flip_rate
    ]


def verdict(outcomes: PairedOutcomes, strict: Interval | None) -> Outcome:
    """What the package says of a drop that may be at most the bound."""
    interval = tango_interval(outcomes, LEVEL)
    return at_most("accuracy_drop", outcomes.drop, interval, BOUND, outcomes.n, "", "", strict).outcome


def verdicts(n: int, tables: Counts) -> dict[str, list[Outcome]]:
    """Each table's verdict by the point estimate, by a gate that is alone, and by one of many."""
    judged: dict[str, list[Outcome]] = {"point": [], "alone": [], "of many": []}
    for lost, gained in tables.tolist():
        outcomes = PairedOutcomes(n, lost, gained)
        # In whole samples, as the drop in floating point could miss the bound by rounding.
        too_many = lost - gained > round(BOUND * n)
        judged["point"].append(Outcome.FAIL if too_many else Outcome.PASS)
        judged["alone"].append(verdict(outcomes, None))
        judged["of many"].append(verdict(outcomes, tango_interval(outcomes, FAMILY.level(LEVEL))))
    return judged


def share(judged: list[Outcome], outcome: Outcome, weights: Floats) -> float:
    """The part of `weights` that belongs to tables with this outcome."""
    return float(weights @ np.array([each is outcome for each in judged]))


def verdict_row(scenario: Scenario, rng: np.random.Generator) -> list[str]:
    """One row of the first table."""
    tables, shares = simulated_tables(scenario, TRIALS, rng)
    judged = verdicts(scenario.n, tables)
    wanted = [
        ("point", Outcome.FAIL),
        ("alone", Outcome.PASS),
        ("alone", Outcome.FAIL),
        ("alone", Outcome.INCONCLUSIVE),
        ("of many", Outcome.FAIL),
        ("of many", Outcome.INCONCLUSIVE),
    ]
    return [*scenario.columns, *(percent_of_trials(share(judged[by], what, shares), TRIALS) for by, what in wanted)]


def run_row(scenario: Scenario) -> list[str]:
    """One row of the second table: enumerated instead of simulated, as a tail of 0.1 % needs millions of trials."""
    tables, probabilities = all_tables(scenario)
    judged = verdicts(scenario.n, tables)
    fails = [share(judged[by], Outcome.FAIL, probabilities) for by in judged]
    return [*scenario.columns, f"{100.0 * fails[2]:.3f}", *(f"{100.0 * (1.0 - (1.0 - p) ** GATES):.1f}" for p in fails)]


def main() -> None:
    """Prints both tables."""
    rng = np.random.default_rng(SEED)
    strict = 100.0 * FAMILY.level(LEVEL)
    scenario_columns = ["drop (pp)", "flips (%)", "n"]
    print(
        f"In percent of {TRIALS:,} trials ± simulation standard error, at most {100.0 * sqrt(0.25 / TRIALS):.2f}. "
        f"The bound is {100.0 * BOUND:g} pp. One of {GATES} gates needs its whole {strict:g} % interval beyond it to "
        "FAIL.\n"
    )
    columns = ["point FAIL", "PASS", "FAIL", "INCONCLUSIVE", f"FAIL, 1 of {GATES}", f"INCONCLUSIVE, 1 of {GATES}"]
    print_table([*scenario_columns, *columns], [verdict_row(scenario, rng) for scenario in scenarios()])
    print(
        f"\nIn percent, by enumeration: a run of {GATES} independent gates, each with a true drop of exactly its "
        f"bound, and how often any of them FAILs. Promised: at most {100.0 * FAMILY.false_alarm:g} %; the share of "
        f"one gate: {100.0 * FAMILY.false_alarm / GATES:g} %.\n"
    )
    columns = ["one gate, corrected", "run, point estimate", "run, not corrected", "run, corrected"]
    at_bound = [scenario for scenario in scenarios() if scenario.drop == BOUND]
    print_table([*scenario_columns, *columns], [run_row(scenario) for scenario in at_bound])


if __name__ == "__main__":
    main()
