"""Forwards from values at hand: the same logits, only the work that is needed, and a true count of it."""

import pytest
import torch
from tiny_switchable import Chain, Residual, built
from torch import nn

from quantbench.search.replay import Replay
from quantbench.search.steps import INPUT

CHAIN, RESIDUAL = ["conv0", "conv1", "conv2", "conv3"], ["stem", "main1", "main2", "way_around", "last"]
# Multiply-accumulates by hand: outputs · inputs · kernel² · pixels.
CHAIN_MACS = {"conv0": 6 * 9 * 64, "conv1": 6 * 6 * 9 * 64, "conv2": 6 * 6 * 9 * 16, "conv3": 4 * 6 * 9 * 4}


def images(n=5, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def replay_of(kind):
    model = built(kind)
    return model, Replay(model, CHAIN if kind is Chain else RESIDUAL, images(2))


def plan(replay, given=(), wanted=()):
    return replay.plan(frozenset({replay.output, *wanted}), frozenset(given))


@torch.inference_mode()
def everything(replay, inputs):
    names = {step.name for step in replay.steps}
    return replay.run(plan(replay, wanted=names), {INPUT: inputs}, names)


def test_the_work_of_each_layer_is_counted_as_by_hand():
    _, replay = replay_of(Chain)
    assert replay.layer_macs == CHAIN_MACS
    assert replay.macs == sum(CHAIN_MACS.values()) == plan(replay).macs


@pytest.mark.parametrize("kind", [Chain, Residual])
def test_a_changed_layer_is_replayed_from_its_frontier_to_the_bit(kind):
    model, replay = replay_of(kind)
    high = everything(replay, images())
    for name in replay.influenced:
        layer = model.get_submodule(name)
        layer.bits = 2
        with torch.inference_mode():
            given = {each: high[each] for each in replay.frontier[name]}
            low = replay.run(plan(replay, given), {INPUT: images(), **given})[replay.output]
            assert torch.equal(low, model(images()))
        layer.bits = 4
        assert not torch.equal(low, high[replay.output]), "switching the layer changed nothing"


def test_in_a_chain_only_what_follows_the_changed_layer_is_computed():
    _, replay = replay_of(Chain)
    assert plan(replay, replay.frontier["conv2"]).macs == CHAIN_MACS["conv2"] + CHAIN_MACS["conv3"]
    assert INPUT not in plan(replay, replay.frontier["conv2"]).reads
    assert plan(replay, replay.frontier["conv0"]).macs == replay.macs


def test_beside_a_residual_connection_the_other_branch_is_reused():
    _, replay = replay_of(Residual)
    macs = replay.layer_macs
    assert set(replay.frontier["main2"]) >= {"relu_1", "way_around"}
    assert plan(replay, replay.frontier["main2"]).macs == macs["main2"] + macs["last"]
    assert plan(replay, replay.frontier["way_around"]).macs == macs["way_around"] + macs["last"]
    assert "main1" not in replay.influenced["way_around"]


def test_a_value_that_is_missing_is_computed_from_the_nearest_ones():
    _, replay = replay_of(Residual)
    macs = replay.layer_macs
    # The other branch starts from the same value, which is at hand; the stem is not needed.
    assert plan(replay, {"relu_1", "relu"}).macs == macs["main2"] + macs["way_around"] + macs["last"]


def test_values_that_nothing_reads_any_more_are_freed_and_those_to_be_kept_are_not():
    _, replay = replay_of(Chain)
    left = replay.run(plan(replay), {INPUT: images()}, ["conv1"])
    assert set(left) == {replay.output, "conv1"}


def test_only_values_with_a_row_for_each_sample_can_be_kept():
    _, replay = replay_of(Chain)
    assert "offset" not in replay.value_bytes
    assert replay.value_bytes["relu"] == 6 * 64 * 4


def test_a_model_without_steps_is_run_whole_and_counted_whole():
    class Deciding(Chain):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    replay = Replay(built(Deciding), CHAIN, images(2))
    assert "cannot be traced" in replay.not_replayable
    assert replay.frontier["conv3"] == ()
    assert plan(replay, replay.frontier["conv3"]).macs == sum(CHAIN_MACS.values())


def test_a_layer_called_twice_influences_all_that_follows_its_first_call():
    class Twice(Chain):
        def forward(self, x):
            x = self.relu(self.conv0(x))
            return self.conv3(self.conv2(self.conv1(self.conv1(x)))).sum((2, 3))

    replay = Replay(built(Twice), CHAIN, images(2))
    assert replay.calls["conv1"] == ("conv1", "conv1_1")
    assert replay.layer_macs["conv1"] == 2 * CHAIN_MACS["conv1"]
    assert replay.frontier["conv1"] == ("relu",)


def test_a_model_of_one_step_is_a_chain_of_one():
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = built(Chain).conv0

        def forward(self, x):
            return self.conv(x)

    assert Replay(One(), ["conv"], images(2)).frontier == {"conv": ()}
