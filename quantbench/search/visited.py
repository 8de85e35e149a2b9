"""The configurations that a search measured on its way, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.records.costs import Configuration, Measure, cost
from quantbench.records.search import BudgetRecord, SearchRecord


def visited_front(record: SearchRecord | BudgetRecord, measure: Measure) -> list[Configuration]:
    """Of the configurations that the search measured, those of which none is as cheap and accurate, and better in one.

    Measured are all layers high, each layer alone at the low width, and what was tried for each decision, as far as all
    samples of the split were seen; in adaptive mode, where drops are estimates, all of them.
    """
    tried = visited(record)
    ordered = sorted(tried, key=lambda each: (cost(record.layers, each.bits, measure), each.drop_pp))
    kept: list[Configuration] = []
    for each in ordered:
        if not kept or each.drop_pp < kept[-1].drop_pp:
            kept.append(each)
    return kept


def visited(record: SearchRecord | BudgetRecord) -> list[Configuration]:
    """Every configuration whose drop the search measured, once."""
    k = len(record.layers)
    found = {(record.high,) * k: 0.0}

    is_estimated = isinstance(record, SearchRecord) and record.mode == "adaptive"

    def is_whole(n: int) -> bool:
        return n == record.n or is_estimated

    for each in record.sensitivities:
        if not each.failed and is_whole(each.n):
            found[_with(record, (), each.index)] = each.drop_pp
    accepted: list[int] = []
    for decision in record.decisions if isinstance(record, SearchRecord) else ():
        if decision.drop_pp is not None and is_whole(decision.n):
            found[_with(record, accepted, decision.index)] = decision.drop_pp
        if decision.accepted:
            accepted.append(decision.index)
    return [Configuration(bits, drop) for bits, drop in found.items()]


def drop_of_result(record: SearchRecord | BudgetRecord) -> float:
    """Of what was found, on the split that was searched: of the last layer accepted, or predicted; in pp."""
    if isinstance(record, BudgetRecord):
        return record.predicted_pp
    accepted = [each.drop_pp for each in record.decisions if each.accepted and each.drop_pp is not None]
    return accepted[-1] if accepted else 0.0


def _with(record: SearchRecord | BudgetRecord, accepted: Sequence[int], index: int) -> tuple[int, ...]:
    """The widths with these layers low, and one more."""
    low = {*accepted, index}
    return tuple(record.low if i in low else record.high for i in range(len(record.layers)))
