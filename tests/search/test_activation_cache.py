"""Values kept between forwards: which, within how much memory, and never a wrong one."""

import numpy as np
import pytest
import torch
from tiny_switchable import Chain, Residual, built

from quantbench.search.activation_cache import ActivationCache
from quantbench.search.replay import Replay

CHAIN = ["conv0", "conv1", "conv2", "conv3"]
RESIDUAL = ["stem", "main1", "main2", "way_around", "last"]
N = 10
# Bytes of one sample, float32: the inputs of conv1, conv2 and conv3.
INPUTS = {"relu": 6 * 64 * 4, "pool": 6 * 16 * 4, "pool_1": 6 * 4 * 4}
IDS = np.arange(N)


def replay_of(kind=Chain):
    return Replay(built(kind), CHAIN if kind is Chain else RESIDUAL, torch.randn(2, 1, 8, 8))


def values_of(replay, fill=1.0, rows=N):
    return {name: torch.full((rows, size // 4), fill) for name, size in replay.value_bytes.items()}


def cache_of(budget, replay=None):
    return ActivationCache(replay or replay_of(), CHAIN, N, budget)


def groups(cache, layer, ids=IDS):
    return [(found.tolist(), set(names)) for found, names in cache.groups(ids, layer)]


def test_what_saves_the_most_work_per_byte_is_kept_first_and_all_where_there_is_room():
    sizes = {name: size * N for name, size in INPUTS.items()}
    assert cache_of(sizes["pool_1"]).names == ["pool_1"]
    assert cache_of(sizes["pool_1"] + sizes["pool"]).names == ["pool", "pool_1"]
    assert cache_of(sum(sizes.values())).names == ["relu", "pool", "pool_1"]
    assert cache_of(sizes["pool_1"] - 1).names == []


def test_both_branches_of_a_residual_connection_are_kept():
    cache = ActivationCache(replay_of(Residual), RESIDUAL, N, 1 << 20)
    assert set(cache.names) == {"relu", "relu_1", "main2", "way_around", "pool"}


def test_values_are_given_back_for_the_samples_asked_for():
    replay = replay_of()
    cache = cache_of(1 << 20, replay)
    assert groups(cache, "conv3") == [(IDS.tolist(), set())]
    cache.fill({"pool": torch.arange(N).float()[:, None]}, IDS)
    assert groups(cache, "conv3") == [(IDS.tolist(), {"pool"})]
    assert cache.rows(["pool"], np.array([7, 2]))["pool"].flatten().tolist() == [7.0, 2.0]


def test_samples_that_start_from_different_values_are_told_apart():
    cache = cache_of(1 << 20)
    cache.fill({"pool": torch.zeros(3, 1)}, np.array([1, 4, 5]))
    assert sorted(groups(cache, "conv3", np.array([5, 6, 1, 0]))) == [([5, 1], {"pool"}), ([6, 0], set())]


def test_nothing_is_given_that_the_tried_layer_influences():
    replay = replay_of()
    cache = cache_of(1 << 20, replay)
    cache.fill(values_of(replay), IDS)
    assert groups(cache, "conv2") == [(IDS.tolist(), {"relu", "pool"})]
    assert groups(cache, "conv0") == [(IDS.tolist(), set())]


def test_an_accepted_layer_makes_what_follows_wrong_unless_it_is_pending():
    replay = replay_of()
    cache = cache_of(1 << 20, replay)
    cache.fill(values_of(replay, 1.0), IDS)
    some = np.array([2, 3])
    cache.hold({"pool": torch.full((2, INPUTS["pool"] // 4), 5.0)}, some)
    cache.accept("conv1")
    assert sorted(groups(cache, "conv3")) == [
        ([0, 1, 4, 5, 6, 7, 8, 9], {"relu"}),
        ([2, 3], {"relu", "pool"}),
    ]
    assert cache.rows(["pool"], some)["pool"].unique().item() == 5.0


def test_a_rejected_layer_leaves_everything_as_it_was():
    replay = replay_of()
    cache = cache_of(1 << 20, replay)
    cache.fill(values_of(replay, 1.0), IDS)
    cache.hold(values_of(replay, 5.0), IDS)
    cache.reject()
    assert groups(cache, "conv3") == [(IDS.tolist(), {"relu", "pool", "pool_1"})]
    assert cache.rows(["pool_1"], IDS)["pool_1"].unique().item() == 1.0
    cache.accept("conv0")
    assert groups(cache, "conv3") == [(IDS.tolist(), set())]


@pytest.mark.parametrize("budget", [0, 3_000, 8_000, 25_000, 1 << 20])
def test_kept_and_pending_values_together_stay_within_the_memory(budget):
    replay = replay_of()
    cache = cache_of(budget, replay)
    cache.fill(values_of(replay), IDS)
    cache.hold(values_of(replay), IDS)
    cache.accept("conv0")
    assert cache.peak_bytes <= budget
    assert (cache.peak_bytes > 0) == (budget > 0)
