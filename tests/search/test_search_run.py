"""A search of an experiment: killed it goes on, changed it begins anew, and it reports on samples it never saw."""

import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from long_jobs import search_until_killed
from safetensors.numpy import load_file, save_file

from quantbench.backends.module import ModulePredictor
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import CacheError, ConfigError, DataError, QuantizationError
from quantbench.experiment import artifact as quantized
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.files import cache_dir, sha256_of_file
from quantbench.measure.environment import environment
from quantbench.measure.evaluation import evaluate
from quantbench.measure.fresh import fresh_context
from quantbench.quant.switchable import switchable_layers
from quantbench.records.base import unpack_bits
from quantbench.records.costs import Measure
from quantbench.search import run as module
from quantbench.search.journal import FileJournal, entry_of
from quantbench.search.run import SearchRun
from quantbench.search.settings import SearchSettings

LOW_BIT, INT8 = "chain/low_bit_4", "chain/ptq_static_int8"
STRICT = SearchSettings(0.0)


@pytest.fixture
def open_search(chain):
    """The search of an experiment, as a new process would open it."""

    def open_search(experiment=LOW_BIT, **options):
        run = Runs(Settings(chain.golden)).run(select(load_experiments(chain.configs), experiment)[0])
        return SearchRun(run, **options)

    return open_search


def outcome(record):
    """What of a record must not depend on how many runs it took, whose values are computed anew."""
    return record.model_dump(exclude={"seconds", "command", "macs_spent", "memory_bytes"})


@pytest.fixture
def appended(monkeypatch):
    """Steps that are written to journals from now on."""
    own, found = FileJournal.append, []
    monkeypatch.setattr(FileJournal, "append", lambda self, entry: (own(self, entry), found.append(entry))[0])
    return found


def kill_at(steps):
    """A real process, killed between two steps."""
    # Started from the fork server, which has the libraries loaded; a search of other threads is another search.
    child = fresh_context().Process(
        target=search_until_killed, args=(LOW_BIT, steps, dict(os.environ), Path.cwd(), torch.get_num_threads())
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_killed_search_goes_on_from_its_last_step_and_ends_with_the_same_record(chain, open_search, appended, steps):
    kill_at(steps)
    (journal,) = (cache_dir() / "searches").glob("*.jsonl")
    assert len(journal.read_text().splitlines()) == steps
    resumed = open_search().search(STRICT, "again")
    left = len(appended)
    whole = open_search().search(STRICT, "anew", fresh=True)
    assert left == len(appended) - left - steps, "no step was made twice"
    assert left > 0
    assert outcome(resumed) == outcome(whole)
    assert resumed.macs_spent >= whole.macs_spent, "of all runs"
    assert not journal.exists(), "what is finished is kept as a record"


def test_a_finished_search_is_read_and_not_made_again(open_search, monkeypatch):
    first = open_search().search(STRICT, "first")
    monkeypatch.setattr(module, "search", lambda *_, **__: pytest.fail("searched again"))
    second = open_search().search(STRICT, "second")
    assert outcome(second) == outcome(first)
    assert (first.command, second.command) == ("first", "second")
    assert second.seconds == first.seconds


def test_steps_that_a_kill_left_beside_the_finished_search_are_removed(open_search):
    first = open_search()
    record = first.search(STRICT, "first")
    first.kept.append({"step": 0})
    assert outcome(open_search().search(STRICT, "second")) == outcome(record)
    assert not first.kept.path.exists()


def test_fresh_forgets_what_was_kept(open_search, appended):
    open_search().search(STRICT, "first")
    before = len(appended)
    open_search().search(STRICT, "second", fresh=True)
    assert len(appended) == 2 * before > 0


def key(search, settings=STRICT):
    """Name of what is kept."""
    return search.journal(asdict(settings)).path.name


OTHERS = [
    SearchSettings(10.0),
    SearchSettings(0.0, "adaptive"),
    SearchSettings(0.0, seed=1),
    SearchSettings(0.0, delta=0.1),
]


@pytest.mark.parametrize("settings", OTHERS, ids=str)
def test_other_settings_are_another_search(open_search, settings):
    search = open_search()
    assert key(search, settings) != key(search) == key(open_search())


def test_other_widths_splits_and_experiments_are_other_searches(open_search):
    keys = {key(open_search(**options)) for options in ({}, {"low": 3}, {"split": "test"}, {"experiment": INT8})}
    assert len(keys) == 4


OTHER_VERSIONS = environment().model_copy(update={"versions": {"torch": "9.9"}})
CONTENT = {
    "calibration": lambda chain, _: chain.edit("calibration_n: 32", "calibration_n: 31"),
    "recipe": lambda chain, _: chain.edit("{name: static_int8,", "{name: static_int8_per_tensor,"),
    "code": lambda _, patch: patch.setattr(quantized, "source_digest", lambda: "other"),
    "library versions": lambda _, patch: patch.setattr(quantized, "environment", lambda: OTHER_VERSIONS),
}


@pytest.mark.parametrize("change", CONTENT.values(), ids=CONTENT)
def test_whatever_decides_the_result_is_in_the_name_of_what_is_kept(chain, open_search, monkeypatch, change):
    before = key(open_search(INT8))
    change(chain, monkeypatch)
    assert key(open_search(INT8)) != before


def test_other_weights_are_another_search(chain, open_search):
    before = key(open_search())
    path = chain.golden / "baselines" / "chain.low_bit_4.safetensors"
    weights = load_file(path)
    weights["fc.bias"] = weights["fc.bias"] + np.float32(0.5)
    save_file(weights, path)
    card = path.with_suffix(".json")
    content = json.loads(card.read_text())
    card.write_text(json.dumps({**content, "weights_sha256": sha256_of_file(path)}))
    assert key(open_search()) != before


def test_the_search_split_and_the_split_that_is_reported_on_share_no_sample(open_search):
    search = open_search()
    record = search.search(STRICT, "here")
    test = search.run.opened.splits.test
    assert (record.split, record.n, record.split_sha256) == ("search", 80, search.run.opened.splits.search.sha256)
    assert record.confirmed.n == len(test) == 150
    keys = [np.ascontiguousarray(each.digests).view("V16").ravel() for each in (search.split, test)]
    assert len(np.intersect1d(*keys)) == 0


def test_a_search_split_that_shares_samples_with_the_test_split_is_refused(open_search):
    run = open_search().run
    splits = run.opened.splits
    shared = replace(splits.test, name="search", indices=np.arange(7))
    vars(splits)["search"] = shared
    with pytest.raises(DataError, match="splits 'search' and 'test' share 7 sample") as error:
        SearchRun(run)
    assert "chain.yaml: workload.data" in str(error.value)
    assert SearchRun(run, split="test").split.name == "test", "nothing is reported of what is only looked at"


def test_what_is_confirmed_is_measured_on_the_test_split_with_the_widths_found(open_search):
    search = open_search()
    record = search.search(STRICT, "here")
    assert 2 in record.bits
    assert 4 in record.bits
    test = search.run.opened.splits.test
    layers = switchable_layers(search.model)
    correct = {}
    for key_, bits in (("high", [4] * 5), ("found", record.bits)):
        for layer, width in zip(layers.values(), bits, strict=True):
            layer.bits = width
        correct[key_] = evaluate(ModulePredictor(search.model), test).correct
    confirmed = record.confirmed
    assert confirmed.fp32 == correct["high"].mean()
    assert unpack_bits(confirmed.quantized_correct, 150).tolist() == correct["found"].tolist()
    assert confirmed.drop_pp == pytest.approx(100 * (correct["high"].mean() - correct["found"].mean()))
    assert evaluate(search.run.loaded(1), test).correct.tolist() == correct["high"].tolist(), (
        "high is the checkpoint as it is"
    )


def test_layers_in_int8_are_tried_at_8_bits_and_left_in_fp32_otherwise(open_search):
    search = open_search(INT8)
    assert (search.high, search.low, search.names) == (32, 8, ("conv0", "conv1", "conv2", "conv3", "fc"))
    record = search.search(SearchSettings(10.0), "here")
    assert set(record.bits) <= {8, 32}
    assert record.confirmed.fp32 == search.run.baseline.evaluation.accuracy
    assert [layer.weight_bits for layer in record.layers] == [8] * 5


def test_costs_of_the_layers_are_those_of_the_network(open_search):
    for experiment in (LOW_BIT, INT8):
        layers = open_search(experiment).search(SearchSettings(10.0), "here").layers
        assert [layer.macs for layer in layers] == [64 * 9 * a * b for a, b in ((3, 6), (6, 6), (6, 8), (8, 8))] + [24]
        assert [layer.weights for layer in layers] == [162, 324, 432, 576, 24]
        assert [layer.inputs for layer in layers] == [3 * 64, 6 * 64, 6 * 64, 8 * 64, 8]


def test_sensitivities_tell_the_accuracy_with_all_layers_high_and_are_kept(open_search, appended):
    search = open_search()
    record = search.sensitivities("here")
    measured = evaluate(search.run.loaded(1), search.split)
    assert record.accuracy == measured.accuracy
    steps = len(appended)
    assert steps > 0
    assert open_search().sensitivities("here") == record
    assert len(appended) == steps, "measured once"


def test_a_budget_is_met_and_what_it_finds_is_confirmed(open_search):
    record = open_search().within(Measure.BITS, 2.8, "here")
    assert sum(record.bits) <= 2.8 * 5
    additive = sum(
        each.drop_pp for each, bits in zip(record.sensitivities, record.bits, strict=True) if bits == record.low
    )
    assert record.predicted_pp == pytest.approx(additive)
    assert record.confirmed.n == 150


@pytest.fixture
def with_ends(chain):
    """The experiment trained anew, its first and last layers with 8 bits."""
    chain.edit("{name: low_bit, epochs: 3, frozen_epochs: 1}",
               "{name: low_bit, epochs: 1, frozen_epochs: 0, first_bits: 8, last_bits: 8}")  # fmt: skip
    return Runs(Settings(chain.golden, retrain=True)).run(select(load_experiments(chain.configs), LOW_BIT)[0])


def test_first_and_last_layers_of_another_width_are_left_as_they_are(with_ends):
    search = SearchRun(with_ends)
    assert search.names == ("conv1", "conv2", "conv3")
    record = search.search(SearchSettings(10.0), "here")
    assert len(record.bits) == 3
    assert [switchable_layers(search.model)[name].bits for name in ("conv0", "fc")] == [8, 8]


def test_a_layer_of_another_width_is_tried_when_it_is_named_and_not_together_with_others(with_ends):
    search = SearchRun(with_ends, layers=["fc"])
    record = search.search(SearchSettings(0.0), "here")
    assert (record.high, record.low, [each.name for each in record.layers]) == (8, 2, ["fc"])
    assert switchable_layers(search.model)["conv1"].bits == 4
    with pytest.raises(QuantizationError) as error:
        SearchRun(with_ends, layers=["fc", "conv1"])
    assert str(error.value) == f"{LOW_BIT}: 'conv1' has 4, 'fc' has 8 bits; name layers of one width"


def test_a_workload_that_holds_nothing_out_says_what_to_set(chain, open_search):
    chain.edit(", search_pool: 80", "")
    chain.edit("    gates: {search_drop_pp: 30.0}\n    search: {low: 2, epsilon_pp: 10.0}\n", "")
    with pytest.raises(ConfigError) as error:
        open_search()
    assert str(error.value) == (
        f"{chain.config}: workload.data.search_pool: no sample is held out to search on, and the test split is for "
        "reporting; set workload.data.search_pool to the number of training samples to hold out, such as 2000, and "
        "train again"
    )


def test_another_task_than_top1_is_refused_instead_of_searched_as_top1(chain, open_search):
    chain.edit("workload:\n", "workload:\n  task: {name: top_k, k: 2}\n")
    with pytest.raises(ConfigError) as error:
        open_search()
    assert str(error.value) == (
        f"{chain.config}: workload.task: a search counts samples whose largest logit is their label, and the task is "
        "'top_k'; search a workload of task top1"
    )


@pytest.mark.parametrize("low", [4, 8])
def test_a_width_that_is_no_lower_is_refused(open_search, low):
    with pytest.raises(
        QuantizationError, match=f"chain/low_bit_4: its layers have 4 bits; a search tries fewer, not {low}"
    ):
        open_search(low=low)


def test_a_journal_that_a_kill_cut_short_goes_on_from_the_last_whole_step(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    journal = FileJournal(path)
    for i in range(3):
        journal.append({"step": i})
    path.write_bytes(path.read_bytes()[:-4])
    again = FileJournal(path)
    assert again.entries() == [{"step": 0}, {"step": 1}]
    assert capsys.readouterr().err == f"{path}: line 3 is cut short or damaged; going on from the one before\n"
    again.append({"step": 9})
    assert FileJournal(path).entries() == [{"step": 0}, {"step": 1}, {"step": 9}]


def test_a_whole_journal_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    FileJournal(tmp_path / "a.jsonl").append({"step": 0})

    def read_only(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "truncate", read_only)
    assert FileJournal(tmp_path / "a.jsonl").entries() == [{"step": 0}]


def test_a_step_that_cannot_be_written_is_one_line_and_loses_none_before(tmp_path, monkeypatch):
    journal = FileJournal(tmp_path / "a.jsonl")
    journal.append({"step": 0})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError) as error:
        journal.append({"step": 1})
    assert str(error.value) == (
        f"{journal.path}: cannot be written (No space left on device); the steps before are kept: free some space, or "
        "name another folder with QUANTBENCH_CACHE, and go on with the same command"
    )
    assert journal.entries() == [{"step": 0}]


def test_nothing_after_a_damaged_line_of_a_journal_is_believed(tmp_path):
    path = tmp_path / "a.jsonl"
    journal = FileJournal(path)
    for i in range(3):
        journal.append({"step": i})
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"nonsense\n" + third)
    assert FileJournal(path).entries() == [{"step": 0}]


CHANGES = {
    "a digit": lambda lines: [lines[0], lines[1].replace(b'"lost": 1', b'"lost": 7'), lines[2]],
    "a step left out": lambda lines: [lines[0], lines[2]],
    "two steps exchanged": lambda lines: [lines[0], lines[2], lines[1]],
    "a step without its hash": lambda lines: [lines[0], b'{"step": 1, "lost": 1}\n', lines[2]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_step_that_is_not_as_it_was_written_is_told_and_made_again_with_all_after_it(tmp_path, capsys, change):
    path = tmp_path / "a.jsonl"
    journal = FileJournal(path)
    for i in range(3):
        journal.append({"step": i, "lost": i})
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert FileJournal(path).entries() == [{"step": 0, "lost": 0}]
    assert capsys.readouterr().err == f"{path}: line 2 is cut short or damaged; going on from the one before\n"


def test_a_named_pipe_in_the_place_of_a_journal_is_one_line_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(CacheError, match=r"a\.jsonl: cannot be read \(is a named pipe, not a file\); remove it"):
        FileJournal(tmp_path / "a.jsonl")


def test_a_kept_search_that_contradicts_itself_is_told_and_made_again(open_search, capsys):
    search = open_search()
    first = search.search(STRICT, "first")
    entry = entry_of(search.journal(asdict(STRICT)))
    wrong = first.model_copy(update={"bits": [9] * len(first.bits)})
    with entry.locked():
        entry.write(lambda folder: module._write_record(folder, wrong))
    assert outcome(open_search().search(STRICT, "second")) == outcome(first)
    assert "record.json: its record has bits [9, " in (err := capsys.readouterr().err)
    assert err.endswith("; searching again\n")


def test_a_journal_refuses_what_json_cannot_hold(tmp_path):
    journal = FileJournal(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"step": float("nan")})
    assert FileJournal(tmp_path / "a.jsonl").entries() == []
