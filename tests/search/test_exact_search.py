"""The exact search against whole passes: the same table and decisions, to the last sample, for less work."""

from functools import partial

import numpy as np
import pytest
import torch
from naive_search import naive_search
from tiny_switchable import Chain, CodesConv, Residual, built, labelled_split

from quantbench.arrays import INPUT
from quantbench.errors import EvaluationError
from quantbench.records.base import unpack_bits
from quantbench.records.search import Decision
from quantbench.search.exact import ExactSearch
from quantbench.search.search import Problem, search, sensitivities

MEGABYTE = 1 << 20
SEARCHES = [naive_search, search, partial(search, mode="adaptive")]


def problem_of(kind=Chain, n=600, low=3, high=8, layers=(), **params):
    model = built(kind, **params)
    return Problem(model, labelled_split(model, n), low, high, layers)


def counts(found):
    return [(each.layer, each.index, each.n, each.lost, each.gained, each.correct) for each in found]


def taken(found):
    return [(each.layer, each.index, each.accepted) for each in found.decisions]


@pytest.mark.parametrize("kind", [Chain, Residual])
@pytest.mark.parametrize("epsilon_pp", [4.0, 12.0])
def test_whatever_is_kept_the_table_and_the_decisions_are_those_of_whole_passes(kind, epsilon_pp):
    problem = problem_of(kind)
    naive = naive_search(problem, epsilon_pp)
    for memory_bytes in (0, MEGABYTE // 4, 100 * MEGABYTE):
        exact = search(problem, epsilon_pp, memory_bytes=memory_bytes)
        same_as_naive(naive, exact, epsilon_pp)
        assert exact.memory_bytes <= memory_bytes


def same_as_naive(naive, exact, epsilon_pp):
    assert counts(exact.sensitivities) == counts(naive.sensitivities)
    assert taken(exact) == taken(naive)
    assert (exact.bits, exact.correct, exact.accuracy) == (naive.bits, naive.correct, naive.accuracy)
    assert naive.macs_spent == naive.macs_naive == exact.macs_naive > exact.macs_spent
    full = {each.layer: each.drop_pp for each in naive.decisions}
    for each in exact.decisions:
        if each.reason == "early":
            assert epsilon_pp < each.drop_pp <= full[each.layer]
        else:
            assert each.drop_pp == full[each.layer]


def test_the_search_is_greedy_by_sensitivity_and_stays_within_epsilon():
    problem = problem_of(Residual)
    found = search(problem, 6.0)
    drops = [each.drop_pp for each in found.sensitivities]
    assert [each.index for each in found.decisions] == sorted(range(5), key=lambda index: (drops[index], index))
    accepted = {each.layer for each in found.decisions if each.accepted}
    assert 0 < len(accepted) < 5
    assert found.bits == [3 if name in accepted else 8 for name in found.names]
    for layer in found.names:
        problem.model.get_submodule(layer).bits = 3 if layer in accepted else 8
    with torch.inference_mode():
        right = (
            torch.cat([problem.model(torch.from_numpy(x[INPUT])) for x in problem.split.batches(64)]).argmax(1).numpy()
            == problem.split.labels
        )
    drop_pp = 100 * (found.accuracy - right.mean())
    assert drop_pp == pytest.approx(next(each.drop_pp for each in reversed(found.decisions) if each.accepted))
    assert drop_pp <= 6.0


def test_equally_sensitive_layers_are_visited_in_the_order_of_the_model():
    problem = problem_of()
    # Layers at the same width twice are no change at all: every drop is zero.
    for name in ("conv0", "conv1", "conv2", "conv3"):
        layer = problem.model.get_submodule(name)
        layer.codes.zero_()
    found = search(problem, 1.0)
    assert [each.index for each in found.decisions] == [0, 1, 2, 3]
    assert [each.reason for each in found.decisions] == ["known", "measured", "measured", "measured"]
    assert found.bits == [3, 3, 3, 3]


def test_the_first_decision_is_known_from_its_sensitivity_and_costs_nothing():
    problem = problem_of()
    found = search(problem, 6.0)
    first = found.decisions[0]
    assert first.reason == "known"
    assert first.drop_pp == found.sensitivities[first.index].drop_pp


def test_a_drop_of_exactly_epsilon_is_accepted_and_of_one_sample_more_is_not():
    problem = problem_of(n=1000, low=2, high=4)
    least = min(each.lost - each.gained for each in sensitivities(problem))
    assert least > 4
    at, below = (search(problem, 100 * lost / 1000) for lost in (least, least - 1))
    assert (at.decisions[0].accepted, below.decisions[0].accepted) == (True, False)


def test_a_rejection_is_certain_before_all_samples_are_seen():
    found = search(problem_of(Residual, n=2000), 4.0)
    early = [each for each in found.decisions if each.reason == "early"]
    assert early
    assert all(each.n < 2000 and not each.accepted for each in early)


def test_the_order_of_samples_decides_when_a_rejection_is_certain_and_never_which(monkeypatch):
    problem = problem_of(Residual, n=1000)
    naive, quick = naive_search(problem, 4.0), search(problem, 4.0)
    in_order = ExactSearch.order_of_samples
    # Those that may be gained come last, so that samples are lost while there is still much to gain.
    monkeypatch.setattr(ExactSearch, "order_of_samples", lambda self, layer: in_order(self, layer)[::-1])
    slow = search(problem, 4.0)
    same_as_naive(naive, slow, 4.0)
    assert sum(each.n for each in quick.decisions) < sum(each.n for each in slow.decisions)
    assert any(not each.accepted and each.reason == "measured" for each in slow.decisions)


def test_memory_saves_work_and_more_of_it_never_costs_any():
    problem = problem_of(Residual, n=1000)
    spent = [search(problem, 10.0, memory_bytes=size).macs_spent for size in (0, MEGABYTE, 100 * MEGABYTE)]
    assert spent[0] > spent[1] >= spent[2]


def test_sensitivities_cost_one_pass_and_the_suffixes_of_it_alone():
    problem = problem_of()
    found = search(problem, 1.0)
    layers, n = list(found.layer_macs.values()), found.n
    suffixes = sum(sum(layers[i:]) for i in range(len(layers)))
    later = found.macs_spent - n * (sum(layers) + suffixes)
    assert 0 <= later < 2 * n * sum(layers)


def test_only_the_layers_asked_for_are_tried_and_the_others_keep_their_width():
    problem = problem_of(layers=("conv3", "conv1"))
    problem.model.conv0.bits = 2
    found = search(problem, 20.0)
    assert found.names == ("conv1", "conv3")
    assert {each.layer for each in found.decisions} == {"conv1", "conv3"}
    assert problem.model.conv0.bits == 2


@pytest.mark.parametrize("search", SEARCHES)
def test_widths_are_as_they_were_when_a_search_has_ended(search):
    problem = problem_of()
    problem.model.conv2.bits = 2
    search(problem, 5.0)
    assert [problem.model.get_submodule(f"conv{i}").bits for i in range(4)] == [4, 4, 2, 4]


def test_a_forward_that_depends_on_values_is_searched_by_whole_forwards():
    class Deciding(Chain):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    problem = problem_of(Deciding)
    exact, naive = search(problem, 6.0), naive_search(problem, 6.0)
    assert exact.full_passes.startswith("its forward cannot be traced")
    assert exact.layer_macs == {}
    assert counts(exact.sensitivities) == counts(naive.sensitivities)
    assert taken(exact) == taken(naive)


class Loud(CodesConv):
    """Far too loud at 3 bits."""

    def forward(self, x):
        return super().forward(x) + (1e6 if self.width == 3 else 0)


class Broken(CodesConv):
    """At 3 bits, gives NaN for inputs that are above a threshold."""

    threshold = -1.0

    def forward(self, x):
        y = super().forward(x)
        return torch.where(x[:, :1] > self.threshold, torch.nan, y) if self.width == 3 else y


class Breaking(Chain):
    def __init__(self, threshold=-1.0, **params):
        super().__init__(**params)
        self.conv1.__class__, self.conv2.__class__ = Loud, Broken
        self.conv2.threshold = threshold


@pytest.mark.parametrize("search", SEARCHES)
def test_a_layer_whose_output_is_nan_is_rejected_and_said(search):
    found = search(problem_of(Breaking), 99.0)
    broken = found.sensitivities[2]
    assert "logits are NaN or infinite for " in broken.failed
    assert (broken.logits_kl, broken.logits_sqnr_db) == (None, None)
    last = found.decisions[-1]
    assert last == Decision(layer="conv2", index=2, accepted=False, drop_pp=None, n=last.n, reason="not_finite")
    assert found.bits == [3, 3, 8, 3]
    assert all(not each.failed for i, each in enumerate(found.sensitivities) if i != 2)


@pytest.mark.parametrize("search", SEARCHES)
def test_an_output_that_is_nan_on_top_of_what_is_accepted_is_a_rejection(search):
    found = search(problem_of(Breaking, threshold=1e5), 80.0)
    assert not any(each.failed for each in found.sensitivities)
    conv1 = found.decisions[-1]
    assert (conv1.layer, conv1.accepted, conv1.reason, conv1.drop_pp) == ("conv1", False, "not_finite", None)
    assert found.bits == [3, 8, 3, 3]


@pytest.mark.parametrize("mode", ["exact", "adaptive"])
def test_logits_that_are_not_finite_with_all_layers_high_are_an_error(mode):
    problem = problem_of(Breaking)
    problem.model.conv2.codes.fill_(torch.inf)
    with pytest.raises(EvaluationError) as error:
        search(problem, 5.0, mode)
    assert str(error.value) == (
        "with all layers at 8 bits, the model's logits are not finite for sample 0 of 'search'; look at its weights "
        "and scales first"
    )


def test_a_forward_that_asks_for_widths_outside_of_layers_is_searched_by_whole_forwards():
    class Asking(Chain):
        def forward(self, x):
            return super().forward(x) * (-1.0 if self.conv1.bits == self.conv3.bits == 3 else 1.0)

    exact, naive = (each(problem_of(Asking), 15.0) for each in (search, naive_search))
    assert exact.full_passes
    assert taken(exact) == taken(naive)


def test_each_layers_correctness_is_that_of_the_model_with_that_layer_low():
    problem = problem_of()
    each = sensitivities(problem)[2]
    problem.model.conv2.bits = 3
    for name in ("conv0", "conv1", "conv3"):
        problem.model.get_submodule(name).bits = 8
    with torch.inference_mode():
        right = (
            torch.cat([problem.model(torch.from_numpy(x[INPUT])) for x in problem.split.batches(64)]).argmax(1).numpy()
            == problem.split.labels
        )
    assert np.array_equal(unpack_bits(each.correct, each.n), right)
