"""SQNR and divergence against their formulas, summed over batches."""

import json
from math import log, log10

import pytest
import torch

from quantbench.search.divergences import Divergences


def test_the_ratio_is_that_of_energies_over_all_batches():
    moved = Divergences()
    moved.add_output(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 3.5]]))
    moved.add_output(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.5]]))
    assert moved.output_sqnr_db == pytest.approx(10 * log10(26 / 0.5))
    assert moved.logits_sqnr_db is None


def test_the_divergence_of_the_logits_is_that_of_their_softmax_mean_over_samples():
    moved = Divergences()
    high = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
    low = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    # A constant added to all logits of a sample changes no probability.
    moved.add_logits(high, low + torch.tensor([[7.0], [-2.0]]))
    by_hand = 0.9 * log(0.9 / 0.5) + 0.1 * log(0.1 / 0.5)
    assert moved.logits_kl == pytest.approx(by_hand / 2, rel=1e-6)


def test_no_difference_has_no_ratio_and_no_divergence():
    moved, same = Divergences(), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    moved.add_logits(same, same)
    assert (moved.logits_sqnr_db, moved.logits_kl) == (None, 0.0)


def test_values_that_are_not_finite_give_no_figure_and_stay_out_of_json():
    moved = Divergences()
    moved.add_logits(torch.ones(1, 2), torch.tensor([[float("nan"), 1.0]]))
    assert (moved.logits_sqnr_db, moved.logits_kl) == (None, None)
    sums = json.loads(json.dumps(moved.sums(), allow_nan=False))
    again = Divergences()
    again.add(sums)
    assert (again.logits_sqnr_db, again.logits_kl, again.samples) == (None, None, 1)


def test_parts_add_up_to_the_whole():
    high, low = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(1))
    whole, parts = Divergences(), Divergences()
    for moved, size in ((whole, 8), (parts, 3)):
        for start in range(0, 8, size):
            part = Divergences()
            part.add_logits(high[start : start + size], low[start : start + size])
            part.add_output(high[start : start + size], low[start : start + size])
            moved.add(part.sums())
    for name in ("output_sqnr_db", "logits_sqnr_db", "logits_kl"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-6)
