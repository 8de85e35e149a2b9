"""What is not the same bit for bit the second time is named: keys, bytes beside them, logits."""

import dataclasses
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.arrays import OUTPUT
from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.backends.interface import Artifact
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import CheckpointError
from quantbench.experiment import repetition
from quantbench.experiment.repetition import differences
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs

PATIENCE_S = 60.0
GOLDEN = Path("golden")


@pytest.fixture
def pair(project):
    """The first time and the second, which are alike."""
    experiment = select(load_experiments(project.configs), "tiny/ptq_static_int8_per_channel")[0]
    run = Runs(Settings(project.golden)).run(experiment)
    assert differences(run.candidate, run.measured("repetition")) == []
    return run.candidate, run.measured("repetition")


def rewritten(built, edit):
    """The same with another file, changed by `edit(state)`."""
    state = read_checkpoint(built.artifact.path)
    edit(state)
    path = built.artifact.path.with_name("edited.pt")
    write_checkpoint(path, state)
    edited = Artifact.of_files(built.artifact.backend, [path], built.artifact.recipe, built.artifact.model)
    return dataclasses.replace(built, artifact=edited)


def test_the_keys_that_differ_are_named_and_no_others(pair):
    edited = rewritten(pair[0], lambda state: state["conv.scale"].mul_(2))
    assert differences(edited, pair[1]) == ["the checkpoint differs in 'conv.scale'"]


def test_of_many_keys_that_differ_the_first_are_named_and_the_rest_counted(pair):
    state = read_checkpoint(pair[0].artifact.path)
    emptied = rewritten(pair[0], lambda state: state.clear())
    assert len(state) > 4
    first = ", ".join(f"'{key}'" for key in list(state)[:4])
    assert differences(emptied, pair[1]) == [f"the checkpoint differs in {first} and {len(state) - 4} more"]


def test_a_file_that_differs_in_what_torch_keeps_beside_the_keys_is_not_the_same(pair):
    edited = rewritten(pair[0], lambda state: state._metadata[""].update(note="another"))
    assert differences(edited, pair[1]) == ["the checkpoint differs in its bytes, in no key"]


def test_logits_that_differ_in_their_last_bit_or_in_shape_are_not_the_same(pair):
    built, repetition = pair
    moved = built.probe[OUTPUT].copy()
    moved.view("u4")[0, 0] ^= 1
    changed = dataclasses.replace(built, probe={OUTPUT: moved})
    assert differences(changed, repetition)[0].startswith("logits differ by ")
    cut = dataclasses.replace(built, probe={OUTPUT: moved[:, :2]})
    assert differences(cut, repetition) == ["logits of shape (64, 2) became (64, 3)"]


def test_an_output_that_came_out_one_time_only_is_named(pair):
    built, repetition = pair
    more = dataclasses.replace(built, probe=built.probe | {"aux": built.probe[OUTPUT]})
    assert differences(more, repetition) == ["values of output 'aux' came out one time only"]
    other = dataclasses.replace(repetition, probe=repetition.probe | {"aux": repetition.probe[OUTPUT] + 1})
    assert differences(more, other) == ["values of output 'aux' differ by up to 1"]


def test_truth_values_and_unsigned_integers_are_told_apart_by_their_values(pair):
    built, repetition = pair
    for first, second, furthest in (([True, False], [True, True], 1), (np.uint8([5]), np.uint8([7]), 2)):
        one = dataclasses.replace(built, probe=built.probe | {"aux": np.array(first)})
        other = dataclasses.replace(repetition, probe=repetition.probe | {"aux": np.array(second)})
        assert differences(one, other) == [f"values of output 'aux' differ by up to {furthest}"]


class Conversions:
    """In the place of fresh processes that quantize again: each ends when it is told to."""

    def __init__(self):
        self.began, self.may_end = [], defaultdict(threading.Event)

    def __call__(self, experiment, golden, engine):
        self.began.append(experiment.name)
        assert self.may_end[experiment.name].wait(PATIENCE_S)
        if experiment.name == "broken":
            raise CheckpointError("it died")
        return f"{experiment.name} again"


@pytest.fixture
def conversions(monkeypatch):
    made = Conversions()
    monkeypatch.setattr(repetition, "repeat_in_fresh_process", made)
    monkeypatch.setattr(repetition, "usable_cores", lambda: 2)
    yield made
    for event in made.may_end.values():
        event.set()


def runs_of(*names, unmade=()):
    return {
        name: SimpleNamespace(experiment=SimpleNamespace(id=name, name=name), engine="none", is_made=name not in unmade)
        for name in names
    }


def test_the_next_experiment_is_quantized_again_while_one_is_waited_for(conversions):
    runs = runs_of("first", "unmade", "second", "third", unmade=["unmade"])
    repetitions = repetition.Repetitions(runs)
    conversions.may_end["first"].set()
    assert repetitions.of(runs["first"], GOLDEN) == "first again"
    conversions.may_end["second"].set()
    conversions.may_end["third"].set()
    assert repetitions.of(runs["second"], GOLDEN) == "second again"
    repetitions.wait()
    assert sorted(conversions.began) == ["first", "second", "third"], "each once, and none whose candidate is not made"


def test_one_core_quantizes_one_at_a_time(conversions, monkeypatch):
    monkeypatch.setattr(repetition, "usable_cores", lambda: 1)
    runs = runs_of("first", "second")
    conversions.may_end["first"].set()
    assert repetition.Repetitions(runs).of(runs["first"], GOLDEN) == "first again"
    assert conversions.began == ["first"]


def test_an_error_of_what_was_begun_ahead_is_raised_where_it_is_asked_for(conversions):
    runs = runs_of("first", "broken")
    repetitions = repetition.Repetitions(runs)
    for name in runs:
        conversions.may_end[name].set()
    assert repetitions.of(runs["first"], GOLDEN) == "first again"
    repetitions.wait()
    with pytest.raises(CheckpointError, match=r"^it died$"):
        repetitions.of(runs["broken"], GOLDEN)


def test_nothing_is_timed_beside_a_repetition(conversions):
    runs = runs_of("first", "second")
    repetitions = repetition.Repetitions(runs)
    conversions.may_end["first"].set()
    repetitions.of(runs["first"], GOLDEN)
    waiting = threading.Thread(target=repetitions.wait, daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    conversions.may_end["second"].set()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
