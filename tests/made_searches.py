"""Searches made by hand: realistic figures, no model."""

from __future__ import annotations

import numpy as np

from quantbench.records.base import Environment, pack_bits
from quantbench.records.search import Decision, LayerCost, LayerSensitivity, SearchRecord
from quantbench.stats.paired import PairedOutcomes, tango_interval

ENVIRONMENT = Environment(
    processor="Example CPU", architecture="x86_64", isa=("avx2",), cores=2, system="Linux", python="3.12",
    versions={"torch": "2.14.1"},
)  # fmt: skip
# Section C's: drops in pp of one layer at 2 bits each, and of each decision in the order of the search.
PUBLISHED_DROPS = (9.50, 1.15, 0.86, 0.71, 1.00, 1.37, 0.54, 0.64, 0.10, -0.06, 0.16, 0.12, 0.12)
PUBLISHED_DECISIONS = (
    (9, -0.06), (8, 0.06), (11, 0.38), (12, 0.46), (10, 0.33), (6, 1.36), (7, 1.27), (3, 1.03), (2, 1.47), (4, 1.68),
    (1, 1.62), (5, 1.80), (0, 10.26),
)  # fmt: skip


def layer(name, macs=1_000, weights=100, weight_bits=4, inputs=50):
    return LayerCost(name=name, macs=macs, weights=weights, weight_bits=weight_bits, inputs=inputs)


def sensitivity(name, index, n, lost, gained, failed="", right=None):
    """One layer that lost and gained so many of n samples, of which `right` are right without it, by default all."""
    drop = 100 * (lost - gained) / n
    found = tango_interval(PairedOutcomes(n, lost, gained))
    bits = np.arange(n) >= lost if right is None else np.arange(n) < right - lost + gained
    return LayerSensitivity(
        layer=name, index=index, n=n, lost=lost, gained=gained, drop_pp=drop,
        drop_interval_pp=(100 * found.low, 100 * found.high),
        correct=pack_bits(bits), output_sqnr_db=20.0 - index, logits_sqnr_db=None if failed else 15.0,
        logits_kl=None if failed else 0.01, failed=failed,
    )  # fmt: skip


def published_search(n=10_000, **changes):
    """The search of section C as a record, as if it had been ours."""
    names = [f"conv{i}" for i in range(13)]
    found = [
        sensitivity(name, i, n, round(max(drop, 0) * n / 100), round(max(-drop, 0) * n / 100), right=round(0.9068 * n))
        for i, (name, drop) in enumerate(zip(names, PUBLISHED_DROPS, strict=True))
    ]
    decisions = [
        Decision(layer=names[i], index=i, accepted=drop <= 1.0, drop_pp=drop, n=n, reason="measured")
        for i, drop in PUBLISHED_DECISIONS
    ]
    record = SearchRecord(
        experiment="vgg16_cifar10/low_bit_4", mode="exact", delta=None, split="search", split_sha256="a" * 64,
        checkpoint_sha256="b" * 64, n=n, epsilon_pp=1.0, high=4, low=2,
        layers=[layer(name, macs=10_000 * (i + 1), weights=1_000 * (i + 1), inputs=5_000 // (i + 1))
                for i, name in enumerate(names)],
        accuracy=0.9068, sensitivities=found, decisions=decisions, bits=[4] * 8 + [2] * 5, macs_spent=10**9,
        macs_naive=27 * 10**8, seconds=10.0, memory_bytes=5 * 10**8, confirmed=None, environment=ENVIRONMENT,
        command="quantbench search vgg16_cifar10/low_bit_4",
    )  # fmt: skip
    return record.model_copy(update=changes)
